"""Toys: images, surroundings, recipes and parts that are tried in no time."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

import torch

from limbeck.core.context import Context
from limbeck.core.contracts import Part
from limbeck.core.real import DataSpec, Normalization
from limbeck.core.recipe import Recipe
from limbeck.core.streams import Streams
from limbeck.data.images import ImageSet
from limbeck.initializers.coresets import Forgetting
from limbeck.networks import build
from limbeck.pools.experts import Experts
from limbeck.registry import Method
from limbeck.training.expert_training import ExpertTraining
from limbeck.training.settings import Training
from limbeck.training.teacher import Teacher

__all__ = ["NETWORK", "SIZES", "SMALL", "small", "small_part", "starting_recipe", "toy", "toy_context"]

NETWORK = "convnet2:width=4"
"""What looks at the toy."""
SMALL: dict[str, Any] = {
    "network": NETWORK,
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
SIZES: dict[str, Any] = {
    "network": "convnet1:width=4",
    "epochs": 1,
    "course": ExpertTraining(training=Training(lr=0.01, batch_size=16), epochs=2),
    "count": 2,
    "starts": 1,
    "span": 2,
    "teacher": Teacher(network="convnet1:width=4,norm=batch", epochs=1, seed=None),
}
"""Fields by which a part with its defaults becomes quick."""


def toy(classes: int = 3, each: int | Iterable[int] = 12, channels: int = 1) -> ImageSet:
    """Images of 8 x 8 that a network can tell apart: a pattern for each class, and noise.

    Args:
        classes: number of classes.
        each: images of every class, or one number per class.
        channels: channels per image.
    """
    sizes = [each] * classes if isinstance(each, int) else list(each)
    streams = Streams(0)
    labels = torch.repeat_interleave(torch.arange(classes), torch.tensor(sizes))
    # Classes are interleaved, so that rows and positions within a class differ.
    labels = labels[streams("toy order").permutation(len(labels))]
    patterns = streams("toy patterns").uniform(classes, channels, 8, 8)
    noise = streams("toy noise").uniform(len(labels), channels, 8, 8)
    pixels = (255 * (0.7 * patterns[labels] + 0.3 * noise)).round().to(torch.uint8)
    values = pixels.double().div(255).transpose(0, 1).flatten(1)
    statistics = Normalization(tuple(values.mean(dim=1).tolist()), tuple(values.std(dim=1).tolist()))
    names = tuple(f"class {label}" for label in range(classes))
    return ImageSet(pixels, labels, DataSpec("toy", channels, 8, 8, names, statistics, digest=f"toy {sizes}"))


def toy_context(data: ImageSet | None = None, ipc: int = 2, seed: int = 0, **changes: Any) -> Context:
    """The surroundings of a run on a toy, in float64 unless told otherwise.

    Args:
        data: images; by default those of `toy`.
        ipc: images per class.
        seed: seed of all random streams.
        **changes: other fields of `Context`.
    """
    dtype = changes.pop("dtype", torch.float64)
    data = (toy() if data is None else data).to(torch.device("cpu"), dtype)
    return Context(data=data, ipc=ipc, streams=Streams(seed), build=build, dtype=dtype, **changes)


def small(recipe: Recipe, **changes: Any) -> Recipe:
    """The recipe with its sizes cut down, so that it takes three inner steps on small networks.

    Args:
        recipe: a recipe of any size.
        **changes: what is set afterwards, as `Recipe.with_` takes it.
    """
    recipe = _cut(recipe)
    if recipe.curriculum is not None and recipe.curriculum.length() == 1 and hasattr(recipe.curriculum, "iterations"):
        recipe = recipe.with_(curriculum__iterations=3)  # one step to an iteration
    if isinstance(recipe.initializer, Forgetting):
        # In one epoch nothing is forgotten, so that every seed would choose alike.
        recipe = recipe.with_(initializer__epochs=8)
    return recipe.with_(**changes)


def starting_recipe(method: Method) -> Recipe:
    """The recipe that is tried on a toy: the preset ``digits``, whose images are as small, or the first."""
    return method.recipe("digits" if "digits" in method.presets else None)


def small_part(kind: type[Part]) -> Part:
    """The part with its defaults, but for what makes it slow."""
    names = {item.name for item in dataclasses.fields(kind)}
    return kind(**{name: value for name, value in SIZES.items() if name in names})


def _cut(value: Any) -> Any:
    """A dataclass with its sizes cut down; what is zero or smaller stays."""
    if isinstance(value, Teacher):
        # Of the run's seed, like all other networks; its statistics are what a recipe may need.
        return Teacher(network=f"{NETWORK},norm=batch", training=_cut(value.training), epochs=1, seed=None)
    if isinstance(value, Experts):
        # Pieces of the published length, from two starts, of the seed of the run.
        short = dataclasses.replace(_cut(value.course), epochs=value.span + 1)
        return dataclasses.replace(
            value, network=NETWORK, count=2, course=short, starts=2, normalization="any", seed=None
        )
    changes: dict[str, Any] = {}
    for item in dataclasses.fields(value):
        held = getattr(value, item.name)
        if dataclasses.is_dataclass(held):
            changes[item.name] = _cut(held)
        elif item.name in SMALL:
            most = SMALL[item.name]
            changes[item.name] = most if isinstance(most, str) else min(held, most)
    return dataclasses.replace(value, **changes)
