from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from limbeck.augmentations.crop_flip import CropFlip
from limbeck.augmentations.jitter import Jitter
from limbeck.augmentations.resized_crop_flip import ResizedCropFlip
from limbeck.core.context import Context
from limbeck.core.errors import InputError
from limbeck.curricula.one_by_one import OneByOne
from limbeck.engine.loop import Loop
from limbeck.initializers.noise import Noise
from limbeck.methods.sre2l import PRESETS, sre2l, teacher_of
from limbeck.objectives.batch_statistics import BatchStatistics
from limbeck.optimizers.adam import Adam
from limbeck.parametrizations.plain import Plain
from limbeck.pools.fixed_teacher import FixedTeacher
from limbeck.teachers import published_teacher
from limbeck.training.schedules import Schedule

# lr, weight of batch norm's terms, steps, augmentation.
TABLE = {
    "cifar10": (0.25, 0.01, 1000, Jitter(shift=4)),
    "cifar100": (0.25, 0.01, 1000, Jitter(shift=4)),
    "tiny-imagenet": (0.1, 1.0, 4000, Jitter(shift=4, both_ways=True, crop=True, flip=True)),
    "imagenet": (0.25, 0.01, 4000, Jitter(shift=32, crop=True, flip=True)),
    "imagenette": (0.25, 0.01, 4000, Jitter(shift=32, crop=True, flip=True)),
}


@pytest.mark.parametrize("preset", TABLE)
def test_the_published_settings(preset: str) -> None:
    recipe: Any = sre2l(preset)
    lr, weight, steps, augmentation = TABLE[preset]
    assert recipe.optimizer == Adam(lr=lr, betas=(0.5, 0.9), eps=1e-8, schedule="cosine", clamp=True)
    assert recipe.objective == BatchStatistics(
        mean=weight, variance=weight, first=10.0, squared=False, total_variation=0.0, l2=0.0
    )
    assert recipe.curriculum == OneByOne(steps=steps, classes=100)
    assert recipe.augmentation == augmentation
    assert recipe.initializer == Noise(space="normalized")
    assert recipe.parametrization == Plain(space="normalized")
    assert recipe.pool == FixedTeacher(teacher=published_teacher(preset))
    assert recipe.sampler is None
    assert recipe.references == ("yin2023sre2l",)


def test_teachers_as_published() -> None:
    cifar = teacher_of("cifar100")
    assert (cifar.epochs, cifar.training.lr, cifar.training.momentum) == (200, 0.1, 0.9)
    assert (cifar.training.weight_decay, cifar.training.batch_size) == (5e-4, 128)
    assert cifar.training.augmentation == CropFlip(padding=4) and cifar.schedule == Schedule(kind="cosine")
    assert teacher_of("cifar10") == cifar
    tiny = teacher_of("tiny-imagenet")
    assert (tiny.epochs, tiny.training.lr, tiny.training.weight_decay, tiny.training.batch_size) == (50, 0.2, 1e-4, 256)
    assert tiny.schedule == Schedule(kind="cosine", warmup=5, warmup_factor=0.01)
    assert isinstance(tiny.training.augmentation, ResizedCropFlip)
    assert teacher_of("imagenet").weights == "torchvision:IMAGENET1K_V1"
    assert {teacher_of(preset).network for preset in TABLE} == {"torchvision:resnet18"}


def test_ours_is_small_and_digits_are_not_mirrored() -> None:
    for preset in ("small", "digits"):
        recipe: Any = sre2l(preset)
        assert "norm=batch" in recipe.pool.teacher.network and recipe.pool.teacher.epochs <= 30
        assert recipe.curriculum.steps <= 200
    digits: Any = sre2l("digits")
    assert digits.pool.teacher.training.augmentation == CropFlip(padding=1, flip=False)
    assert not digits.augmentation.flip and digits.augmentation.shift == 1


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_make_sense(preset: str) -> None:
    recipe = sre2l(preset)
    recipe.check()
    assert recipe.optimizer is not None and recipe.optimizer.bounds()


def test_it_starts_from_noise_and_teaches_the_network(context_of: Callable[..., Context]) -> None:
    recipe = sre2l("digits").with_(
        pool__teacher__network="convnet2:width=8,norm=batch", pool__teacher__epochs=5, curriculum__steps=20
    )
    context = context_of(ipc=1)
    recipe.check(context)
    loop = Loop(recipe, context)
    state, losses = loop.start(), []
    assert context.spec.normalization.invert(state.stored).min() < 0  # N(0, 1) leaves what images can be
    for _ in range(20):
        state, found = loop.step(state)
        losses.append(float(found.sum()))
    assert losses[-1] < 0.9 * losses[0]
    images = context.spec.normalization.invert(state.stored)
    assert images.min() >= -1e-12 and images.max() <= 1 + 1e-12


def test_an_unknown_preset_is_refused() -> None:
    with pytest.raises(InputError, match=r"unknown preset of sre2l 'cifar-10'; did you mean 'cifar10'\?"):
        sre2l("cifar-10")
