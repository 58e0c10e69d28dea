"""IDM: distribution matching with semi-trained networks and a class-aware loss (Zhao et al., CVPR 2023).

The algorithm box of the paper, line by line:

| line | here |
| --- | --- |
| initialize S with real images, 2 x 2 packed into each | `Mixed` with independent draws, `Partition` |
| a queue of networks, some random ones at first | `SemiTrained` |
| repeat: one network of the queue at random | `AllAtOnce.iterations`, `SemiTrained.draw` |
| for each class: a real batch, decode S, augment both alike | `Random`, `Partition`, `DSAAugment` |
| L = squared distance of mean embeddings + weight * accuracy * CE(decoded) | `ClassAwareMean` |
| S <- S - lr * grad L, one step of a shared momentum SGD per class | `SGD(turns="class")` |
| train some networks of the queue on real images, add new ones, drop the oldest | `SemiTrained.advance` |

Weights, batches and queues are those of the authors' commands for 1, 10 and 50 images per class; between them those of
the nearest count. ``small`` and ``digits`` are ours, for a CPU.
"""

from __future__ import annotations

from dataclasses import dataclass

from limbeck.core.errors import InputError, unknown
from limbeck.core.recipe import Recipe
from limbeck.curricula.all_at_once import AllAtOnce
from limbeck.initializers.real import Mixed
from limbeck.labelers.hard import Hard
from limbeck.methods import dm as _dm
from limbeck.objectives.class_aware_mean import ClassAwareMean
from limbeck.optimizers.sgd import SGD
from limbeck.parametrizations.partition import Partition
from limbeck.pools.semi_trained import SemiTrained
from limbeck.samplers.random import Random

__all__ = ["PRESETS", "idm"]


@dataclass(frozen=True, kw_only=True)
class _Setting:
    """What differs between data sets and images per class."""

    weight: float
    batch: int = 256
    interval: int = 30
    steps: int = 10
    most: int = 100
    network: str = "convnet3"


_SETTINGS = {
    "cifar10": {
        1: _Setting(weight=0.5, batch=5000, interval=5),
        10: _Setting(weight=0.5),
        50: _Setting(weight=0.1),
    },
    "cifar100": {
        1: _Setting(weight=0.5, batch=5000, interval=5),
        10: _Setting(weight=0.1, steps=50),
        50: _Setting(weight=0.1),
    },
    "tiny-imagenet": {1: _Setting(weight=0.5), 10: _Setting(weight=0.5), 50: _Setting(weight=0.8, steps=50)},
    "imagenet100": {
        1: _Setting(weight=3.0, batch=128, interval=50, most=50, network="convnet6"),
        10: _Setting(weight=3.0, batch=128, interval=50, most=50, network="convnet6"),
        50: _Setting(weight=3.0, batch=128, interval=50, network="convnet6"),
    },
    "small": {10: _Setting(weight=0.02, batch=64, interval=10, most=20, network="convnet3:width=32")},
    "digits": {10: _Setting(weight=0.02, batch=32, interval=10, most=20, network="convnet3:width=32")},
}
_OURS = {"small": 200, "digits": 200}
"""Iterations of the presets for a CPU."""

PRESETS = tuple(_SETTINGS)


def idm(preset: str = "cifar10", ipc: int = 10) -> Recipe:
    """The recipe of IDM.

    Args:
        preset: whose settings to use: a data set of the paper, or ``small`` or ``digits`` (ours, minutes on a CPU).
        ipc: images per class, which decide the weight of the class-aware loss, the batch and the queue.

    Raises:
        InputError: there is no such preset, or ``ipc`` is below 1.
    """
    if preset not in PRESETS:
        raise unknown("preset of idm", preset, PRESETS)
    if ipc < 1:
        raise InputError(f"idm needs at least 1 image per class, not {ipc}.")
    stated = _SETTINGS[preset]
    setting = stated[min(stated, key=lambda known: (abs(known - ipc), known))]
    recipe = Recipe(
        name="idm",
        objective=ClassAwareMean(weight=setting.weight),
        sampler=Random(batch_size=setting.batch),
        initializer=Mixed(choice="independent"),
        parametrization=Partition(space="normalized", factor=2, order="columns", resample="bilinear"),
        augmentation=_dm.siamese(preset),
        pool=SemiTrained(network=setting.network, interval=setting.interval, steps=setting.steps, most=setting.most),
        curriculum=AllAtOnce(iterations=_OURS.get(preset, 20_000), steps=1),
        labeler=Hard(),
        optimizer=SGD(lr=0.2, momentum=0.5, scale_with_ipc=False, clamp=False),
        references=("zhao2023idm",),
    )
    if preset not in _OURS:
        return recipe
    # Stored images in [0, 1], which 8 bits can hold.
    recipe = recipe.with_(parametrization__space="unit", optimizer__lr=0.02, optimizer__clamp=True)
    # On larger images than digits the queue's training would take most of the time.
    return recipe.with_(pool__trained=1, pool__training__batch_size=64) if preset == "small" else recipe
