"""The engines against one another in every combination, and what the loss must do at its ends."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

import limbeck as lb
from limbeck.augmentations.crop_flip import CropFlip
from limbeck.augmentations.dsa_augment import DSAAugment
from limbeck.augmentations.jitter import Jitter
from limbeck.core.batch import Block, Moment, Trajectory, View
from limbeck.core.context import Context
from limbeck.core.contracts import Augmentation, Parametrization, Peers, Pull
from limbeck.core.errors import InputError, RunError
from limbeck.core.execution import Execution, can_compile
from limbeck.core.focus import Company
from limbeck.core.guard import Guard
from limbeck.core.network import Weights
from limbeck.core.streams import Streams
from limbeck.data import Data
from limbeck.data.images import ImageSet
from limbeck.engine.distill import make_context
from limbeck.engine.loop import Loop
from limbeck.methods.ast import ast
from limbeck.methods.mtt import mtt
from limbeck.objectives.trajectory_matching import TrajectoryMatching
from limbeck.parametrizations.partition import Partition
from limbeck.parametrizations.plain import Plain

CPU = torch.device("cpu")
SMOOTH = "convnet2:width=4,activation=swish"
PLAIN = Plain(space="normalized")


class Case:
    """An expert, images and the random numbers of one outer step."""

    def __init__(
        self,
        context: Context,
        objective: TrajectoryMatching,
        network: str = SMOOTH,
        parametrization: Parametrization = PLAIN,
        augmentation: Augmentation | None = None,
        execution: Execution | None = None,
        start: int = 3,
    ) -> None:
        self.objective, self.context = objective, context
        self.network = context.build(network, context.spec).to(CPU, context.dtype, execution)
        streams = Streams(1)

        def near(weights: Weights, number: int) -> Weights:
            """Weights somewhat further on."""
            return {
                name: tensor + 0.02 * streams("way", number, place).normal(*tensor.shape).to(tensor)
                if tensor.is_floating_point()
                else tensor
                for place, (name, tensor) in enumerate(weights.items())
            }

        path = [self.network.initial(streams("expert"))]
        path += [near(path[0], 1), near(path[0], 2), near(path[0], 3)]
        self.view = View(self.network, path[0], trajectory=Trajectory(tuple(path), start, 8))
        self.peers = Peers(parametrization, augmentation, context.spec)
        self.stored = streams("stored").uniform(*context.stored_shape).to(context.dtype)

    def block(self) -> Block:
        labels, parts = tuple(self.context.labels), self.peers.parametrization.parts(self.context.ipc)
        drawn = self.objective.draws(self.context, Moment(iteration=2, step=0, steps=1), labels, self.peers)
        return Block(
            labels=labels,
            stored=self.stored,
            targets=torch.tensor(labels).unsqueeze(1).expand(-1, parts),
            real=torch.zeros(len(labels), 0),
            counts=(0,) * len(labels),
            draws=tuple(draws for draws, _ in drawn),
            memory=self.objective.init(self.context),
        )

    def pull(self, **changes: Any) -> Pull:
        return replace(self.objective, **changes).pull(self.view, self.block(), self.peers)


@pytest.fixture
def context(context_of: Callable[..., Context], portion: Callable[..., ImageSet]) -> Context:
    return replace(context_of(portion()), ipc=2, dtype=torch.float64)


def agree(one: Pull, other: Pull, **close: float) -> None:
    close = close or {"rtol": 1e-10, "atol": 1e-13}
    torch.testing.assert_close(one.losses, other.losses, **close)
    torch.testing.assert_close(one.gradients, other.gradients, **close)
    torch.testing.assert_close(one.learnt["student_lr"], other.learnt["student_lr"], **close)


OPTIONS: dict[str, tuple[dict[str, Any], ...]] = {
    "student": ({}, {"student_momentum": 0.9}),
    "loss": ({}, {"balance": True}, {"balance": True, "balance_base": 2.0}),
    "way": ({}, {"intermediate": "equal"}, {"intermediate": "varied", "points": "official"}),
    "labels": ({}, {"labels": "expert"}),
    "batch": ({}, {"synthetic_batch": 4}),
    "start": ({}, {"perturb": "filters"}, {"perturb": "tensors", "alpha": 1.0, "weight_dropout": 0.3}),
}
COMBINATIONS = list(itertools.product(*OPTIONS.values()))


@pytest.mark.parametrize("number", range(len(COMBINATIONS)))
def test_the_recursion_equals_the_whole_graph(context: Context, number: int) -> None:
    options = {name: value for chosen in COMBINATIONS[number] for name, value in chosen.items()}
    # What surrounds the student goes through its choices as well.
    augmentation = DSAAugment(mode="multiple" if number % 3 else "single") if number % 2 else None
    parametrization: Parametrization = Partition(factor=2) if number % 5 == 0 else PLAIN
    execution = Execution(microbatch=3) if number % 7 == 0 else None
    objective = TrajectoryMatching(student_steps=4, student_lr=0.05, **options)
    case = Case(context, objective, parametrization=parametrization, augmentation=augmentation, execution=execution)
    found, plain = case.pull(), case.pull(engine="unroll")
    agree(found, plain)
    assert found.gradients.abs().max() > 0 and found.learnt["student_lr"] != 0


@pytest.mark.parametrize("steps", [1, 3])
def test_tesla_is_exact_for_one_step_only(context: Context, steps: int) -> None:
    case = Case(context, TrajectoryMatching(student_steps=steps, student_lr=0.05))
    found, exact = case.pull(engine="tesla"), case.pull()
    torch.testing.assert_close(found.losses, exact.losses, rtol=1e-12, atol=1e-14)
    assert torch.allclose(found.gradients, exact.gradients, rtol=1e-8, atol=1e-12) == (steps == 1)
    half = case.pull(engine="tesla", tesla_scale=0.5)
    torch.testing.assert_close(half.gradients, found.gradients / 2)
    torch.testing.assert_close(half.learnt["student_lr"], found.learnt["student_lr"])


@pytest.mark.parametrize("engine", ["adjoint", "unroll", "tesla"])
def test_finished_images_are_learnt_beside_the_others_and_do_not_move(
    context_of: Callable[..., Context], portion: Callable[..., ImageSet], engine: Any
) -> None:
    """A student of four images per class of which two are finished: their pixels are constants, those of others not."""
    objective = TrajectoryMatching(student_steps=3, synthetic_batch=5, engine=engine)
    whole = Case(context_of(portion(), ipc=4), objective)
    images = whole.stored[:, 2:]  # in the space that they are stored in, which is normalized
    alone = Case(context_of(portion(), ipc=2, company=Company(images, 2)), objective)
    alone.stored = whole.stored[:, :2]
    block = replace(alone.block(), beside=images, targets=whole.block().targets)
    found = objective.pull(alone.view, block, alone.peers)
    expected = whole.pull()
    agree(found, replace(expected, gradients=expected.gradients[:, :2]))
    assert expected.gradients[:, 2:].abs().max() > 0
    shown, labels = objective.shown(block, alone.peers)
    assert torch.equal(shown, objective.shown(whole.block(), whole.peers)[0]) and len(labels) == len(shown)


def test_networks_with_batch_norm_are_matched_in_their_parameters(context: Context) -> None:
    case = Case(context, TrajectoryMatching(student_steps=3), network=SMOOTH + ",norm=batch")
    before = {name: tensor.clone() for name, tensor in case.view.weights.items()}
    agree(case.pull(), case.pull(engine="unroll"))
    assert all(torch.equal(tensor, before[name]) for name, tensor in case.view.weights.items())


@pytest.mark.slow
@pytest.mark.skipif(not can_compile(CPU), reason="no C++ compiler")
def test_compiled_steps_give_the_same(context: Context) -> None:
    objective = TrajectoryMatching(student_steps=3, student_momentum=0.5, synthetic_batch=4)
    network = "convnet1:width=2,activation=swish"
    eager = Case(context, objective, network, augmentation=DSAAugment()).pull()
    execution = Execution(compile=True, microbatch=4)
    agree(Case(context, objective, network, augmentation=DSAAugment(), execution=execution).pull(), eager)
    torch.compiler.reset()


def test_ast_with_everything_off_is_mtt() -> None:
    off = {"balance": False, "intermediate": "off", "perturb": "off", "student_momentum": 0.0, "alpha": 0.1}
    for preset in ("cifar10", "cifar10-official", "digits"):
        changed = replace(ast(preset).objective, points="paper", **off)  # type: ignore[type-var]
        published = mtt(preset.removesuffix("-official")).objective
        assert changed == replace(published, student_lr=changed.student_lr, lr_step=changed.lr_step)  # type: ignore[type-var, union-attr]


@pytest.mark.parametrize("perturb", ["off", "filters"])
def test_a_student_that_stays_has_loss_one(context: Context, perturb: Any) -> None:
    # Also from a perturbed start, to which the distances are relative.
    objective = TrajectoryMatching(student_steps=3, student_lr=1e-15, perturb=perturb)
    assert float(Case(context, objective).pull().losses.sum()) == pytest.approx(1.0, abs=1e-9)


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
