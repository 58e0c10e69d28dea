"""DC: matching gradients along the path of a network that learns the synthetic set (Zhao et al., ICLR 2021).

Algorithm 1 of the paper, line by line:

| line | here |
| --- | --- |
| initialize S with noise | `Noise` in normalized space |
| repeat K times: new network theta | `AllAtOnce.iterations`, `TrainedOnSynthetic.draw` |
| for t = 1 .. T, for each class: sample a real batch | `AllAtOnce.steps`, `Random` |
| L = sum over classes of D(grad CE(S_c), grad CE(real)) | `GradientMatching` with DC's distance, `cosine` |
| S <- one step of SGD on L for all classes together | `SGD(turns="joint")` |
| theta <- theta trained on S for E epochs | `TrainedOnSynthetic.advance` |

T and E follow from the images per class as in the authors' table; between its rows T is the IPC, at most 50, and E that
of the nearest row. The code runs 1001 lives where the paper says 1000, which is done here. ``small`` and ``digits``
are ours, for a CPU.
"""

from __future__ import annotations

from dataclasses import replace

from limbeck.core.errors import InputError, unknown
from limbeck.core.recipe import Recipe
from limbeck.curricula.all_at_once import AllAtOnce
from limbeck.initializers.noise import Noise
from limbeck.initializers.real import Real
from limbeck.labelers.hard import Hard
from limbeck.objectives.gradient import GradientMatching
from limbeck.optimizers.sgd import SGD
from limbeck.parametrizations.plain import Plain
from limbeck.pools.trained_on_synthetic import TrainedOnSynthetic
from limbeck.samplers.random import Random
from limbeck.training.supervised import Training

__all__ = ["PRESETS", "dc", "schedule"]

_PAPER = ("cifar10", "cifar100", "svhn", "mnist", "fashion-mnist")
PRESETS = (*_PAPER, "small", "digits")

_EPOCHS = {1: 1, 10: 50, 20: 25, 30: 20, 40: 15, 50: 10}
"""E by images per class, the table of the authors' code."""


def schedule(ipc: int) -> tuple[int, int]:
    """Matching steps T of each network, and epochs E of its training after each, for ``ipc`` images per class.

    Raises:
        InputError: fewer than one image per class.
    """
    if ipc < 1:
        raise InputError(f"dc needs at least 1 image per class, not {ipc}.")
    nearest = min(_EPOCHS, key=lambda known: (abs(known - ipc), known))
    return min(ipc, 50), _EPOCHS[nearest]


def dc(preset: str = "cifar10", ipc: int = 10) -> Recipe:
    """The recipe of DC.

    Args:
        preset: whose settings to use: a data set of the paper (they share theirs), or ``small`` or ``digits`` (ours).
        ipc: images per class, which decide how often a network is matched and how long it is trained.

    Raises:
        InputError: there is no such preset, or ``ipc`` is below 1.
    """
    if preset not in PRESETS:
        raise unknown("preset of dc", preset, PRESETS)
    steps, epochs = schedule(ipc)
    recipe = Recipe(
        name="dc",
        objective=GradientMatching(metric="cosine", classifier=True, synthetic_batch=0),
        sampler=Random(batch_size=256),
        initializer=Noise(space="normalized"),
        parametrization=Plain(space="normalized"),
        pool=TrainedOnSynthetic(
            training=Training(lr=0.01, momentum=0.0, weight_decay=0.0, batch_size=256), epochs=epochs
        ),
        curriculum=AllAtOnce(iterations=1000, steps=steps),
        labeler=Hard(),
        optimizer=SGD(lr=0.1, momentum=0.5, turns="joint", scale_with_ipc=False, clamp=False),
        references=("zhao2021dc",),
    )
    return recipe if preset in _PAPER else _on_a_cpu(recipe, preset)


def _on_a_cpu(recipe: Recipe, preset: str) -> Recipe:
    """Minutes instead of hours: a narrow network, few lives, and stored images in [0, 1], which 8 bits can hold."""
    assert isinstance(recipe.optimizer, SGD)
    return recipe.with_(
        initializer=Real(),
        parametrization__space="unit",
        pool__network="convnet3:width=32",
        pool__epochs=5,
        sampler__batch_size=64,
        curriculum__iterations={"small": 20, "digits": 16}[preset],
        curriculum__steps=5,
        optimizer=replace(recipe.optimizer, lr={"small": 0.01, "digits": 0.01}[preset], clamp=True),
    )
