"""DM: matching the mean embeddings of random networks (Zhao and Bilen, WACV 2023).

Algorithm 1 of the paper, line by line:

| line | here |
| --- | --- |
| initialize S with real images | `Real` |
| repeat K times: a new random network, never trained | `AllAtOnce.iterations`, `Fresh` |
| for each class: a real batch, one augmentation for both sides | `Random`, `DSAAugment` |
| L = sum over classes of the squared distance of mean embeddings | `MeanEmbedding` |
| S <- one step of SGD on L for all classes together | `SGD(turns="joint")` |

Images are stored normalized and never clamped, as in the authors' code. With a network that has batch norm all classes
share a batch. ``small``, ``digits`` and ``fsdd`` are ours, for a CPU.
"""

from __future__ import annotations

from limbeck.augmentations.dsa_augment import DSAAugment, strategy
from limbeck.core.errors import InputError, unknown
from limbeck.core.recipe import Recipe
from limbeck.curricula.all_at_once import AllAtOnce
from limbeck.initializers.real import Real
from limbeck.labelers.hard import Hard
from limbeck.objectives.mean_embedding import MeanEmbedding
from limbeck.optimizers.sgd import SGD
from limbeck.parametrizations.plain import Plain
from limbeck.pools.fresh import Fresh
from limbeck.samplers.random import Random

__all__ = ["PRESETS", "dm", "siamese"]

_NETWORKS = {"tiny-imagenet": "convnet4", "mini-speech-commands": "convnet4", "fsdd": "convnet4:width=16"}
_SOUND = ("mini-speech-commands", "fsdd")
_OURS = {"small": 300, "digits": 200, "fsdd": 300}
"""Iterations of the presets for a CPU."""

PRESETS = (
    "cifar10",
    "cifar100",
    "svhn",
    "mnist",
    "fashion-mnist",
    "tiny-imagenet",
    "mini-speech-commands",
    "small",
    "digits",
    "fsdd",
)


def siamese(preset: str) -> DSAAugment | None:
    """DSA's whole strategy for a preset: digits are never mirrored, sound is left as it is."""
    return None if preset in _SOUND else strategy(preset)


def dm(preset: str = "cifar10", ipc: int = 10) -> Recipe:
    """The recipe of DM.

    Args:
        preset: whose settings to use: a data set, or ``small``, ``digits`` or ``fsdd`` (ours, minutes on a CPU).
        ipc: images per class; on CIFAR-10 the step size is 10 from 100 on.

    Raises:
        InputError: there is no such preset, or ``ipc`` is below 1.
    """
    if preset not in PRESETS:
        raise unknown("preset of dm", preset, PRESETS)
    if ipc < 1:
        raise InputError(f"dm needs at least 1 image per class, not {ipc}.")
    recipe = Recipe(
        name="dm",
        objective=MeanEmbedding(),
        sampler=Random(batch_size=256),
        initializer=Real(),
        parametrization=Plain(space="normalized"),
        augmentation=siamese(preset),
        pool=Fresh(network=_NETWORKS.get(preset, "convnet3")),
        curriculum=AllAtOnce(iterations=_OURS.get(preset, 20_000), steps=1),
        labeler=Hard(),
        optimizer=SGD(
            lr=10.0 if preset == "cifar10" and ipc >= 100 else 1.0,
            momentum=0.5,
            turns="joint",
            scale_with_ipc=False,
            clamp=False,
        ),
        references=("zhao2023dm",),
    )
    if preset not in _OURS:
        return recipe
    # Stored images in [0, 1], which 8 bits can hold.
    network = _NETWORKS.get(preset, "convnet3:width=32")
    return recipe.with_(
        parametrization__space="unit",
        pool__network=network,
        sampler__batch_size=64,
        optimizer__lr=0.02 if preset == "fsdd" else 0.3,
        optimizer__clamp=True,
    )
