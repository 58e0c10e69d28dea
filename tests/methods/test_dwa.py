from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from limbeck.augmentations.jitter import Jitter
from limbeck.core.context import Context
from limbeck.core.errors import InputError
from limbeck.curricula.one_by_one import OneByOne
from limbeck.engine.loop import Loop
from limbeck.initializers.real import Real
from limbeck.methods.dwa import PRESETS, dwa
from limbeck.methods.sre2l import sre2l, teacher_of
from limbeck.objectives.batch_statistics import BatchStatistics
from limbeck.optimizers.adam import Adam
from limbeck.parametrizations.plain import Plain
from limbeck.pools.adjusted_teacher import AdjustedTeacher
from limbeck.teachers import published_teacher

# lr, lambda of variances, steps, augmentation, epochs of the teacher if it is trained.
TABLE = {
    "cifar10": (0.25, 0.11, 1000, Jitter(shift=4), 200),
    "cifar100": (0.25, 0.11, 1000, Jitter(shift=4), 200),
    "tiny-imagenet": (0.1, 0.11, 2000, Jitter(shift=4, crop=True, flip=True), 100),
    "imagenet": (0.25, 0.02, 2000, Jitter(shift=32, crop=True, flip=True), None),
    "imagewoof": (0.25, 0.02, 2000, Jitter(shift=32, crop=True, flip=True), None),
}


@pytest.mark.parametrize("preset", TABLE)
def test_the_published_settings(preset: str) -> None:
    recipe: Any = dwa(preset)
    lr, variance, steps, augmentation, epochs = TABLE[preset]
    assert recipe.objective == BatchStatistics(mean=0.01, variance=variance, first=10.0, statistics="adjusted")
    assert recipe.optimizer == Adam(lr=lr, betas=(0.5, 0.9), schedule="cosine", clamp=True)
    assert recipe.curriculum == OneByOne(steps=steps, classes=100)
    assert recipe.augmentation == augmentation
    assert recipe.initializer == Real()
    assert recipe.parametrization == Plain(space="normalized")
    teacher = recipe.pool.teacher
    assert recipe.pool == AdjustedTeacher(
        teacher=teacher, steps=12, magnitude=0.015, direction="normalized", restore="group", accumulate=False
    )
    assert teacher.training == published_teacher(preset).training
    assert teacher.weights == ("torchvision:IMAGENET1K_V1" if epochs is None else "trained")
    if epochs is not None:
        assert teacher.epochs == epochs
    assert recipe.references == ("du2024dwa", "yin2023sre2l")


@pytest.mark.parametrize("preset", ["small", "digits"])
def test_ours_differs_from_sre2l_in_what_dwa_adds(preset: str) -> None:
    ours, base = dwa(preset), sre2l(preset)
    for slot in ("parametrization", "augmentation", "curriculum", "labeler", "optimizer"):
        assert getattr(ours, slot) == getattr(base, slot)
    assert ours.pool == AdjustedTeacher(teacher=teacher_of(preset))
    assert ours.objective == BatchStatistics(mean=0.01, variance=0.11)


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_make_sense(preset: str) -> None:
    dwa(preset).check()


def test_without_its_additions_it_is_sre2l(context_of: Callable[..., Context]) -> None:
    """The ablation: no adjustment, coupled weights, noise."""
    ends = []
    small: dict[str, Any] = {
        "pool__teacher__network": "convnet1:width=4,norm=batch",
        "pool__teacher__epochs": 1,
        "curriculum__steps": 3,
    }
    base = sre2l("digits").with_(**small)
    ablated = dwa("digits").with_(**small, pool__steps=0, objective__variance=0.01, initializer=base.initializer)
    for recipe in (base, ablated, dwa("digits").with_(**small)):
        loop = Loop(recipe, context_of(ipc=1))
        state = loop.start()
        for _ in range(3):
            state, _ = loop.step(state)
        ends.append(state.stored)
    torch.testing.assert_close(ends[1], ends[0], rtol=1e-12, atol=1e-12)
    assert (ends[2] - ends[0]).abs().max() > 0.1


def test_an_unknown_preset_is_refused() -> None:
    with pytest.raises(InputError, match=r"unknown preset of dwa 'cifar1000'; did you mean 'cifar100'\?"):
        dwa("cifar1000")
