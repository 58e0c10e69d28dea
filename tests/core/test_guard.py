"""When steps are not taken, and when a run goes back."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from limbeck.core.errors import InputError, RunError
from limbeck.core.guard import Guard

FINE, NAN = torch.tensor([0.4, 0.6]), torch.tensor([0.4, float("nan")])


@pytest.mark.parametrize(
    ("losses", "gradient", "limit", "expected"),
    [
        (FINE, FINE, 0.0, True),
        (FINE, FINE, 1.1, True),
        (FINE, FINE, 0.9, False),
        (NAN, FINE, 0.0, False),
        (FINE, NAN, 0.0, False),
        (FINE, torch.tensor([float("inf")]), 0.0, False),
        (NAN, FINE, 2.0, False),
    ],
)
def test_steps_are_taken_if_all_is_finite_and_the_loss_below_its_limit(
    losses: torch.Tensor, gradient: torch.Tensor, limit: float, expected: bool
) -> None:
    assert Guard(limit=limit).accepts(losses, (FINE, gradient)) is expected


def test_it_goes_back_to_the_older_copy_with_smaller_steps_and_gives_up_in_the_end() -> None:
    guard = Guard(patience=2, interval=3, backtrack=0.5, returns=2)
    state: dict[str, Any] = guard.init()
    for number in range(7):  # copies before steps 0, 3 and 6
        if guard.keeps(state):
            state = guard.kept(state, {"number": number})
            assert not guard.keeps(state)  # once
        state = guard.took(state)
    assert (state["older"]["number"], state["newer"]["number"], state["taken"]) == (3, 6, 7)
    for again in (1, 2):
        state, back = guard.skipped(state)
        assert back is None
        state, back = guard.skipped(state)
        assert back is not None and back["number"] == 3
        assert state["scale"] == 0.5**again and state["returns"] == again and state["taken"] == 3
    torch.testing.assert_close(guard.scaled(state, FINE), FINE / 4)
    assert state["skipped"] == 4
    state, _ = guard.skipped(state)
    with pytest.raises(RunError, match="lower the step sizes"):
        guard.skipped(state)


def test_a_step_in_between_begins_the_count_anew() -> None:
    guard = Guard(patience=2)
    state = guard.kept(guard.init(), {"number": 0})
    state, _ = guard.skipped(state)
    state, back = guard.skipped(guard.took(state))
    assert back is None and state["row"] == 1 and state["skipped"] == 2


def test_gradients_are_clipped_to_a_norm() -> None:
    guard = Guard(clip=2.0)
    state = guard.init()
    long, short = torch.tensor([3.0, 4.0]), torch.tensor([0.3, 0.4])
    torch.testing.assert_close(guard.scaled(state, long), torch.tensor([1.2, 1.6]))
    torch.testing.assert_close(guard.scaled(state, short), short)
    assert Guard().scaled(state, long) is long


@pytest.mark.parametrize(
    "wrong", [{"limit": -1.0}, {"clip": -1.0}, {"patience": 0}, {"interval": 0}, {"returns": -1}, {"backtrack": 0.0}]
)
def test_impossible_values_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="the guard of somebody needs"):
        Guard(**wrong).check("somebody")
    Guard().check("somebody")
