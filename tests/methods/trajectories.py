"""What the tests of MTT, TESLA, FTD and AST share: a recipe's column of settings, and short runs on digits."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from limbeck.augmentations.dsa_augment import DSAAugment
from limbeck.core.context import Context
from limbeck.core.recipe import Recipe
from limbeck.curricula.all_at_once import AllAtOnce
from limbeck.engine.loop import Loop, LoopState
from limbeck.optimizers.sgd import SGD
from limbeck.parametrizations.plain import Plain
from limbeck.training.expert_training import ExpertTraining
from limbeck.training.settings import Training

Column = tuple[str, int, int, int, int, float, float, float]
"""Normalization, N, M, T+, batch of S (0: all), step sizes of images and of beta, and beta at first."""

COMMON: dict[tuple[str, int], Column] = {
    ("cifar10", 10): ("zca", 30, 2, 20, 0, 100, 1e-5, 0.001),
    ("cifar10", 50): ("channels", 30, 2, 40, 0, 1000, 1e-5, 0.001),
    ("cifar100", 1): ("zca", 20, 3, 20, 0, 1000, 1e-5, 0.01),
    ("cifar100", 10): ("channels", 20, 2, 20, 0, 1000, 1e-5, 0.01),
    ("cifar100", 50): ("zca", 80, 2, 40, 125, 1000, 1e-5, 0.01),
    ("tiny-imagenet", 1): ("channels", 10, 2, 10, 0, 10_000, 1e-4, 0.01),
    ("tiny-imagenet", 10): ("channels", 20, 2, 40, 200, 10_000, 1e-4, 0.01),
    ("tiny-imagenet", 50): ("channels", 20, 2, 40, 300, 10_000, 1e-4, 0.01),
}
"""What MTT's and TESLA's lists have alike."""

DSA = DSAAugment(tokens=("color", "crop", "cutout", "flip", "scale", "rotate"))
SGD_EXPERTS = ExpertTraining(
    training=Training(lr=0.01, momentum=0.0, weight_decay=0.0, batch_size=256, augmentation=DSA), epochs=50
)
"""MTT's: plain SGD at one step size."""


def column(recipe: Any) -> Column:
    """What the papers' tables of settings say, read from a recipe."""
    objective, pool = recipe.objective, recipe.pool
    return (
        pool.normalization,
        objective.student_steps,
        pool.span,
        pool.starts,
        objective.synthetic_batch,
        recipe.optimizer.lr,
        objective.lr_step,
        objective.student_lr,
    )


def check_what_all_share(recipe: Any, iterations: int = 5000) -> None:
    """What the published settings have in common, beside experts and columns."""
    assert recipe.optimizer == SGD(
        lr=recipe.optimizer.lr,
        momentum=0.5,
        turns="joint",
        scale_with_ipc=False,
        clamp=False,
        average=recipe.optimizer.average,
    )
    assert recipe.objective.lr_momentum == 0.5
    assert recipe.curriculum == AllAtOnce(iterations=iterations, steps=1)
    assert recipe.parametrization == Plain(space="normalized")
    assert recipe.augmentation == DSA == recipe.pool.course.training.augmentation
    assert recipe.sampler is None
    pool = recipe.pool
    assert (pool.order, pool.start_range, pool.store, pool.half) == ("shuffled", 0, "", False)


def tiny(recipe: Any, iterations: int = 3, **changes: Any) -> Recipe:
    """Small enough for a test; what makes the method what it is stays."""
    epochs = recipe.pool.span + 1
    pool = replace(recipe.pool, network="convnet1:width=8", count=2, starts=2, normalization="any")
    pool = replace(pool, course=replace(pool.course, epochs=epochs))
    # As the papers have it, whatever the preset: images in normalized space, which nobody clamps.
    made: Recipe = recipe.with_(
        pool=pool,
        objective__student_steps=4,
        curriculum__iterations=iterations,
        parametrization=Plain(space="normalized"),
        optimizer__clamp=False,
    )
    return made.with_(**changes)


def run(recipe: Recipe, context: Context) -> tuple[Loop, list[LoopState]]:
    """A whole run, and its states: the first, and that after each step."""
    recipe.check(context)
    loop = Loop(recipe, context)
    states = [loop.start()]
    for _ in range(loop.length()):
        # Parts may change what they hold in place.
        before = replace(states[-1], parts=_cloned(states[-1].parts))
        after, losses = loop.step(before)
        assert torch.isfinite(losses).all() and len(losses) == len(context.labels)
        states.append(after)
    return loop, states


def matching_loss(loop: Loop, state: LoopState, stored: Tensor, places: int = 12) -> float:
    """Mean loss of some images over the same experts, starts, batches and draws, whatever the images."""
    found = []
    for ordinal in range(places):
        now = LoopState(ordinal, stored.clone(), _cloned(state.parts))
        found.append(float(loop.step(now)[1].sum()))
    return sum(found) / places


def _cloned(tree: Any) -> Any:
    if isinstance(tree, dict):
        return {name: _cloned(child) for name, child in tree.items()}
    return tree.clone() if isinstance(tree, Tensor) else tree
