"""Every method of the registry, ours or a plug-in's, with every preset, through the same checks on shrunken runs.

Presets that shrink to one and the same recipe run once.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import limbeck as lb
from limbeck import registry
from limbeck.core.context import Context
from limbeck.core.recipe import Recipe
from limbeck.data.images import ImageSet
from limbeck.data.splits import Data
from limbeck.engine.loop import Loop
from limbeck.engine.run_file import read_run_file
from limbeck.pools.experts import Experts
from limbeck.storage.tree import load_tree, save_tree
from limbeck.training.teacher import Teacher

METHODS = registry.methods()
EVERY = [(name, preset) for name, method in METHODS.items() for preset in method.presets]

SMALL: dict[str, Any] = {
    "network": "convnet2:width=4",
    "iterations": 1,
    "steps": 3,
    "interval": 2,
    "samples": 16,
    "epochs": 1,
    "early_epochs": 1,
    "count": 2,
    "batch_size": 6,
    "synthetic_batch": 5,
    "most": 4,
    "most_epochs": 2,
    "images": 4,
    "shift": 2,
    "student_steps": 3,
}
"""Fields by which a recipe becomes tiny, wherever they occur, with their most."""

AT_LEAST: dict[str, dict[str, Any]] = {"forgetting": {"initializer__epochs": 8}}
"""What a method needs more of: in one epoch nothing is forgotten, so every seed would choose alike."""


def shrunken(value: Any) -> Any:
    """The recipe with its sizes cut down; what is zero or smaller stays."""
    changes: dict[str, Any] = {}
    if isinstance(value, Teacher):
        # Of the run's seed, like all other networks of the battery; its statistics are what a recipe may need.
        return Teacher(network="convnet2:width=4,norm=batch", training=shrunken(value.training), epochs=1, seed=None)
    if isinstance(value, Experts):
        # Pieces of the published length, from two starts, of the seed of the run.
        short = dataclasses.replace(shrunken(value.course), epochs=value.span + 1)
        return dataclasses.replace(
            value, network=SMALL["network"], count=2, course=short, starts=2, normalization="any", seed=None
        )
    for item in dataclasses.fields(value):
        held = getattr(value, item.name)
        if dataclasses.is_dataclass(held):
            changes[item.name] = shrunken(held)
        elif item.name in SMALL:
            small = SMALL[item.name]
            changes[item.name] = small if isinstance(small, str) else min(held, small)
    return dataclasses.replace(value, **changes)


def small_recipe(name: str, preset: str, **changes: Any) -> Recipe:
    recipe: Recipe = shrunken(METHODS[name].recipe(preset))
    if recipe.curriculum is not None and recipe.curriculum.length() == 1:
        recipe = recipe.with_(curriculum__iterations=3)  # one step to an iteration
    return recipe.with_(**AT_LEAST.get(name, {}), **changes)


DISTINCT = list({small_recipe(name, preset): (name, preset) for name, preset in reversed(EVERY)}.values())[::-1]
LEARNT = [(name, preset) for name, preset in DISTINCT if METHODS[name].recipe(preset).objective is not None]

every = pytest.mark.parametrize(("name", "preset"), EVERY)
distinct = pytest.mark.parametrize(("name", "preset"), DISTINCT)
learnt = pytest.mark.parametrize(("name", "preset"), LEARNT)


def distil(recipe: Recipe, train: ImageSet, seed: int = 3, out: Path | None = None, **settings: Any) -> lb.Distilled:
    data = Data(train=train, validation=None, test=None, spec=train.spec)
    how = lb.Settings(progress="quiet", device="cpu", **settings)
    return lb.distill(recipe, data, ipc=2, seed=seed, out=out, settings=how)


@every
def test_it_builds_and_makes_sense(name: str, preset: str) -> None:
    recipe = METHODS[name].recipe(preset)
    recipe.check()
    assert recipe.name == name
    assert METHODS[name].recipe(preset) == recipe
    hash(recipe)
    assert METHODS[name].baseline == (recipe.objective is None)


@pytest.mark.parametrize("name", METHODS)
def test_it_is_documented_and_cited(name: str) -> None:
    method = METHODS[name]
    assert len(method.summary) > 20 and method.summary.endswith(".")
    text = inspect.getdoc(method.make) or ""
    parameters = inspect.signature(method.make).parameters
    assert "preset" in parameters
    assert [parameter for parameter in parameters if f"{parameter}:" not in text] == []
    assert method.baseline or method.recipe().references
    assert METHODS[name].recipe().cite()


@pytest.mark.parametrize("name", METHODS)
def test_the_first_preset_is_the_default(name: str) -> None:
    method = METHODS[name]
    assert method.recipe() == method.recipe(method.presets[0])
    assert len(set(method.presets)) == len(method.presets)


@distinct
def test_it_runs_repeats_and_survives_its_files(
    name: str, preset: str, portion: Callable[..., ImageSet], tmp_path: Path
) -> None:
    recipe, train = small_recipe(name, preset), portion()
    before = torch.get_rng_state()
    written = distil(recipe, train, out=tmp_path / "run")
    assert torch.equal(torch.get_rng_state(), before)
    assert written.stored.shape == (3, 2, 1, 8, 8)
    assert torch.isfinite(written.stored).all()

    # The run file holds the recipe, and repeating it gives the same bits.
    asked = read_run_file(tmp_path / "run", registry.parts())
    assert asked.recipe == recipe
    again = distil(asked.recipe, train, seed=asked.seed)
    assert torch.equal(again.stored, written.stored)
    assert not torch.equal(distil(recipe, train, seed=4).stored, written.stored)

    loaded = lb.load(tmp_path / "run")
    assert torch.equal(loaded.stored, written.stored)
    assert loaded.recipe == recipe
    images, labels = loaded.decoded()
    parts = recipe.parametrization.parts(2)
    assert images.shape == (3 * parts, 1, 8, 8)
    assert labels.tolist() == [label for label in range(3) for _ in range(parts)]


@learnt
def test_every_step_moves_the_pixels_of_every_class(name: str, preset: str, context_of: Callable[..., Context]) -> None:
    loop = Loop(small_recipe(name, preset), context_of())
    state = loop.start()
    assert loop.length() == 3
    for _ in range(loop.length()):
        before = state.stored.clone()
        state, losses = loop.step(state)
        assert losses.shape == (3,) and torch.isfinite(losses).all() and (losses > 0).all()
        assert torch.isfinite(state.stored).all()
        assert ((state.stored - before).abs().amax(dim=(1, 2, 3, 4)) > 0).all()


@learnt
def test_classes_in_blocks_of_any_size(name: str, preset: str, context_of: Callable[..., Context]) -> None:
    ends = []
    for size in (1, 2, 10):
        loop = Loop(small_recipe(name, preset), context_of(), class_block=size)
        state = loop.start()
        for _ in range(loop.length()):
            state, _ = loop.step(state)
        ends.append(state.stored)
    for other in ends[1:]:
        torch.testing.assert_close(other, ends[0], rtol=0, atol=1e-11)


@learnt
def test_it_resumes_to_the_bit(name: str, preset: str, context_of: Callable[..., Context], tmp_path: Path) -> None:
    recipe = small_recipe(name, preset)
    if hasattr(recipe.curriculum, "iterations"):
        recipe = recipe.with_(curriculum__iterations=2)
    loop = Loop(recipe, context_of(dtype=torch.float32))
    state, expected = loop.start(), []
    for ordinal in range(loop.length()):
        save_tree(tmp_path / f"{ordinal}", state.tree())
        state, _ = loop.step(state)
        expected.append(state.stored)
    for ordinal, stored in enumerate(expected):
        fresh = Loop(recipe, context_of(dtype=torch.float32))
        resumed: Tensor = fresh.step(type(state)(**load_tree(tmp_path / f"{ordinal}")))[0].stored
        assert torch.equal(resumed, stored)


@learnt
def test_classes_of_unequal_sizes(
    name: str, preset: str, context_of: Callable[..., Context], portion: Callable[..., ImageSet]
) -> None:
    loop = Loop(small_recipe(name, preset), context_of(portion(3, [12, 3, 7])))
    state = loop.start()
    for _ in range(loop.length()):
        state, losses = loop.step(state)
        assert torch.isfinite(losses).all() and torch.isfinite(state.stored).all()


@pytest.mark.parametrize("name", [name for name, method in METHODS.items() if method.takes_base])
def test_an_add_on_goes_on_other_recipes(name: str, context_of: Callable[..., Context]) -> None:
    from limbeck.methods.idc import idc

    for base in (idc("digits"), idc("digits", factor=1), idc("mini-speech-commands")):
        recipe: Recipe = shrunken(METHODS[name].recipe(base=base))
        recipe.check()
        assert recipe.base == base.name and recipe.name == name
        loop = Loop(recipe, context_of())
        state = loop.start()
        before = state.stored.clone()
        assert not torch.equal(loop.step(state)[0].stored, before)
