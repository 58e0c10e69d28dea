from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from limbeck.augmentations.idc_augment import IDCAugment
from limbeck.core.context import Context
from limbeck.core.errors import InputError
from limbeck.curricula.all_at_once import AllAtOnce
from limbeck.initializers.real import Mixed
from limbeck.methods.idc import idc
from limbeck.methods.m3d import PRESETS, m3d
from limbeck.objectives.kernel_mmd import KernelMMD
from limbeck.parametrizations.partition import Partition
from limbeck.parametrizations.plain import Plain
from limbeck.pools.fresh import Fresh
from limbeck.samplers.epochwise import Epochwise

OURS = ("small", "digits", "fsdd")
IMAGES = ("cifar10", "cifar100", "svhn", "mnist", "fashion-mnist")


def fields(*arguments: Any, **options: Any) -> Any:
    """The recipe, for reading the fields of its parts."""
    return m3d(*arguments, **options)


@pytest.mark.parametrize("preset", IMAGES)
def test_the_settings_of_the_code(preset: str, context_of: Callable[..., Context]) -> None:
    recipe = fields(preset)
    assert recipe.objective == KernelMMD(synthetic_batch=200, kernel="gaussian")
    assert recipe.sampler == Epochwise(batch_size=128)
    assert recipe.initializer == Mixed()
    assert recipe.parametrization == Partition(factor=2)
    operations = ("color", "crop") if preset == "mnist" else ("color", "crop", "cutout")
    assert recipe.augmentation == IDCAugment(operations=operations)
    assert recipe.pool == Fresh(network="convnet3", every=5)
    assert recipe.curriculum == AllAtOnce(iterations=10_000, steps=1)
    optimizer = recipe.optimizer
    assert (optimizer.momentum, optimizer.turns, optimizer.clamp, optimizer.reference_size) == (0.5, "class", True, 0)
    # 1, 10, 20 for 1, 10, 20 images per class.
    assert [optimizer.step_size(context_of(ipc=ipc)) for ipc in (1, 10, 20)] == pytest.approx([1, 10, 20])
    assert recipe.references == ("zhang2024m3d", "kim2022idc")


def test_sound_is_packed_along_time() -> None:
    recipe = fields("mini-speech-commands")
    assert recipe.parametrization == idc("mini-speech-commands").parametrization
    assert recipe.parametrization.axes == "columns" and recipe.optimizer.clamp == "below"
    assert recipe.augmentation is None and recipe.pool == Fresh(network="convnet4", every=5)


@pytest.mark.parametrize("preset", ["cifar10", "mnist"])
def test_factors(preset: str) -> None:
    assert fields(preset, factor=1).parametrization == Plain()
    assert fields(preset, factor=3).parametrization == Partition(factor=3)
    # Unpacked, MNIST keeps its cutout.
    assert "cutout" in fields(preset, factor=1).augmentation.operations


def test_digits_of_8_pixels_are_not_packed() -> None:
    assert fields("digits").parametrization == Plain()


@pytest.mark.parametrize("preset", OURS)
def test_our_presets_are_shorter(preset: str) -> None:
    recipe = fields(preset)
    assert recipe.curriculum.iterations < 2000 and "width" in recipe.pool.network


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_make_sense(preset: str) -> None:
    m3d(preset).check()


def test_an_unknown_preset_is_refused() -> None:
    with pytest.raises(InputError, match=r"unknown preset of m3d 'cifar-10'; did you mean 'cifar10'\?"):
        m3d("cifar-10")
