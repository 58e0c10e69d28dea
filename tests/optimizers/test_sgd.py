from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from limbeck.core.batch import Moment
from limbeck.core.context import Context
from limbeck.core.errors import InputError
from limbeck.core.focus import Company
from limbeck.core.streams import Stream
from limbeck.data import Data
from limbeck.engine.distill import distill, make_context
from limbeck.engine.loop import Loop, LoopState
from limbeck.engine.settings import Settings
from limbeck.engine.snapshots import read_snapshots
from limbeck.formats.native import load
from limbeck.optimizers.sgd import SGD
from tests.engine.tiny import tiny_idc

ROUNDS = 4


def curvature(label: int) -> float:
    return 1.0 + label


def slopes(stored: Tensor, goal: Tensor) -> Tensor:
    """The gradient of each class in a loss that is not quadratic."""
    factor = torch.tensor([curvature(label) for label in range(len(stored))], dtype=stored.dtype)
    return factor.view(-1, 1, 1, 1, 1) * (stored - goal).sinh()


def torch_sgd(start: Tensor, goal: Tensor, lr: float, momentum: float, turns: str) -> Tensor:
    """One step on the whole tensor per class, or one for all, with PyTorch's own optimizer."""
    stored = start.clone().requires_grad_()
    optimizer = torch.optim.SGD([stored], lr=lr, momentum=momentum)
    for _ in range(ROUNDS):
        for labels in [[label] for label in range(len(start))] if turns == "class" else [list(range(len(start)))]:
            optimizer.zero_grad()
            sum(curvature(label) * (stored[label] - goal[label]).cosh().sum() for label in labels).backward()
            optimizer.step()
    return stored.detach()


@pytest.mark.parametrize("turns", ["class", "joint"])
@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.9])
def test_rounds_equal_sequential_sgd_over_the_whole_tensor(
    context_of: Callable[..., Context], turns: Any, momentum: float
) -> None:
    context = context_of(ipc=2)
    optimizer = SGD(lr=0.05, momentum=momentum, turns=turns, scale_with_ipc=False)
    start, goal = Stream(0).uniform(3, 2, 1, 8, 8), Stream(1).uniform(3, 2, 1, 8, 8)
    state, stored = optimizer.init(context), start
    assert not state["velocity"].any()
    for _ in range(ROUNDS):
        before = stored
        gradients = slopes(optimizer.at_turn(state, stored, context), goal)
        state, stored = optimizer.update(state, stored, gradients, context, Moment(0, 0, 1))
        assert before is not stored
    expected = torch_sgd(start, goal, 0.05, momentum, turns)
    torch.testing.assert_close(stored, expected, rtol=0, atol=1e-13)
    assert torch.equal(start, Stream(0).uniform(3, 2, 1, 8, 8))


def test_turns_make_a_difference(context_of: Callable[..., Context]) -> None:
    start, goal = Stream(0).uniform(3, 2, 1, 8, 8), Stream(1).uniform(3, 2, 1, 8, 8)
    ends = [torch_sgd(start, goal, 0.05, 0.5, turns) for turns in ("class", "joint")]
    assert (ends[0] - ends[1]).abs().max() > 1e-3


def test_classes_at_their_turn_have_coasted(context_of: Callable[..., Context]) -> None:
    context = context_of(ipc=1)
    optimizer = SGD(lr=0.5, momentum=0.5, scale_with_ipc=False)
    stored = torch.zeros(3, 1, 1, 8, 8, dtype=torch.float64)
    state = {**optimizer.init(context), "velocity": torch.ones_like(stored)}
    seen = optimizer.at_turn(state, stored, context)[:, 0, 0, 0, 0]
    # Class c has moved by 0.5 (1/2 + 1/4 + ... + 1/2^c).
    assert seen.tolist() == [0.0, -0.25, -0.375]
    joint = SGD(turns="joint")
    assert joint.at_turn(state, stored, context) is stored


@pytest.mark.parametrize(
    ("fields", "ipc", "expected"),
    [
        ({"lr": 0.1}, 10, 0.1),
        ({"lr": 0.1}, 1, 0.01),
        ({"lr": 0.1}, 50, 0.5),
        ({"lr": 0.1, "scale_with_ipc": False}, 50, 0.1),
        ({"lr": 0.1, "reference_size": 8}, 10, 0.1),
        ({"lr": 0.1, "reference_size": 4}, 10, 0.4),
        ({"lr": 0.1, "reference_size": 16}, 20, 0.05),
    ],
)
def test_step_size(context_of: Callable[..., Context], fields: dict[str, Any], ipc: int, expected: float) -> None:
    assert SGD(**fields).step_size(context_of(ipc=ipc)) == pytest.approx(expected, rel=1e-14)


def test_the_scaled_step_is_the_one_taken(context_of: Callable[..., Context]) -> None:
    context = context_of(ipc=2)
    stored = torch.zeros(3, 2, 1, 8, 8, dtype=torch.float64)
    for turns in ("class", "joint"):
        optimizer = SGD(lr=0.1, momentum=0.0, reference_size=4, turns=turns)  # type: ignore[arg-type]
        _, after = optimizer.update(optimizer.init(context), stored, torch.ones_like(stored), context, Moment(0, 0, 1))
        torch.testing.assert_close(after, torch.full_like(stored, -0.1 * 0.2 * 4), rtol=1e-14, atol=0)


def test_clamping_at_the_start_of_an_iteration() -> None:
    stored = torch.tensor([-0.5, 0.25, 1.5])
    black, white = torch.tensor([-0.5]), torch.tensor([0.5])
    assert SGD().open_iteration({}, stored, torch.zeros(1), torch.ones(1), 0)[1].tolist() == [0.0, 0.25, 1.0]
    assert SGD().open_iteration({}, stored, black, white, 0)[1].tolist() == [-0.5, 0.25, 0.5]
    assert SGD(clamp=False).open_iteration({}, stored, black, white, 0)[1] is stored


def test_state_has_the_shape_and_dtype_of_the_run(context_of: Callable[..., Context]) -> None:
    velocity = SGD().init(context_of(ipc=4, dtype=torch.float32))["velocity"]
    assert velocity.shape == (3, 4, 1, 8, 8) and velocity.dtype == torch.float32


@pytest.mark.parametrize(
    "fields",
    [{"lr": 0.0}, {"lr": -1.0}, {"lr": float("nan")}, {"momentum": 1.0}, {"momentum": -0.1}, {"reference_size": -1}],
)
def test_unusable_settings_are_refused(context_of: Callable[..., Context], fields: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="optimizer 'sgd' needs lr > 0"):
        SGD(**fields).check(context_of())


def test_the_step_size_drops_at_its_iterations(context_of: Callable[..., Context]) -> None:
    context = context_of(ipc=2)
    optimizer = SGD(
        lr=0.8, momentum=0.0, scale_with_ipc=False, turns="joint", clamp=False, drops=(2, 3), drop_factor=0.5
    )
    stored, state, moved = torch.zeros(3, 2, 1, 8, 8, dtype=torch.float64), optimizer.init(context), []
    for iteration in range(5):
        state, stored = optimizer.open_iteration(state, stored, torch.zeros(1), torch.ones(1), iteration)
        before = stored
        state, stored = optimizer.update(state, stored, torch.ones_like(stored), context, Moment(0, 0, 1))
        moved.append(float((before - stored).max()))
    assert moved == pytest.approx([0.8, 0.8, 0.4, 0.2, 0.2])
    with pytest.raises(InputError, match="drop_factor above 0"):
        SGD(drop_factor=0.0).check(context)


def test_clamping_from_below_alone() -> None:
    stored = torch.tensor([-3.0, 0.25, 7.0]).view(1, 1, 1, 1, 3)
    low, high = torch.tensor([-0.5]).view(1, 1, 1), torch.tensor([0.5]).view(1, 1, 1)
    assert SGD(clamp="below").open_iteration({}, stored, low, high, 0)[1].flatten().tolist() == [-0.5, 0.25, 7.0]


@pytest.mark.parametrize("turns", ["class", "joint"])
def test_an_average_over_time_is_the_result(context_of: Callable[..., Context], turns: Any) -> None:
    context = context_of(ipc=2)
    optimizer = SGD(lr=0.05, turns=turns, scale_with_ipc=False, average=0.9)
    plain = SGD(lr=0.05, turns=turns, scale_with_ipc=False)
    start, goal = Stream(0).uniform(3, 2, 1, 8, 8), Stream(1).uniform(3, 2, 1, 8, 8)
    state, stored, other = optimizer.init(context), start, plain.init(context)
    assert optimizer.result(state, stored) is stored
    seen = [start]
    for _ in range(ROUNDS):
        gradients = slopes(stored, goal)
        other, expected = plain.update(other, stored, gradients, context, Moment(0, 0, 1))
        state, stored = optimizer.update(state, stored, gradients, context, Moment(0, 0, 1))
        assert torch.equal(stored, expected) and plain.result(other, stored) is stored
        seen.append(stored)
    # ema_t = d^t x_0 + (1 - d) sum_s d^(t - s) x_s.
    mean = 0.9**ROUNDS * seen[0] + sum(0.1 * 0.9 ** (ROUNDS - step) * seen[step] for step in range(1, ROUNDS + 1))
    torch.testing.assert_close(optimizer.result(state, stored), mean, rtol=0, atol=1e-14)
    assert (optimizer.result(state, stored) - stored).abs().max() > 1e-3


@pytest.mark.parametrize("average", [-0.1, 1.0])
def test_an_average_that_cannot_be_is_refused(average: float, context_of: Callable[..., Context]) -> None:
    with pytest.raises(InputError, match="needs an average of at least 0 and less than 1"):
        SGD(average=average).check(context_of())


def test_runs_return_and_keep_the_average(digits: Data, tmp_path: Path) -> None:
    recipe = tiny_idc(iterations=3).with_(optimizer__average=0.5)
    plain = tiny_idc(iterations=3)
    settings = Settings(device="cpu", progress="quiet", snapshots=3)
    made = distill(recipe, digits, ipc=1, out=tmp_path / "whole", settings=settings)
    loop = Loop(plain, make_context(plain, digits, 1, 0, settings))
    state, average = loop.start(), None
    seen = {}
    average = state.stored
    for step in range(loop.length()):
        seen[step] = average
        state, _ = loop.step(state)
        average = 0.5 * average + 0.5 * state.stored
    torch.testing.assert_close(made.stored, average, rtol=0, atol=1e-6)
    assert (made.stored - state.stored).abs().max() > 1e-3
    for snapshot in read_snapshots(tmp_path / "whole"):
        torch.testing.assert_close(load(snapshot.folder).stored, seen[snapshot.step], rtol=0, atol=1e-6)


def test_an_interrupted_run_has_the_same_average(digits: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = tiny_idc(iterations=3).with_(optimizer__average=0.9)
    settings = Settings(device="cpu", progress="quiet", checkpoint_minutes=0)
    whole = distill(recipe, digits, ipc=1, settings=settings)
    step = Loop.step

    def failing(self: Loop, state: LoopState) -> tuple[LoopState, Tensor]:
        if state.ordinal == 5:
            raise KeyboardInterrupt
        return step(self, state)

    monkeypatch.setattr(Loop, "step", failing)
    with pytest.raises(KeyboardInterrupt):
        distill(recipe, digits, ipc=1, out=tmp_path / "run", settings=settings)
    monkeypatch.setattr(Loop, "step", step)
    assert torch.equal(distill(recipe, digits, ipc=1, out=tmp_path / "run", settings=settings).stored, whole.stored)


def test_run_files_without_an_average_mean_none() -> None:
    assert SGD.added["average"] == SGD().average == 0.0


def test_the_step_size_counts_images_that_are_shown_beside(context_of: Callable[..., Context]) -> None:
    context = context_of(ipc=5)
    union = replace(context, company=Company(torch.zeros(3, 10, 1, 8, 8), 10))
    optimizer = SGD(lr=0.2)
    assert optimizer.step_size(context) == pytest.approx(0.1)
    assert optimizer.step_size(union) == pytest.approx(0.3)
    assert SGD(lr=0.2, scale_with_ipc=False).step_size(union) == 0.2
