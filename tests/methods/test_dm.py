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
from limbeck.initializers.real import Real
from limbeck.methods.dm import PRESETS, dm, siamese
from limbeck.methods.dream import dream
from limbeck.objectives.mean_embedding import MeanEmbedding
from limbeck.optimizers.sgd import SGD
from limbeck.parametrizations.plain import Plain
from limbeck.pools.fresh import Fresh
from limbeck.samplers.random import Random
from limbeck.samplers.representative import Representative

OURS = ("small", "digits", "fsdd")
WHOLE = ("color", "crop", "cutout", "flip", "scale", "rotate")


def fields(*arguments: Any, **options: Any) -> Any:
    """The recipe, for reading the fields of its parts."""
    return dm(*arguments, **options)


@pytest.mark.parametrize("preset", [name for name in PRESETS if name not in OURS])
@pytest.mark.parametrize("ipc", [1, 10, 50, 100, 1250])
def test_the_published_settings(preset: str, ipc: int) -> None:
    recipe = fields(preset, ipc)
    assert recipe.objective == MeanEmbedding(synthetic_batch=0)
    assert recipe.sampler == Random(batch_size=256)
    assert recipe.initializer == Real()
    assert recipe.parametrization == Plain(space="normalized")
    assert recipe.curriculum == AllAtOnce(iterations=20_000, steps=1)
    # 10 from 100 images per class on, on CIFAR-10 alone.
    lr = 10.0 if preset == "cifar10" and ipc >= 100 else 1.0
    assert recipe.optimizer == SGD(lr=lr, momentum=0.5, turns="joint", scale_with_ipc=False, clamp=False)
    deep = preset in ("tiny-imagenet", "mini-speech-commands")
    assert recipe.pool == Fresh(network="convnet4" if deep else "convnet3", every=1)
    assert recipe.references == ("zhao2023dm",)


@pytest.mark.parametrize(
    ("preset", "tokens"),
    [
        ("cifar10", WHOLE),
        ("cifar100", WHOLE),
        ("fashion-mnist", WHOLE),
        ("tiny-imagenet", WHOLE),
        ("mnist", tuple(token for token in WHOLE if token != "flip")),
        ("svhn", tuple(token for token in WHOLE if token != "flip")),
    ],
)
def test_digits_are_never_mirrored(preset: str, tokens: Any) -> None:
    assert fields(preset).augmentation == siamese(preset) == DSAAugment(tokens=tokens)
    assert fields(preset).augmentation.mode == "single"


@pytest.mark.parametrize("preset", ["mini-speech-commands", "fsdd"])
def test_sound_is_left_as_it_is(preset: str) -> None:
    assert fields(preset).augmentation is None


@pytest.mark.parametrize("preset", OURS)
def test_our_presets_can_be_stored_in_8_bits(preset: str) -> None:
    recipe = fields(preset)
    assert recipe.parametrization.space == "unit" and recipe.optimizer.clamp
    assert "width" in recipe.pool.network and recipe.curriculum.iterations < 2000


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_make_sense(preset: str) -> None:
    dm(preset).check()


def test_dream_goes_on_it(context_of: Callable[..., Context]) -> None:
    dream(base=dm()).check()
    recipe: Any = dream("digits", base=dm("digits")).with_(
        pool__network="convnet2:width=4", sampler__batch_size=4, sampler__interval=2, curriculum__iterations=3
    )
    assert (recipe.name, recipe.base) == ("dream", "dm")
    assert isinstance(recipe.sampler, Representative) and recipe.objective == MeanEmbedding()
    context = context_of()
    recipe.check(context)
    loop, seen = Loop(recipe, context), []
    state = loop.start()
    for _ in range(3):
        before = state.stored
        state, _ = loop.step(state)
        assert torch.isfinite(state.stored).all() and not torch.equal(state.stored, before)
        seen.append(state.parts["sampler"]["rows"])
    # Clustered in the first network and in the third.
    assert torch.equal(seen[0], seen[1]) and not torch.equal(seen[1], seen[2])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("cifar-10",), r"unknown preset of dm 'cifar-10'; did you mean 'cifar10'\?"),
        (("cifar10", 0), "dm needs at least 1 image per class, not 0"),
    ],
)
def test_what_makes_no_sense_is_refused(arguments: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        dm(*arguments)
