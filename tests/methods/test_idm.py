from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from limbeck.augmentations.dsa_augment import DSAAugment
from limbeck.core.context import Context
from limbeck.core.errors import InputError
from limbeck.curricula.all_at_once import AllAtOnce
from limbeck.engine.loop import Loop
from limbeck.initializers.real import Mixed
from limbeck.methods.idm import PRESETS, idm
from limbeck.objectives.class_aware_mean import ClassAwareMean
from limbeck.optimizers.sgd import SGD
from limbeck.parametrizations.partition import Partition
from limbeck.samplers.random import Random
from limbeck.training.supervised import Training

OURS = ("small", "digits")


def fields(*arguments: Any) -> Any:
    """The recipe, for reading the fields of its parts."""
    return idm(*arguments)


@pytest.mark.parametrize(
    ("preset", "ipc", "weight", "batch", "interval", "steps", "most"),
    [
        ("cifar10", 1, 0.5, 5000, 5, 10, 100),
        ("cifar10", 10, 0.5, 256, 30, 10, 100),
        ("cifar10", 50, 0.1, 256, 30, 10, 100),
        ("cifar100", 1, 0.5, 5000, 5, 10, 100),
        ("cifar100", 10, 0.1, 256, 30, 50, 100),
        ("cifar100", 50, 0.1, 256, 30, 10, 100),
        ("tiny-imagenet", 1, 0.5, 256, 30, 10, 100),
        ("tiny-imagenet", 10, 0.5, 256, 30, 10, 100),
        ("tiny-imagenet", 50, 0.8, 256, 30, 50, 100),
        ("imagenet100", 1, 3.0, 128, 50, 10, 50),
        ("imagenet100", 10, 3.0, 128, 50, 10, 50),
        ("imagenet100", 50, 3.0, 128, 50, 10, 100),
    ],
)
def test_the_published_settings(
    preset: str, ipc: int, weight: float, batch: int, interval: int, steps: int, most: int
) -> None:
    recipe = fields(preset, ipc)
    assert recipe.objective == ClassAwareMean(synthetic_batch=0, weight=weight, by_accuracy=True)
    assert recipe.sampler == Random(batch_size=batch)
    assert recipe.initializer == Mixed(choice="independent")
    assert recipe.parametrization == Partition(space="normalized", factor=2, order="columns", resample="bilinear")
    assert recipe.augmentation == DSAAugment(tokens=("color", "crop", "cutout", "flip", "scale", "rotate"))
    pool = recipe.pool
    assert (pool.begin, pool.interval, pool.most, pool.trained, pool.steps) == (3, interval, most, 2, steps)
    assert pool.training == Training(lr=0.01, momentum=0.9, weight_decay=5e-4, batch_size=256)
    # Depth 3 even at the 64 pixels of Tiny-ImageNet.
    assert pool.network == ("convnet6" if preset == "imagenet100" else "convnet3")
    assert recipe.curriculum == AllAtOnce(iterations=20_000, steps=1)
    assert recipe.optimizer == SGD(lr=0.2, momentum=0.5, turns="class", scale_with_ipc=False, clamp=False)
    assert recipe.references == ("zhao2023idm",)


@pytest.mark.parametrize(("ipc", "nearest"), [(2, 1), (5, 1), (6, 10), (20, 10), (31, 50), (500, 50)])
def test_between_published_counts_the_nearest_is_taken(ipc: int, nearest: int) -> None:
    assert idm("cifar10", ipc) == idm("cifar10", nearest)
    assert idm("tiny-imagenet", ipc) == idm("tiny-imagenet", nearest)


@pytest.mark.parametrize("preset", OURS)
def test_our_presets_can_be_stored_in_8_bits(preset: str) -> None:
    recipe = fields(preset)
    assert recipe.parametrization.space == "unit" and recipe.optimizer.clamp
    assert recipe == idm(preset, 1) == idm(preset, 50)


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_make_sense(preset: str) -> None:
    idm(preset).check()


def test_the_class_aware_loss_sets_in_once_networks_have_been_trained(context_of: Callable[..., Context]) -> None:
    """A network that has not been trained has accuracy 0, and with it the loss is DM's."""
    recipe = idm("digits").with_(
        pool__network="convnet2:width=4",
        pool__begin=1,
        pool__trained=2,
        pool__interval=100,
        pool__steps=2,
        sampler__batch_size=6,
        objective__weight=0.5,
    )
    context, ends = context_of(), []
    for one in (recipe, recipe.with_(objective__weight=0.0)):
        loop = Loop(one, context)
        state, stored = loop.start(), []
        for _ in range(2):
            state, _ = loop.step(state)
            stored.append(state.stored)
        ends.append(stored)
    torch.testing.assert_close(ends[0][0], ends[1][0], rtol=1e-12, atol=1e-14)
    assert float((ends[0][1] - ends[1][1]).abs().max()) > 1e-9


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("cifar-10",), r"unknown preset of idm 'cifar-10'; did you mean 'cifar10'\?"),
        (("cifar10", 0), "idm needs at least 1 image per class, not 0"),
    ],
)
def test_what_makes_no_sense_is_refused(arguments: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        idm(*arguments)
