from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from limbeck.augmentations.idc_augment import IDCAugment
from limbeck.core.context import Context
from limbeck.core.errors import InputError
from limbeck.core.recipe import Recipe
from limbeck.curricula.all_at_once import AllAtOnce
from limbeck.engine.loop import Loop
from limbeck.initializers.real import Mixed
from limbeck.methods.dream import dream
from limbeck.methods.dsdm import PRESETS, dsdm
from limbeck.methods.idc import idc
from limbeck.objectives.semantic_distribution import SemanticDistribution
from limbeck.parametrizations.partition import Partition
from limbeck.parametrizations.plain import Plain
from limbeck.pools.fresh import Fresh
from limbeck.pools.pretrained import Pretrained
from limbeck.samplers.epochwise import Epochwise
from limbeck.samplers.representative import Representative
from limbeck.training.supervised import Training

OURS = ("small", "digits", "fsdd")
IMAGES = ("cifar10", "cifar100", "svhn", "mnist", "fashion-mnist")


def fields(*arguments: Any, **options: Any) -> Any:
    """The recipe, for reading the fields of its parts."""
    return dsdm(*arguments, **options)


def tiny(recipe: Recipe) -> Recipe:
    """Small enough for a test."""
    recipe = recipe.with_(curriculum__iterations=3)
    if isinstance(recipe.pool, Pretrained):
        recipe = recipe.with_(pool__count=2, pool__epochs=1, pool__training__batch_size=8)
    return recipe.with_(pool__network="convnet2:width=4", sampler__batch_size=6)


def ends(recipe: Recipe, context: Context) -> torch.Tensor:
    """Images after three iterations."""
    recipe.check(context)
    loop = Loop(recipe, context)
    state = loop.start()
    while state.ordinal < loop.length():
        state, losses = loop.step(state)
        assert torch.isfinite(losses).all()
    return state.stored


@pytest.mark.parametrize("preset", IMAGES)
def test_the_settings_of_the_code(preset: str, context_of: Callable[..., Context]) -> None:
    recipe = fields(preset)
    assert recipe.objective == SemanticDistribution(
        synthetic_batch=256,
        covariance=50.0,
        history=0.2,
        momentum=0.99,
        divisor="n-1",
        history_scale="code",
        history_after=2000,
        history_start="mean",
    )
    assert recipe.sampler == Epochwise(batch_size=256)
    assert recipe.initializer == Mixed()
    assert recipe.parametrization == Partition(factor=2)
    operations = ("color", "crop") if preset == "mnist" else ("color", "crop", "cutout")
    assert recipe.augmentation == IDCAugment(operations=operations)
    pool = recipe.pool
    assert (pool.network, pool.count, pool.epochs) == ("convnet3", 10, 20)
    training = Training(
        lr=0.01,
        momentum=0.9,
        weight_decay=5e-4,
        batch_size=256,
        augmentation=IDCAugment(operations=("color", "crop")),
        cutmix=0.5,
    )
    assert pool.training == training
    assert recipe.curriculum == AllAtOnce(iterations=10_000, steps=1)
    optimizer = recipe.optimizer
    assert (optimizer.momentum, optimizer.turns, optimizer.clamp, optimizer.reference_size) == (0.5, "class", True, 0)
    # 0.01, 0.1, 0.5 for 1, 10, 50 images per class.
    assert [optimizer.step_size(context_of(ipc=ipc)) for ipc in (1, 10, 50)] == pytest.approx([0.01, 0.1, 0.5])
    assert recipe.references == ("li2024dsdm", "kim2022idc")


@pytest.mark.parametrize("preset", [*IMAGES, "mini-speech-commands"])
def test_the_formulae_of_the_paper(preset: str) -> None:
    recipe = dsdm(f"{preset}-paper")
    assert recipe == dsdm(preset).with_(
        objective__divisor="n", objective__history_scale="paper", objective__history_after=-1
    )


def test_sound_is_packed_along_time() -> None:
    recipe = fields("mini-speech-commands")
    assert recipe.parametrization == idc("mini-speech-commands").parametrization
    assert recipe.parametrization.axes == "columns" and recipe.optimizer.clamp == "below"
    assert recipe.augmentation is None and recipe.pool.network == "convnet4"
    assert recipe.pool.training.augmentation is None and recipe.pool.training.cutmix == 0


def test_factors() -> None:
    assert fields("cifar10", factor=1).parametrization == Plain()
    assert fields("cifar10", factor=3).parametrization == Partition(factor=3)
    assert fields("digits").parametrization == Plain()
    assert fields("digits", factor=2).parametrization == Partition(factor=2)


@pytest.mark.parametrize("preset", OURS)
def test_our_presets_use_the_history_before_they_end(preset: str) -> None:
    recipe = fields(preset)
    assert recipe.objective.history_after < recipe.curriculum.iterations < 10_000
    assert recipe.pool.count < 10 and f"{preset}-paper" not in PRESETS


def test_the_ablations_of_the_paper(context_of: Callable[..., Context]) -> None:
    """Table 4 by switches: prototypes alone on random or pretrained networks, with covariances, with history."""
    whole = tiny(dsdm("digits", factor=2)).with_(objective__history_after=0, objective__history_scale="paper")
    without_history = whole.with_(objective__history=0.0)
    prototypes = without_history.with_(objective__covariance=0.0)
    random = tiny(prototypes.with_(pool=Fresh()))
    found = [ends(recipe, context_of()) for recipe in (whole, without_history, prototypes, random)]
    for first in range(4):
        for second in range(first):
            assert not torch.equal(found[first], found[second])


def test_dream_goes_on_it(context_of: Callable[..., Context]) -> None:
    dream(base=dsdm()).check()
    recipe: Any = tiny(dream("digits", base=dsdm("digits", factor=2))).with_(sampler__interval=2)
    assert (recipe.name, recipe.base) == ("dream", "dsdm")
    assert isinstance(recipe.sampler, Representative) and isinstance(recipe.objective, SemanticDistribution)
    assert recipe.references == ("liu2023dream", "li2024dsdm", "kim2022idc")
    assert torch.isfinite(ends(recipe, context_of())).all()


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_make_sense(preset: str) -> None:
    dsdm(preset).check()


@pytest.mark.parametrize("preset", ["cifar-10", "digits-paper"])
def test_an_unknown_preset_is_refused(preset: str) -> None:
    with pytest.raises(InputError, match=rf"unknown preset of dsdm '{preset}'"):
        dsdm(preset)
