from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from limbeck.core.context import Context
from limbeck.core.errors import InputError
from limbeck.data.images import ImageSet
from limbeck.initializers.real import Real
from limbeck.labelers.by_pool import ByPool
from limbeck.labelers.hard import Hard
from limbeck.methods.mtt import mtt
from limbeck.methods.tesla import PRESETS, tesla
from limbeck.objectives.trajectory_matching import TrajectoryMatching
from limbeck.pools.experts import Experts
from tests.methods.trajectories import (
    COMMON,
    SGD_EXPERTS,
    Column,
    check_what_all_share,
    column,
    matching_loss,
    run,
    tiny,
)

# The authors' examples, with the step size of images as published; MTT's where they give none.
TABLE: dict[tuple[str, int], Column] = {
    ("cifar10", 1): ("channels", 50, 2, 5, 0, 1000, 1e-7, 0.01),
    **COMMON,
    ("imagenet", 1): ("channels", 10, 3, 10, 100, 10_000, 1e-4, 0.01),
}
NETWORKS = {"cifar10": "convnet3", "cifar100": "convnet3", "tiny-imagenet": "convnet4", "imagenet": "convnet4"}


def fields(*arguments: Any, **options: Any) -> Any:
    """The recipe, for reading the fields of its parts."""
    return tesla(*arguments, **options)


@pytest.mark.parametrize("code", [False, True])
@pytest.mark.parametrize(("preset", "ipc"), TABLE)
def test_the_published_settings(preset: str, ipc: int, code: bool) -> None:
    recipe = fields(f"{preset}-code" if code else preset, ipc)
    normalization, steps, span, starts, batch, lr, lr_step, student_lr = TABLE[preset, ipc]
    # The published step size of images belongs to half of the formula's gradient.
    lr = lr if code else lr / 2
    assert column(recipe) == (normalization, steps, span, starts, batch, lr, lr_step, student_lr)
    check_what_all_share(recipe, iterations=10_000)
    soft = preset == "imagenet"
    assert recipe.objective == TrajectoryMatching(
        student_steps=steps,
        student_lr=student_lr,
        lr_step=lr_step,
        synthetic_batch=batch,
        engine="tesla",
        tesla_scale=0.5 if code else 1.0,
        labels="expert" if soft else "hard",
    )
    assert recipe.pool == Experts(
        network=NETWORKS[preset],
        count=50 if soft else 100,
        course=SGD_EXPERTS,
        span=span,
        starts=starts,
        normalization=normalization,
    )
    assert recipe.labeler == (ByPool() if soft else Hard())
    assert recipe.initializer == Real() and recipe.optimizer.average == 0
    assert recipe.references == ("cui2023tesla", "cazenavette2022mtt")


def test_an_ipc_without_settings_takes_those_of_the_nearest_by_ratio() -> None:
    assert tesla("imagenet", 50) == tesla("imagenet", 1)
    assert tesla("cifar10-code", 5) == tesla("cifar10-code", 10)
    assert tesla("cifar100", 2) == tesla("cifar100", 1)
    assert tesla() == tesla("cifar10", 10)


@pytest.mark.parametrize("preset", ["small", "digits"])
def test_ours_are_those_of_mtt_with_the_other_gradient(preset: str) -> None:
    assert tesla(preset) == mtt(preset).with_(
        name="tesla", objective__engine="tesla", references=("cui2023tesla", "cazenavette2022mtt")
    )
    assert f"{preset}-code" not in PRESETS


def test_the_code_and_the_formula_make_the_same_images(context_of: Callable[..., Context]) -> None:
    # Not of `digits`, which has no -code: a fresh context takes the column of CIFAR-10 with images of digits.
    ends, rates = [], []
    for preset in ("cifar10", "cifar10-code"):
        recipe = tiny(tesla(preset, 1), 4, objective__lr_step=1e-4).with_(optimizer__lr=tesla(preset, 1).optimizer.lr)  # type: ignore[union-attr]
        loop, states = run(recipe, context_of())
        ends.append(states[-1].stored - states[0].stored)
        rates.append(loop.figures(states[-1])["student_lr"])
    torch.testing.assert_close(ends[1], ends[0], rtol=1e-9, atol=1e-12)
    assert rates[0] == pytest.approx(rates[1], rel=1e-9) and rates[0] != 0.01
    assert ends[0].abs().max() > 0


def test_the_exact_gradient_is_one_switch_away(context_of: Callable[..., Context]) -> None:
    estimate, exact = (
        run(tiny(recipe), context_of())[1][-1].stored
        for recipe in (tesla("digits"), tesla("digits").with_(objective__engine="adjoint"))
    )
    same = run(tiny(mtt("digits")), context_of())[1][-1].stored
    assert torch.equal(exact, same) and not torch.equal(estimate, exact)


def test_soft_labels_teach_the_student_and_travel_with_the_set(context_of: Callable[..., Context]) -> None:
    soft = tiny(tesla("imagenet", 1), optimizer__lr=20.0, pool__span=1)
    loop, states = run(soft, context_of())
    _, learnt = loop.result(states[-1])
    assert learnt["labels"].shape == (3, 2, 3)
    torch.testing.assert_close(learnt["labels"].sum(dim=2), torch.ones(3, 2))
    hard = run(soft.with_(objective__labels="hard"), context_of())[1]
    assert not torch.equal(hard[-1].stored, states[-1].stored)


def test_a_short_run_lowers_the_loss(context_of: Callable[..., Context], portion: Callable[..., ImageSet]) -> None:
    context = context_of(portion(3, 40), ipc=2, dtype=torch.float32)
    recipe = tiny(tesla("digits"), 30, objective__student_lr=0.01, optimizer__lr=20.0, objective__student_steps=8)
    loop, states = run(recipe, context)
    before, after = (matching_loss(loop, states[0], state.stored) for state in (states[0], states[-1]))
    assert after < 0.5 * before < 0.5


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_make_sense(preset: str) -> None:
    for ipc in (1, 10, 50):
        tesla(preset, ipc).check()


def test_by_command_line_every_engine(context_of: Callable[..., Context]) -> None:
    from limbeck.cli.overrides import apply

    changed: Any = apply(tesla("cifar10"), ["labeler=by_pool"], ["--objective.labels", "expert"], "limbeck")
    assert (changed.labeler, changed.objective.labels) == (ByPool(), "expert")
    for engine in ("adjoint", "unroll"):
        changed = apply(tesla("cifar10"), [], ["--objective.engine", engine], "limbeck")
        assert changed.objective == replace(fields("cifar10").objective, engine=engine)
        changed.check()
    scaled = apply(tesla("cifar10-code"), [], ["--objective.engine", "adjoint"], "limbeck")
    with pytest.raises(InputError, match="leave tesla_scale at 1"):
        scaled.objective.check(context_of())  # type: ignore[union-attr]


@pytest.mark.parametrize("preset", ["imagenet10", "digits-code", "cifar10-code-code"])
def test_an_unknown_preset_is_refused(preset: str) -> None:
    with pytest.raises(InputError, match=rf"unknown preset of tesla '{preset}'"):
        tesla(preset)
