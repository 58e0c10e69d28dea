from __future__ import annotations

import pytest
import torch

from limbeck.core.errors import InputError
from limbeck.core.focus import Focus
from limbeck.core.streams import Streams
from limbeck.training.lessons import Focused, InTurn, Shuffled, SoftLoss
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


def test_focused_epochs_show_the_pools_once_and_a_share_of_the_rest() -> None:
    pool, rest = (torch.arange(0, 7), torch.arange(20, 26)), (torch.arange(7, 14), torch.arange(26, 32))
    focus, training = Focus(pool, rest, pool, mixing=0.25), Training(batch_size=8)
    lessons = Focused(Streams(4), training, (1, 8, 8), focus)
    batches = lessons.order(0)
    assert [len(rows) for rows in batches] == [8, 8, 1]  # 6, 6 and 1 of the pools, with 2, 2 and 0 others
    own = torch.cat([rows[torch.isin(rows, torch.cat(pool))] for rows in batches])
    assert sorted(own.tolist()) == torch.cat(pool).tolist()
    for rows in batches:
        others = rows[torch.isin(rows, torch.cat(rest))]
        assert len(others) == len(set(others.tolist())) == (2 if len(rows) == 8 else 0)
    assert not torch.equal(torch.cat(lessons.order(1)), torch.cat(batches))
    assert all(map(torch.equal, lessons.order(0), batches))


def test_without_others_a_focus_is_shuffled() -> None:
    rows = torch.tensor([3, 5, 6, 8, 9])
    training, streams = Training(batch_size=2), Streams(1)
    for focus in (Focus((rows,), (rows[:0],), (rows,), 0.5), Focus((rows,), (rows,), (rows,), 0.0)):
        found = Focused(streams, training, (1, 8, 8), focus).order(2)
        assert all(map(torch.equal, found, [rows[own] for own in Shuffled(streams, training, (1, 8, 8), 5).order(2)]))
