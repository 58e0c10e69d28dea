from __future__ import annotations

import torch

from limbeck.core.batch import Block, Moment


def test_moment_counts_steps_over_the_whole_run() -> None:
    moments = [Moment(iteration, step, 4) for iteration in range(3) for step in range(4)]
    assert [moment.ordinal for moment in moments] == list(range(12))
    assert [moment.ordinal for moment in moments if moment.last] == [3, 7, 11]


def test_one_class_of_a_block_has_no_padding() -> None:
    real = torch.arange(2 * 3, dtype=torch.float64).view(2, 3, 1, 1, 1)
    block = Block(
        labels=(4, 7),
        stored=torch.tensor([1.0, 2.0]).view(2, 1, 1, 1, 1),
        targets=torch.tensor([[4], [7]]),
        real=real,
        counts=(3, 1),
        draws=({"u": torch.tensor(0.25)}, {"u": torch.tensor(0.75)}),
        chosen=torch.tensor([[1, 0], [0, 1]]),
    )
    first, second = block.one(0), block.one(1)
    assert (first.label, second.label) == (4, 7)
    assert first.real.flatten().tolist() == [0, 1, 2]
    assert second.real.flatten().tolist() == [3]
    assert second.stored.item() == 2.0
    assert second.targets.tolist() == [7]
    assert second.draws["u"].item() == 0.75
    assert second.chosen is not None and second.chosen.tolist() == [0, 1]


def test_without_a_choice_all_decoded_images_take_part() -> None:
    nothing = torch.zeros(1, 1, 1, 1, 1)
    block = Block((0,), nothing, torch.zeros(1, 1, dtype=torch.int64), nothing, (1,), ({},))
    assert block.one(0).chosen is None
