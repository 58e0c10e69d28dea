"""Whitened data: every method runs on them as on others, or says in one sentence before it begins why not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import limbeck as lb
from limbeck.core.errors import InputError
from limbeck.data import Data
from limbeck.data.images import ImageSet
from limbeck.pools.experts import Experts
from tests.battery.test_methods import METHODS, distil, small_recipe

OURS = [
    (name, preset)
    for name, method in METHODS.items()
    for preset in dict.fromkeys((method.presets[0], "digits" if "digits" in method.presets else method.presets[-1]))
]
CLAMPED = {"sre2l", "dwa"}
"""Methods that learn in normalized space and clamp."""


@pytest.fixture
def few(portion: Callable[..., ImageSet], whitened: Data) -> ImageSet:
    data = portion()
    data.spec = replace(data.spec, normalization=whitened.spec.normalization)
    return data


@pytest.mark.parametrize(("name", "preset"), OURS)
def test_methods_run_or_say_why_not(name: str, preset: str, few: ImageSet, tmp_path: Path) -> None:
    recipe = small_recipe(name, preset)
    if isinstance(recipe.pool, Experts):
        recipe = recipe.with_(pool__starts=1, pool__span=1, pool__course__epochs=1, objective__student_steps=2)
    try:
        made = distil(recipe, few, out=tmp_path / "run")
    except InputError as error:
        assert "whitened" in str(error) and "\n" not in str(error)
        assert not (tmp_path / "run").exists()
        assert name in CLAMPED or getattr(recipe.pool, "normalization", "any") == "channels"
        return
    assert name not in CLAMPED
    assert torch.isfinite(made.stored).all()
    again = lb.load(tmp_path / "run")
    assert torch.equal(again.stored, made.stored) and again.spec == made.spec
    for ours, theirs in zip(again.decoded(), made.decoded(), strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("name", sorted(CLAMPED))
def test_those_that_clamp_run_without(name: str, few: ImageSet) -> None:
    recipe = small_recipe(name, "digits").with_(
        optimizer__clamp=False, pool__teacher__training__augmentation=None, pool__teacher__epochs=2
    )
    assert torch.isfinite(distil(recipe, few).stored).all()


def test_in_float64_whitening_is_as_exact(few: ImageSet) -> None:
    recipe = small_recipe("dm", "cifar10")
    single, double = (distil(recipe, few, dtype=dtype).stored for dtype in ("float32", "float64"))
    assert not torch.equal(single, double)
    torch.testing.assert_close(single, double, rtol=1e-3, atol=1e-3)


def test_a_run_that_is_resumed_finds_its_result(few: ImageSet, tmp_path: Path) -> None:
    recipe = small_recipe("dm", "cifar10")
    made = distil(recipe, few, out=tmp_path / "run")
    again = distil(recipe, few, out=tmp_path / "run")
    assert torch.equal(again.stored, made.stored) and again.spec == made.spec
    plain = ImageSet(few.pixels, few.labels, replace(few.spec, normalization=lb.data.load("digits").spec.normalization))
    with pytest.raises(InputError, match=r"its data\.whitened is True, now False is asked for"):
        distil(recipe, plain, out=tmp_path / "run")
