from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from limbeck import networks
from limbeck.augmentations.idc_augment import IDCAugment
from limbeck.core.errors import InputError
from limbeck.core.recipe import Recipe
from limbeck.data import load
from limbeck.engine.distill import distill
from limbeck.engine.settings import Settings
from limbeck.initializers.real import Mixed
from limbeck.labelers.hard import Hard
from limbeck.methods.idc import PRESETS, idc
from limbeck.parametrizations.partition import Partition
from limbeck.parametrizations.plain import Plain
from tests.data.makers import write_tones

PUBLISHED = {
    # network, metric, iterations, n_data, early epochs, factor, CutMix, height
    "cifar10": ("convnet3", "mse", 2000, 2000, 0, 2, 0.5, 32),
    "cifar100": ("convnet3", "mse", 2000, 2000, 0, 2, 0.5, 32),
    "svhn": ("convnet3", "mse", 2000, 500, 0, 2, 0.5, 32),
    "mnist": ("convnet3", "l1", 2000, 500, 0, 2, 0.0, 28),
    "fashion-mnist": ("convnet3", "l1", 2000, 500, 0, 2, 0.5, 28),
    "tiny-imagenet": ("convnet4", "mse", 2000, 1000, 0, 2, 0.5, 64),
    "imagenet10": ("resnet_ap10", "l1", 500, 500, 10, 3, 1.0, 224),
    "imagenet100": ("resnet_ap10", "l1", 500, 500, 0, 3, 1.0, 224),
    "mini-speech-commands": ("convnet4", "l1", 1000, 500, 0, 2, 0.0, 64),
}
"""Section 4.4 of the specification, from the authors' code; factors are the paper's."""

STEP_SIZES = [
    # lr_base * (N / 10) * (H / base) ** 2
    ("cifar10", 1, 5e-4),
    ("cifar10", 10, 5e-3),
    ("cifar10", 50, 2.5e-2),
    ("svhn", 10, 5e-3),
    ("mnist", 10, 1e-4),
    ("mnist", 50, 5e-4),
    ("fashion-mnist", 10, 7.65625e-5),
    ("tiny-imagenet", 10, 2e-2),
    ("imagenet10", 10, 3e-3),
    ("imagenet10", 20, 6e-3),
    ("imagenet100", 10, 1e-3),
    ("mini-speech-commands", 10, 3e-3),
]

OTHER_TRAINING = {"mini-speech-commands": (3e-4, 0.9, 5e-4, 64), "imagenet100": (0.1, 0.9, 1e-4, 128)}
"""Step size, momentum, weight decay and batch of the networks where they are not 0.01, 0.9, 5e-4 and 64."""


def fields(recipe: Recipe) -> Any:
    """The recipe, for reading the fields of its parts."""
    return recipe


@pytest.mark.parametrize("preset", PUBLISHED)
def test_settings_are_the_published_ones(preset: str) -> None:
    network, metric, iterations, samples, early, factor, mix, _ = PUBLISHED[preset]
    recipe = fields(idc(preset))
    pool = recipe.pool
    assert (pool.network, recipe.objective.metric) == (network, metric)
    assert (recipe.curriculum.iterations, recipe.curriculum.steps) == (iterations, 100)
    assert (pool.samples, pool.early_epochs, pool.training.cutmix) == (samples, early, mix)
    assert recipe.parametrization.factor == factor
    training = pool.training
    found = (training.lr, training.momentum, training.weight_decay, training.batch_size)
    assert found == OTHER_TRAINING.get(preset, (0.01, 0.9, 5e-4, 64))
    assert recipe.sampler.batch_size == 64 and pool.start == ""
    assert (recipe.optimizer.momentum, recipe.optimizer.turns, recipe.optimizer.clamp) == (
        0.5,
        "class",
        "below" if preset == "mini-speech-commands" else True,
    )
    assert (recipe.objective.bias, recipe.objective.classifier, recipe.objective.synthetic_batch) == (False, False, 128)
    assert recipe.initializer == Mixed() and recipe.labeler == Hard()


@pytest.mark.parametrize(("preset", "ipc", "expected"), STEP_SIZES)
def test_step_sizes_scale_with_ipc_and_height(preset: str, ipc: int, expected: float) -> None:
    run: Any = SimpleNamespace(ipc=ipc, shown=ipc, spec=SimpleNamespace(height=PUBLISHED[preset][-1]))
    assert fields(idc(preset)).optimizer.step_size(run) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("preset", [name for name in PUBLISHED if name not in ("mnist", "mini-speech-commands")])
def test_augmentations(preset: str) -> None:
    recipe = fields(idc(preset))
    assert recipe.augmentation == IDCAugment(operations=("color", "crop", "cutout"))
    assert recipe.pool.training.augmentation == IDCAugment(operations=("color", "crop"))


def test_mnist_drops_cutout_and_cutmix_once_images_are_packed() -> None:
    packed, plain = fields(idc("mnist")), fields(idc("mnist", factor=1))
    assert packed.augmentation == IDCAugment(operations=("color", "crop"))
    assert plain.augmentation == IDCAugment(operations=("color", "crop", "cutout"))
    assert (packed.pool.training.cutmix, plain.pool.training.cutmix) == (0.0, 0.5)


def test_speech_is_cut_in_time_and_not_augmented() -> None:
    recipe = fields(idc("mini-speech-commands"))
    assert recipe.parametrization == Partition(factor=2, axes="columns", pad=0.0)
    assert recipe.augmentation is None and recipe.pool.training.augmentation is None
    assert recipe.optimizer.clamp == "below" and recipe.pool.training.lr == 3e-4


def test_speech_runs_from_a_folder_of_recordings(tmp_path: Path) -> None:
    write_tones(tmp_path / "mini_speech_commands", {"go": 16, "stop": 16})
    data = load(tmp_path / "mini_speech_commands", cache=False)
    assert data.require_test().class_counts() == [2, 2]
    module = networks.build("convnet4", replace(data.spec, class_names=tuple("abcdefgh"))).module()
    assert sum(weights.numel() for weights in module.parameters()) == 461_448
    recipe = idc("mini-speech-commands").with_(
        pool__network="convnet4:width=4", pool__samples=8, curriculum__iterations=2, curriculum__steps=1
    )
    made = distill(recipe, data, ipc=1, settings=Settings(device="cpu", progress="quiet"))
    assert made.stored.shape == (2, 1, 1, 64, 64) and made.stored.isfinite().all()
    images, labels = made.decoded()
    assert images.shape == (4, 1, 64, 64) and labels.tolist() == [0, 0, 1, 1]
    # The pitch of a class, an eighth of 4,000 Hz and twice that, is still where it was.
    assert images[:, 0, 1:, 20:44].mean(dim=2).argmax(dim=1).add(1).tolist() == [4, 4, 8, 8]


def test_factor_one_is_idc_i() -> None:
    assert idc(factor=1).parametrization == Plain()
    assert idc(factor=3).parametrization == Partition(factor=3)
    assert idc() == idc("cifar10", factor=2)


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_make_sense(preset: str) -> None:
    recipe = idc(preset)
    recipe.check()
    assert (recipe.name, recipe.base) == ("idc", "")
    assert recipe.cite()[0] == "kim2022idc"


def test_an_unknown_preset_is_refused() -> None:
    with pytest.raises(InputError, match=r"unknown preset of idc 'cifar-10'; did you mean 'cifar10'\?"):
        idc("cifar-10")


def test_many_packed_imagenet_pictures_keep_to_a_bound() -> None:
    assert idc("imagenet10", ipc=20).parametrization == Partition(factor=3, kind="bound", bound=128)
    assert idc("imagenet10", ipc=20).parametrization.parts(20) <= 128
    assert idc("imagenet100", ipc=20).parametrization == idc("imagenet10", ipc=20).parametrization
    assert idc("imagenet10", ipc=10).parametrization == Partition(factor=3)
    assert idc("imagenet10", factor=2, ipc=20).parametrization == Partition(factor=2)
    assert idc("cifar10", ipc=50) == idc("cifar10")
