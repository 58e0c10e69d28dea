from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from limbeck.core.recipe import Recipe
from limbeck.initializers.real import Real
from limbeck.methods.dc import dc
from limbeck.methods.dream import dream
from limbeck.methods.dsa import PRESETS, dsa


def fields(recipe: Recipe) -> Any:
    return SimpleNamespace(**{slot: part for slot, part in recipe.parts()})


@pytest.mark.parametrize("preset", PRESETS)
def test_what_it_adds_to_dc(preset: str) -> None:
    recipe, plain = fields(dsa(preset)), fields(dc(preset))
    assert recipe.initializer == Real()
    mirrored = preset not in ("mnist", "svhn", "digits")
    tokens = ("color", "crop", "cutout", "flip", "scale", "rotate")
    assert recipe.augmentation.tokens == tuple(token for token in tokens if mirrored or token != "flip")
    assert recipe.augmentation.mode == "single"
    assert recipe.pool.training.augmentation == recipe.augmentation
    for slot in ("objective", "sampler", "parametrization", "curriculum", "optimizer", "labeler"):
        assert getattr(recipe, slot) == getattr(plain, slot)


def test_schedule_and_dream() -> None:
    assert fields(dsa("cifar10", 50)).pool.epochs == 10
    recipe = dream(base=dsa())
    recipe.check()
    assert recipe.base == "dsa" and fields(recipe).augmentation == fields(dsa()).augmentation
