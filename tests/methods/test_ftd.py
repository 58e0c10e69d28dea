from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from limbeck.cli.overrides import apply
from limbeck.core.context import Context
from limbeck.core.errors import InputError
from limbeck.data.images import ImageSet
from limbeck.initializers.real import Real
from limbeck.labelers.hard import Hard
from limbeck.methods.ftd import PRESETS, ftd
from limbeck.methods.mtt import mtt
from limbeck.objectives.trajectory_matching import TrajectoryMatching
from limbeck.pools.experts import Experts
from tests.methods.trajectories import SGD_EXPERTS, Column, check_what_all_share, column, matching_loss, run, tiny

# The paper's table: as MTT's, then alpha of the experts and d of the average. The scripts whiten all of CIFAR.
TABLE: dict[tuple[str, int], tuple[Column, float, float]] = {
    ("cifar10", 1): (("zca", 50, 2, 2, 0, 100, 1e-7, 0.01), 0.3, 0.9999),
    ("cifar10", 10): (("zca", 30, 2, 20, 0, 100, 1e-5, 0.001), 0.3, 0.9995),
    ("cifar10", 50): (("zca", 30, 2, 40, 0, 1000, 1e-5, 0.01), 1.0, 0.999),
    ("cifar100", 1): (("zca", 40, 3, 20, 0, 1000, 1e-5, 0.01), 1.0, 0.9995),
    ("cifar100", 10): (("zca", 20, 2, 40, 0, 1000, 1e-5, 0.01), 1.0, 0.9995),
    ("cifar100", 50): (("zca", 80, 2, 40, 1000, 1000, 1e-5, 0.01), 1.0, 0.999),
    ("tiny-imagenet", 1): (("channels", 30, 2, 10, 0, 10_000, 1e-4, 0.01), 1.0, 0.999),
    ("tiny-imagenet", 10): (("channels", 20, 2, 40, 500, 10_000, 1e-4, 0.01), 1.0, 0.999),
}
NETWORKS = {"cifar10": "convnet3", "cifar100": "convnet3", "tiny-imagenet": "convnet4"}


def fields(*arguments: Any, **options: Any) -> Any:
    """The recipe, for reading the fields of its parts."""
    return ftd(*arguments, **options)


@pytest.mark.parametrize(("preset", "ipc"), TABLE)
def test_the_published_settings(preset: str, ipc: int) -> None:
    recipe = fields(preset, ipc)
    expected, alpha, decay = TABLE[preset, ipc]
    normalization, steps, span, starts, batch, _, lr_step, student_lr = expected
    assert column(recipe) == expected
    check_what_all_share(recipe)
    assert recipe.objective == TrajectoryMatching(
        student_steps=steps, student_lr=student_lr, lr_step=lr_step, synthetic_batch=batch
    )
    # GSAM: rho 0.01, adapted to the size of weights, at the step size of MTT's experts.
    course = replace(SGD_EXPERTS, rho=0.01, surrogate=alpha, adaptive=True)
    assert recipe.pool == Experts(
        network=NETWORKS[preset], count=100, course=course, span=span, starts=starts, normalization=normalization
    )
    assert recipe.optimizer.average == decay
    assert (recipe.initializer, recipe.labeler) == (Real(), Hard())
    assert recipe.references == ("du2023ftd", "cazenavette2022mtt")


@pytest.mark.parametrize(
    ("preset", "ipc", "taken"),
    [("cifar10", 3, 1), ("cifar10", 7, 10), ("cifar100", 200, 50), ("tiny-imagenet", 50, 10)],
)
def test_an_ipc_without_settings_takes_those_of_the_nearest_by_ratio(preset: str, ipc: int, taken: int) -> None:
    assert ftd(preset, ipc) == ftd(preset, taken)
    assert ftd() == ftd("cifar10", 10)


@pytest.mark.parametrize("preset", ["small", "digits"])
def test_ours_are_those_of_mtt_with_its_additions(preset: str) -> None:
    recipe = fields(preset)
    off = recipe.with_(pool__course__rho=0.0, optimizer__average=0.0)
    assert off == mtt(preset).with_(name="ftd", references=recipe.references)
    # Of the initial images the average forgets nearly all before it ends.
    assert recipe.optimizer.average > 0.9 and recipe.optimizer.average**recipe.curriculum.iterations < 0.01


def test_the_result_is_the_average_of_all_images_of_the_run(context_of: Callable[..., Context]) -> None:
    recipe: Any = tiny(ftd("digits"), 5)
    decay = recipe.optimizer.average
    loop, states = run(recipe, context_of())
    average = states[0].stored
    for state in states[1:]:
        average = decay * average + (1 - decay) * state.stored
    stored, _ = loop.result(states[-1])
    torch.testing.assert_close(stored, average.float(), rtol=1e-6, atol=1e-7)
    assert not torch.allclose(stored, states[-1].stored.float(), rtol=1e-4, atol=1e-5)
    # The images that are learnt do not know of it, and without it they are the result.
    plain = run(recipe.with_(optimizer__average=0.0), context_of())
    assert torch.equal(plain[1][-1].stored, states[-1].stored)
    assert torch.equal(plain[0].result(plain[1][-1])[0], states[-1].stored.float())


def test_its_experts_are_others(context_of: Callable[..., Context]) -> None:
    flat = tiny(ftd("digits"), 1)
    rough = flat.with_(pool__course__rho=0.0)
    deeper = flat.with_(pool__course__surrogate=0.0)
    (_, one), (_, two), (_, three) = (run(recipe, context_of()) for recipe in (flat, rough, deeper))
    ends = [states[0].parts["pool"]["snapshots"][0]["3"] for states in (one, two, three)]
    for first in range(3):
        for second in range(first):
            assert any(not torch.equal(ends[first][name], ends[second][name]) for name in ends[0])


def test_a_short_run_lowers_the_loss(context_of: Callable[..., Context], portion: Callable[..., ImageSet]) -> None:
    context = context_of(portion(3, 40), ipc=2, dtype=torch.float32)
    recipe = tiny(ftd("digits"), 30, objective__student_lr=0.01, optimizer__lr=20.0, objective__student_steps=8)
    loop, states = run(recipe.with_(optimizer__average=0.9), context)
    stored, _ = loop.result(states[-1])
    before, last, average = (
        matching_loss(loop, states[0], images) for images in (states[0].stored, states[-1].stored, stored)
    )
    assert max(last, average) < 0.5 * before < 0.5


def test_by_command_line() -> None:
    arguments = ["--pool.course.rho", "0.05", "--pool.course.surrogate", "0.4", "--optimizer.average", "0"]
    changed = apply(ftd("cifar100"), [], [*arguments, "--pool.course.no-adaptive"], "limbeck")
    changed.check()
    assert changed == ftd("cifar100").with_(
        pool__course__rho=0.05, pool__course__surrogate=0.4, optimizer__average=0.0, pool__course__adaptive=False
    )


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_make_sense(preset: str) -> None:
    for ipc in (1, 10, 50):
        ftd(preset, ipc).check()


@pytest.mark.parametrize("preset", ["cifar10-code", "imagenet10", "cifar1000"])
def test_an_unknown_preset_is_refused(preset: str) -> None:
    with pytest.raises(InputError, match=rf"unknown preset of ftd '{preset}'"):
        ftd(preset)
