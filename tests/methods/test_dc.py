from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from limbeck.core.errors import InputError
from limbeck.core.recipe import Recipe
from limbeck.initializers.noise import Noise
from limbeck.methods.dc import PRESETS, dc, schedule
from limbeck.methods.dream import dream
from limbeck.methods.idc import idc
from limbeck.registry import method


def fields(recipe: Recipe) -> Any:
    return SimpleNamespace(**{slot: part for slot, part in recipe.parts()})


@pytest.mark.parametrize(
    ("ipc", "steps", "epochs"), [(1, 1, 1), (10, 10, 50), (20, 20, 25), (30, 30, 20), (40, 40, 15), (50, 50, 10)]
)
def test_the_published_schedule(ipc: int, steps: int, epochs: int) -> None:
    assert schedule(ipc) == (steps, epochs)
    recipe = fields(dc("cifar10", ipc))
    assert (recipe.curriculum.steps, recipe.pool.epochs, recipe.curriculum.iterations) == (steps, epochs, 1000)


@pytest.mark.parametrize(
    ("ipc", "expected"), [(2, (2, 1)), (7, (7, 50)), (24, (24, 25)), (25, (25, 25)), (100, (50, 10))]
)
def test_between_the_rows_the_nearest_counts(ipc: int, expected: tuple[int, int]) -> None:
    assert schedule(ipc) == expected


@pytest.mark.parametrize("preset", [name for name in PRESETS if name not in ("small", "digits")])
def test_published_values(preset: str) -> None:
    recipe = fields(dc(preset))
    assert (recipe.objective.metric, recipe.objective.classifier, recipe.objective.bias) == ("cosine", True, False)
    assert recipe.objective.synthetic_batch == 0  # all of them
    assert recipe.sampler.batch_size == 256
    assert recipe.initializer == Noise(space="normalized") and recipe.parametrization.space == "normalized"
    training = recipe.pool.training
    assert (training.lr, training.momentum, training.weight_decay, training.batch_size) == (0.01, 0.0, 0.0, 256)
    assert training.augmentation is None and training.cutmix == 0
    optimizer = recipe.optimizer
    assert (optimizer.lr, optimizer.momentum, optimizer.turns) == (0.1, 0.5, "joint")
    assert not optimizer.clamp and not optimizer.scale_with_ipc


def test_wrong_requests_are_refused() -> None:
    with pytest.raises(InputError, match="unknown preset of dc 'cifar'; "):
        dc("cifar")
    with pytest.raises(InputError, match="dc needs at least 1 image per class, not 0"):
        dc(ipc=0)


def test_the_registry_passes_the_ipc_where_it_matters() -> None:
    assert method("dc").recipe("cifar10", ipc=1) == dc("cifar10", 1) != dc("cifar10", 10)
    assert method("idc").recipe("cifar10", ipc=1) == idc("cifar10")


def test_dream_on_dc() -> None:
    recipe = dream(base=dc())
    recipe.check()
    parts, plain = fields(recipe), fields(dc())
    assert parts.sampler.batch_size == 128 and parts.sampler.interval == 10
    assert (parts.pool, parts.objective, parts.curriculum) == (plain.pool, plain.objective, plain.curriculum)
