"""The engines against one another in every combination, and what the loss must do at its ends."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

import limbeck as lb
from limbeck.augmentations.crop_flip import CropFlip
from limbeck.augmentations.jitter import Jitter
from limbeck.core.batch import Moment
from limbeck.core.context import Context
from limbeck.core.contracts import Pull
from limbeck.core.errors import InputError, RunError
from limbeck.core.guard import Guard
from limbeck.data import Data
from limbeck.data.images import ImageSet
from limbeck.engine.distill import make_context
from limbeck.engine.loop import Loop
from limbeck.methods.ast import ast
from limbeck.methods.mtt import mtt
from limbeck.objectives.trajectory_matching import TrajectoryMatching
from tests.objectives.students import Case, agree


def test_ast_with_everything_off_is_mtt() -> None:
    off = {"balance": False, "intermediate": "off", "perturb": "off", "student_momentum": 0.0, "alpha": 0.1}
    for preset in ("cifar10", "cifar10-official", "digits"):
        changed = replace(ast(preset).objective, points="paper", **off)  # type: ignore[type-var]
        published = mtt(preset.removesuffix("-official")).objective
        assert changed == replace(published, student_lr=changed.student_lr, lr_step=changed.lr_step)  # type: ignore[type-var, union-attr]


def test_batches_are_used_from_the_end_so_that_a_ragged_one_comes_first(context: Context) -> None:
    objective = TrajectoryMatching(student_steps=4, synthetic_batch=4)
    draws = Case(context, objective).block().draws[0]
    rows = [draws[f"batch/{number}"] for number in range(4)]
    assert [len(some) for some in rows] == [2, 4, 2, 4]  # six images
    for pair in (rows[:2], rows[2:]):
        assert sorted(torch.cat(pair).tolist()) == list(range(6))
    assert torch.cat(rows[:2]).tolist() != torch.cat(rows[2:]).tolist()
    whole = Case(context, replace(objective, synthetic_batch=0)).block().draws[0]
    assert sorted(whole["batch/2"].tolist()) == list(range(6))


def test_an_augmentation_may_have_rows_of_its_own(context: Context) -> None:
    # Its shifts are not taken for the images of a step, nor these for shifts.
    objective = TrajectoryMatching(student_steps=3, synthetic_batch=4)
    bare = Case(context, objective).pull()
    agree(Case(context, objective, augmentation=Jitter(shift=0)).pull(), bare)
    border = CropFlip(padding=0, flip=False).bound(context.spec)
    agree(Case(context, objective, augmentation=border).pull(), bare)
    moved = Case(context, objective, augmentation=Jitter(shift=3)).pull()
    assert torch.isfinite(moved.gradients).all() and not torch.equal(moved.gradients, bare.gradients)


@pytest.mark.parametrize("rate", ["positive", "raw"])
def test_the_step_size_moves_like_itself_at_first_and_stays_positive(context: Context, rate: Any) -> None:
    objective = TrajectoryMatching(student_lr=0.01, lr_step=1e-3, lr_momentum=0.5, rate=rate)
    moment = Moment(iteration=0, step=0, steps=1)

    def learn(state: dict[str, Any], slope: float) -> dict[str, Any]:
        return objective.learn(state, context, moment, {"student_lr": torch.tensor(slope)})

    state = objective.init(context)
    assert float(objective.learnt(state)["student_lr"]) == 0.01
    once = objective.learnt(learn(state, 1e-3))["student_lr"]
    assert float(once - 0.01) == pytest.approx(-1e-6, rel=1e-3)
    second = learn(learn(state, 1e-3), 1e-3)
    assert float(objective.learnt(second)["student_lr"] - 0.01) == pytest.approx(-2.5e-6, rel=1e-3)
    for _ in range(20):
        state = learn(state, 5.0)
    assert (float(objective.learnt(state)["student_lr"]) > 0) == (rate == "positive")


def test_no_step_changes_a_positive_step_size_by_more_than_its_limit(context: Context) -> None:
    objective = TrajectoryMatching(student_lr=0.02, lr_step=1e-2, rate_limit=0.1)
    moment, state = Moment(iteration=0, step=0, steps=1), objective.init(context)
    for slope, expected in ((1e6, 0.02 / 1.1), (-1e9, 0.02)):
        state = objective.learn(state, context, moment, {"student_lr": torch.tensor(slope)})
        assert float(objective.learnt(state)["student_lr"]) == pytest.approx(expected, rel=1e-6)
    free = replace(objective, rate_limit=0.0)
    state = free.learn(free.init(context), context, moment, {"student_lr": torch.tensor(10.0)})
    assert float(free.learnt(state)["student_lr"]) < 0.02 / 50


def test_a_step_size_that_is_not_learnt_stays(context: Context) -> None:
    case = Case(context, TrajectoryMatching(student_steps=2, lr_step=0.0))
    assert case.pull().learnt == {}


@pytest.mark.parametrize(
    "wrong",
    [
        {"student_steps": 0},
        {"student_lr": 0.0},
        {"lr_step": -1.0},
        {"lr_momentum": 1.0},
        {"student_momentum": 1.0},
        {"synthetic_batch": -1},
        {"balance_base": 1.0},
        {"rate_limit": -0.1},
        {"alpha": -0.1},
        {"weight_dropout": 1.0},
        {"engine": "tesla", "tesla_scale": 0.0},
        {"tesla_scale": 0.5},
        {"guard": Guard(patience=0)},
    ],
)
def test_impossible_settings_are_refused(context: Context, wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="trajectory_matching"):
        TrajectoryMatching(**wrong).check(context)


def test_it_says_nothing_of_one_class_alone(context: Context) -> None:
    case = Case(context, TrajectoryMatching(student_steps=1))
    with pytest.raises(RunError, match="all classes"):
        case.objective.loss(case.view, case.block().one(0), case.peers)


def tiny_mtt(**changes: Any) -> Any:
    recipe = mtt("digits").with_(
        pool__network="convnet1:width=4",
        pool__count=2,
        pool__starts=2,
        objective__student_steps=3,
        curriculum__iterations=6,
        optimizer__clamp=False,
    )
    course = replace(recipe.pool.course, epochs=3)  # type: ignore[union-attr]
    return recipe.with_(pool__course=course, **changes)


def loop_of(data: Data, recipe: Any) -> Loop:
    return Loop(recipe, make_context(recipe, data, 1, 0, lb.Settings(progress="quiet", device="cpu")))


@pytest.fixture
def small(portion: Callable[..., ImageSet]) -> Data:
    train = portion()
    return Data(train=train, validation=None, test=None, spec=train.spec)


def test_a_step_that_is_no_number_changes_nothing_and_is_counted(small: Data, monkeypatch: pytest.MonkeyPatch) -> None:
    loop = loop_of(small, tiny_mtt())
    state, original = loop.start(), TrajectoryMatching.pull
    state, losses = loop.step(state)
    assert len(losses) and loop.figures(state).keys() == {"student_lr"}

    def broken(self: TrajectoryMatching, *given: Any) -> Pull:
        found = original(self, *given)
        return replace(found, gradients=found.gradients * float("nan"))

    monkeypatch.setattr(TrajectoryMatching, "pull", broken)
    after, losses = loop.step(state)
    assert len(losses) == 0 and after.ordinal == state.ordinal + 1
    assert torch.equal(after.stored, state.stored)
    for slot in ("optimizer", "objective"):
        for name, tensor in state.parts[slot].items():
            assert not isinstance(tensor, Tensor) or torch.equal(after.parts[slot][name], tensor)
    assert loop.figures(after)["skipped"] == 1
    monkeypatch.setattr(TrajectoryMatching, "pull", original)
    last, losses = loop.step(after)
    assert len(losses) and not torch.equal(last.stored, after.stored)


def test_a_run_goes_back_when_steps_keep_failing(small: Data, monkeypatch: pytest.MonkeyPatch) -> None:
    loop = loop_of(small, tiny_mtt(objective__guard=Guard(patience=2, interval=1, backtrack=0.5)))
    state, seen, original = loop.start(), [], TrajectoryMatching.pull
    for _ in range(3):
        seen.append(state.stored.clone())
        state, _ = loop.step(state)

    def broken(self: TrajectoryMatching, *given: Any) -> Pull:
        found = original(self, *given)
        return replace(found, losses=found.losses * float("inf"))

    monkeypatch.setattr(TrajectoryMatching, "pull", broken)
    state, _ = loop.step(state)
    state, _ = loop.step(state)
    # Copies were made before the steps 2 and, in the one that failed first, 3: the older one counts.
    assert torch.equal(state.stored, seen[2]) and state.parts["guard"]["scale"] == 0.5


def test_what_is_learnt_travels_with_the_set_and_a_resumed_run_ends_alike(small: Data, tmp_path: Any) -> None:
    settings = lb.Settings(progress="quiet", device="cpu", checkpoint_minutes=0)
    whole = lb.distill(tiny_mtt(), small, ipc=1, settings=settings)
    assert whole.learnt["student_lr"].item() != mtt("digits").objective.student_lr  # type: ignore[union-attr]
    calls, original = [0], Loop.step

    def stops(self: Loop, state: Any) -> Any:
        calls[0] += 1
        if calls[0] == 4:
            raise KeyboardInterrupt
        return original(self, state)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Loop, "step", stops)
        with pytest.raises(KeyboardInterrupt):
            lb.distill(tiny_mtt(), small, ipc=1, out=tmp_path / "run", settings=settings)
    resumed = lb.distill(tiny_mtt(), small, ipc=1, out=tmp_path / "run", settings=settings)
    assert torch.equal(resumed.stored, whole.stored)
    assert torch.equal(resumed.learnt["student_lr"], whole.learnt["student_lr"])
    loaded = lb.load(tmp_path / "run")
    assert torch.equal(loaded.learnt["student_lr"], whole.learnt["student_lr"])
