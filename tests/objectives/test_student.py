"""The three engines of trajectory matching, held against one another."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from limbeck.augmentations.dsa_augment import DSAAugment
from limbeck.core.context import Context
from limbeck.core.contracts import Parametrization
from limbeck.core.errors import RunError
from limbeck.core.execution import Execution, can_compile
from limbeck.core.focus import Company
from limbeck.data.images import ImageSet
from limbeck.objectives.trajectory_matching import TrajectoryMatching
from limbeck.parametrizations.partition import Partition
from tests.objectives.students import CPU, PLAIN, SMOOTH, Case, agree

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


@pytest.mark.parametrize("perturb", ["off", "filters"])
def test_a_student_that_stays_has_loss_one(context: Context, perturb: Any) -> None:
    # Also from a perturbed start, to which the distances are relative.
    objective = TrajectoryMatching(student_steps=3, student_lr=1e-15, perturb=perturb)
    assert float(Case(context, objective).pull().losses.sum()) == pytest.approx(1.0, abs=1e-9)


def test_there_is_no_student_without_an_expert(context: Context) -> None:
    case = Case(context, TrajectoryMatching(student_steps=1))
    case.view = replace(case.view, trajectory=None)
    with pytest.raises(RunError, match="needs a pool of experts"):
        case.pull()
