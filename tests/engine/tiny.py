"""Recipes that run in a fraction of a second on real digits."""

from __future__ import annotations

from limbeck.core.recipe import Recipe
from limbeck.methods.dream import dream
from limbeck.methods.idc import idc

NETWORK = "convnet2:width=4"

FLAGS = [
    *("--preset", "digits", "--with", "parametrization=plain", "--pool.network", NETWORK, "--pool.samples", "16"),
    *("--sampler.batch-size", "8", "--curriculum.iterations", "2", "--curriculum.steps", "3"),
    *("--objective.metric", "mse", "--objective.no-bias", "--objective.no-classifier", "--optimizer.lr", "0.02"),
]
"""`tiny_idc` on the command line."""


def tiny_idc(iterations: int = 2, steps: int = 3) -> Recipe:
    return idc("digits", factor=1).with_(
        curriculum__iterations=iterations,
        curriculum__steps=steps,
        pool__network=NETWORK,
        pool__samples=16,
        sampler__batch_size=8,
        objective__metric="mse",
        objective__bias=False,
        objective__classifier=False,
        optimizer__lr=2e-2,
    )


def tiny_dream() -> Recipe:
    return dream("digits", base=tiny_idc()).with_(sampler__batch_size=4, sampler__interval=2)
