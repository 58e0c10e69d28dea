from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch

from limbeck.core.context import Context
from limbeck.core.focus import Focus
from limbeck.core.streams import Streams
from limbeck.training.beginnings import Beginning
from limbeck.training.lessons import Focused
from limbeck.training.settings import Training

ROWS = (torch.arange(4), torch.arange(4, 8))
FOCUS = Focus(ROWS, ROWS, ROWS, 0.25)


def test_networks_are_taken_in_turn_and_copied(context_of: Callable[..., Context]) -> None:
    network = context_of().network("convnet1:width=4")
    bank = tuple(network.initial(Streams(0)("bank", number)) for number in range(2))
    beginning, streams = Beginning(bank, FOCUS), Streams(3)
    for number in range(5):
        weights = beginning.initial(network, streams, number)
        kept = bank[number % 2]
        assert all(torch.equal(weights[name], kept[name]) for name in kept)
        assert all(weights[name].data_ptr() != kept[name].data_ptr() for name in kept)
    fresh, expected = Beginning((), FOCUS).initial(network, streams, 1), network.initial(streams("expert", 1))
    assert all(torch.equal(fresh[name], expected[name]) for name in expected)


def test_the_digest_is_that_of_networks_rows_and_share(context_of: Callable[..., Context]) -> None:
    network = context_of().network("convnet1:width=4")
    bank = tuple(network.initial(Streams(0)("bank", number)) for number in range(2))
    known = Beginning(bank, FOCUS)
    assert known.digest == Beginning(tuple({**one} for one in bank), replace(FOCUS)).digest
    others = [
        Beginning(bank[:1], FOCUS),
        Beginning(bank[::-1], FOCUS),
        Beginning(bank, replace(FOCUS, mixing=0.5)),
        Beginning(bank, replace(FOCUS, pool=ROWS[::-1])),
        Beginning(bank, replace(FOCUS, rest=(ROWS[0], ROWS[1][:3]))),
    ]
    assert len({known.digest, *(one.digest for one in others)}) == 6
    # What synthetic images begin with is nothing to experts.
    assert Beginning(bank, replace(FOCUS, initial=ROWS[::-1])).digest == known.digest


def test_lessons_are_those_of_the_focus() -> None:
    training = Training(batch_size=4)
    found = Beginning((), FOCUS).lessons(Streams(2), training, (1, 8, 8)).order(1)
    assert all(map(torch.equal, found, Focused(Streams(2), training, (1, 8, 8), FOCUS).order(1)))
