from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from limbeck.core.context import Context, Group
from limbeck.core.errors import InputError
from limbeck.core.streams import Stream
from limbeck.curricula.one_by_one import OneByOne
from limbeck.optimizers.adam import Adam

STEPS = 12
SHAPE = (3, 2, 1, 8, 8)
CURRICULUM = OneByOne(steps=STEPS)
LOW, HIGH = (torch.full((1, 1, 1), end, dtype=torch.float64) for end in (-0.5, 1.5))


def slope(stored: Tensor, goal: Tensor) -> Tensor:
    """The gradient of ``cosh``, which is not quadratic."""
    return (stored - goal).sinh()


def torch_adam(start: Tensor, goal: Tensor, part: Adam) -> Tensor:
    """PyTorch's own optimizer and schedule."""
    stored = start.clone().requires_grad_()
    optimizer = torch.optim.Adam([stored], lr=part.lr, betas=part.betas, eps=part.eps)
    cosine = part.schedule == "cosine"
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: 0.5 * (1 + math.cos(math.pi * step / STEPS)) if cosine else 1.0
    )
    for _ in range(STEPS):
        optimizer.zero_grad()
        (stored - goal).cosh().sum().backward()
        optimizer.step()
        schedule.step()
        if part.clamp:
            with torch.no_grad():
                stored.clamp_(float(LOW), float(HIGH))
    return stored.detach()


@pytest.mark.parametrize("clamp", [True, False])
@pytest.mark.parametrize("schedule", ["cosine", "constant"])
@pytest.mark.parametrize("fields", [{}, {"lr": 0.03, "betas": (0.9, 0.999), "eps": 1e-3}])
def test_it_is_pytorch_s_adam(
    context_of: Callable[..., Context], clamp: bool, schedule: Any, fields: dict[str, Any]
) -> None:
    context, part = context_of(ipc=2), Adam(schedule=schedule, clamp=clamp, **fields)
    start, goal = 3 * Stream(0).normal(*SHAPE), 3 * Stream(1).normal(*SHAPE)
    state, stored = part.open_iteration(part.init(context), start, LOW, HIGH, 0)
    assert stored is start  # initial images may lie outside
    for step in range(STEPS):
        assert part.at_turn(state, stored, context) is stored
        state, stored = part.update(state, stored, slope(stored, goal), context, CURRICULUM.moment(step))
    torch.testing.assert_close(stored, torch_adam(start, goal, part), rtol=1e-12, atol=1e-12)
    if clamp:
        assert stored.min() == -0.5 and stored.max() == 1.5
    assert part.bounds() is clamp


def test_arguments_stay_as_they_are(context_of: Callable[..., Context]) -> None:
    context, part = context_of(ipc=2), Adam()
    state, stored = part.open_iteration(part.init(context), Stream(0).normal(*SHAPE), LOW, HIGH, 0)
    gradient = Stream(1).normal(*SHAPE)
    state, stored = part.update(state, stored, gradient, context, CURRICULUM.moment(0))
    before = {name: value.clone() if isinstance(value, Tensor) else value for name, value in state.items()}
    kept, slopes = stored.clone(), gradient.clone()
    first = part.update(state, stored, gradient, context, CURRICULUM.moment(1))
    assert torch.equal(stored, kept) and torch.equal(gradient, slopes)
    assert state.keys() == before.keys() and state["steps"] == before["steps"] == 1
    assert all(torch.equal(state[name], value) for name, value in before.items() if isinstance(value, Tensor))
    second = part.update(state, stored, gradient, context, CURRICULUM.moment(1))
    assert torch.equal(first[1], second[1])


def test_the_state_is_that_of_the_group(context_of: Callable[..., Context]) -> None:
    state = Adam().init(context_of(ipc=2, group=Group(4, range(1, 3), range(1, 2))))
    assert state["mean"].shape == state["square"].shape == (2, 1, 1, 8, 8)
    assert not state["mean"].any() and not state["square"].any()


@pytest.mark.parametrize(
    "wrong", [{"lr": 0.0}, {"lr": float("nan")}, {"eps": 0.0}, {"betas": (1.0, 0.9)}, {"betas": (0.5, -0.1)}]
)
def test_numbers_out_of_range(context_of: Callable[..., Context], wrong: dict[str, Any]) -> None:
    Adam().check(context_of())
    with pytest.raises(InputError, match="optimizer 'adam' needs lr > 0, eps > 0 and betas in"):
        Adam(**wrong).check(context_of())
