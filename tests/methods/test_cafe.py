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
from limbeck.initializers.noise import Noise
from limbeck.initializers.real import Real
from limbeck.methods.cafe import PRESETS, cafe
from limbeck.objectives.layer_alignment import LayerAlignment
from limbeck.optimizers.sgd import SGD
from limbeck.parametrizations.plain import Plain
from limbeck.pools.to_plateau import ToPlateau
from limbeck.samplers.random import Random
from limbeck.training.supervised import Training

OURS = ("small", "digits")


def fields(*arguments: Any) -> Any:
    """The recipe, for reading the fields of its parts."""
    return cafe(*arguments)


@pytest.mark.parametrize("preset", [name for name in PRESETS if name not in OURS])
def test_the_published_settings(preset: str, context_of: Callable[..., Context]) -> None:
    recipe = fields(preset)
    assert recipe.objective == LayerAlignment(
        synthetic_batch=0, early=0.1, early_layers=2, late=1.0, discrimination=0.01
    )
    assert recipe.sampler == Random(batch_size=256)
    assert recipe.initializer == Noise(space="normalized")
    assert recipe.parametrization == Plain(space="normalized")
    assert recipe.augmentation is None
    training = Training(lr=0.01, momentum=0.0, weight_decay=0.0, batch_size=256)
    assert recipe.pool == ToPlateau(
        network="convnet3", training=training, window=10, inner=0.03, outer=0.04, images=128
    )
    assert recipe.curriculum == AllAtOnce(iterations=2000, steps=50)
    optimizer = recipe.optimizer
    assert optimizer == SGD(
        lr=0.1, momentum=0.5, turns="joint", scale_with_ipc=False, clamp=False, drops=(1200, 1600, 1800)
    )
    context = context_of()
    sizes = [optimizer.step_size(context, iteration) for iteration in (0, 1199, 1200, 1600, 1800, 1999)]
    assert sizes == pytest.approx([0.1, 0.1, 0.05, 0.025, 0.0125, 0.0125])
    assert recipe.references == ("wang2022cafe",)


@pytest.mark.parametrize("preset", OURS)
def test_our_presets_can_be_stored_in_8_bits(preset: str) -> None:
    recipe = fields(preset)
    assert recipe.parametrization.space == "unit" and recipe.optimizer.clamp and not recipe.optimizer.drops
    assert recipe.initializer == Real()


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_make_sense(preset: str) -> None:
    cafe(preset).check()


def test_cafe_with_dsa(context_of: Callable[..., Context]) -> None:
    """CAFE+DSA is the recipe with one part more."""
    recipe = cafe("digits").with_(
        augmentation=DSAAugment(tokens=("color", "crop", "scale", "rotate")),
        pool__network="convnet2:width=4",
        pool__images=4,
        pool__most_epochs=1,
        sampler__batch_size=6,
    )
    context = context_of()
    recipe.check(context)
    ends = []
    for one in (recipe, recipe.with_(augmentation=None)):
        loop = Loop(one, context)
        state = loop.start()
        for _ in range(2):
            state, losses = loop.step(state)
            assert torch.isfinite(losses).all()
        ends.append(state.stored)
    assert not torch.equal(*ends)


def test_batch_norm_is_refused_at_the_first_step(context_of: Callable[..., Context]) -> None:
    loop = Loop(cafe("digits").with_(pool__network="convnet2:norm=batch,width=4"), context_of())
    with pytest.raises(InputError, match="choose a network with another norm"):
        loop.step(loop.start())


def test_an_unknown_preset_is_refused() -> None:
    with pytest.raises(InputError, match=r"unknown preset of cafe 'cifar-10'; did you mean 'cifar10'\?"):
        cafe("cifar-10")
