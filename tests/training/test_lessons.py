from __future__ import annotations

import pytest
import torch

from limbeck.core.errors import InputError
from limbeck.core.streams import Streams
from limbeck.training.lessons import InTurn, Shuffled, SoftLoss
from limbeck.training.settings import Training


def test_shuffled_epochs_are_those_of_the_streams() -> None:
    streams, training = Streams(4), Training(batch_size=4, mixup=1.0)
    lessons = Shuffled(streams, training, (1, 8, 8), 10)
    batches = lessons.order(3)
    assert [len(rows) for rows in batches] == [4, 4, 2]
    assert torch.equal(torch.cat(batches), streams("epoch", 3).permutation(10))
    drawn, expected = lessons.draws(3, 1, batches[1]).mix, training.draw(streams, (1, 8, 8), 4, 3, 1).mix
    assert drawn is not None and expected is not None
    assert drawn.share == expected.share and torch.equal(drawn.partner, expected.partner)
    assert lessons.logits(3, 1, torch.zeros(4, 1, 8, 8)) is None


def test_a_temperature_is_above_zero() -> None:
    SoftLoss(temperature=0.5).check("protocol 'x'")
    for wrong in (0.0, -1.0, float("inf"), float("nan")):
        with pytest.raises(InputError, match="the soft labels of protocol 'x' need temperature > 0"):
            SoftLoss(temperature=wrong).check("protocol 'x'")


def test_parts_in_turn() -> None:
    streams, training = Streams(4), Training(batch_size=4)
    lessons = InTurn(streams, training, (1, 8, 8), (3, 5, 10), 7)
    shown = [torch.cat(lessons.order(epoch)) for epoch in range(9)]
    assert [len(batches) for batches in map(lessons.order, range(9))] == [3] * 9  # as many steps as on all
    assert [int(rows.max()) + 1 for rows in shown] == [3, 3, 3, 5, 5, 10, 10, 10, 10]
    assert all(torch.bincount(rows).min() >= 10 // (int(rows.max()) + 1) for rows in shown)
    everything = Shuffled(streams, training, (1, 8, 8), 10)
    assert torch.equal(shown[6], torch.cat(everything.order(6)))
