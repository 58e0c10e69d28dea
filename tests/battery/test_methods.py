"""Every method of the registry, ours or a plug-in's, with every preset, through the checks of `limbeck.testing`.

Presets that shrink to one and the same recipe run once.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import limbeck as lb
from limbeck import registry, testing
from limbeck.core.context import Context
from limbeck.core.recipe import Recipe
from limbeck.data.images import ImageSet
from limbeck.data.splits import Data
from limbeck.engine.loop import Loop
from limbeck.testing import small
from limbeck.training.pretraining import cache_folder

METHODS = registry.methods()
EVERY = [(name, preset) for name, method in METHODS.items() for preset in method.presets]


def small_recipe(name: str, preset: str, **changes: Any) -> Recipe:
    return small(METHODS[name].recipe(preset), **changes)


DISTINCT = list({small_recipe(name, preset): (name, preset) for name, preset in reversed(EVERY)}.values())[::-1]
LEARNT = [(name, preset) for name, preset in DISTINCT if METHODS[name].recipe(preset).objective is not None]

distinct = pytest.mark.parametrize(("name", "preset"), DISTINCT)
learnt = pytest.mark.parametrize(("name", "preset"), LEARNT)


def distil(recipe: Recipe, train: ImageSet, seed: int = 3, out: Path | None = None, **settings: Any) -> lb.Distilled:
    data = Data(train=train, validation=None, test=None, spec=train.spec)
    how = lb.Settings(progress="quiet", device="cpu", **settings)
    return lb.distill(recipe, data, ipc=2, seed=seed, out=out, settings=how)


@pytest.mark.parametrize("name", METHODS)
def test_its_presets_build_and_make_sense_and_the_first_is_the_default(name: str) -> None:
    testing.check_presets(METHODS[name])


@pytest.mark.parametrize("name", METHODS)
def test_it_is_documented_and_cited(name: str) -> None:
    testing.check_cited(METHODS[name])


@pytest.mark.parametrize("name", METHODS)
def test_it_is_typed(name: str) -> None:
    testing.check_typed(inspect.getmodule(METHODS[name].make))


@distinct
def test_it_runs_repeats_and_survives_its_files(
    name: str, preset: str, portion: Callable[..., ImageSet], tmp_path: Path
) -> None:
    testing.check_run(small_recipe(name, preset), tmp_path / "run", portion(), cache_folder(True))


@learnt
def test_every_step_moves_the_pixels_of_every_class(name: str, preset: str, context_of: Callable[..., Context]) -> None:
    testing.check_moves(small_recipe(name, preset), context_of())


@learnt
def test_classes_in_blocks_of_any_size(name: str, preset: str, context_of: Callable[..., Context]) -> None:
    testing.check_class_blocks(small_recipe(name, preset), context_of)


@learnt
def test_it_resumes_to_the_bit(name: str, preset: str, context_of: Callable[..., Context], tmp_path: Path) -> None:
    testing.check_resumes(small_recipe(name, preset), lambda: context_of(dtype=torch.float32), tmp_path)


@learnt
def test_classes_of_unequal_sizes(
    name: str, preset: str, context_of: Callable[..., Context], portion: Callable[..., ImageSet]
) -> None:
    testing.check_unequal_classes(small_recipe(name, preset), context_of(portion(3, [12, 3, 7])))


@pytest.mark.parametrize("name", [name for name, method in METHODS.items() if method.takes_base])
def test_an_add_on_goes_on_other_recipes(name: str, context_of: Callable[..., Context]) -> None:
    from limbeck.methods.idc import idc

    for base in (idc("digits"), idc("digits", factor=1), idc("mini-speech-commands")):
        recipe: Recipe = small(METHODS[name].recipe(base=base))
        recipe.check()
        assert recipe.base == base.name and recipe.name == name
        loop = Loop(recipe, context_of())
        state = loop.start()
        before = state.stored.clone()
        assert not torch.equal(loop.step(state)[0].stored, before)
