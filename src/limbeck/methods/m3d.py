"""M3D: matching distributions in a kernel's space instead of means alone (Zhang et al., AAAI 2024).

The algorithm box of the paper, line by line:

| line | here |
| --- | --- |
| initialize S with real images, several packed into each | `Mixed` |
| repeat: every few iterations a new random network | `AllAtOnce.iterations`, `Fresh.every` |
| for each class: a real batch, decode S, augment both alike | `Epochwise`, `Partition`, `IDCAugment` |
| L = maximum mean discrepancy of the two sets of embeddings | `KernelMMD` |
| S <- S - lr * grad L, one step of a shared momentum SGD per class | `SGD(turns="class")` |

The authors' settings for each data set could not be had; those here are of a copy of their code for images of 28 and
32 pixels. ``small``, ``digits`` and ``fsdd`` are ours, for a CPU.
"""

from __future__ import annotations

from limbeck.core.errors import unknown
from limbeck.core.recipe import Recipe
from limbeck.curricula.all_at_once import AllAtOnce
from limbeck.methods import idc as _idc
from limbeck.objectives.kernel_mmd import KernelMMD
from limbeck.optimizers.sgd import SGD
from limbeck.pools.fresh import Fresh
from limbeck.samplers.epochwise import Epochwise

__all__ = ["PRESETS", "m3d"]

_OURS = {"small": 300, "digits": 200, "fsdd": 300}
"""Iterations of the presets for a CPU."""

PRESETS = ("cifar10", "cifar100", "svhn", "mnist", "fashion-mnist", "mini-speech-commands", *_OURS)


def m3d(preset: str = "cifar10", factor: int | None = None) -> Recipe:
    """The recipe of M3D.

    Args:
        preset: whose settings to use: a data set, or ``small``, ``digits`` or ``fsdd`` (ours, minutes on a CPU).
        factor: images per side packed into a stored one; 2 by default. 1 packs none.

    Raises:
        InputError: there is no such preset.
    """
    if preset not in PRESETS:
        raise unknown("preset of m3d", preset, PRESETS)
    base = _idc.idc(preset, factor)
    network = {"small": "convnet3:width=32", "digits": "convnet3:width=32", "fsdd": "convnet4:width=16"}
    other = "convnet4" if preset == "mini-speech-commands" else "convnet3"
    return base.with_(
        name="m3d",
        objective=KernelMMD(synthetic_batch=200),
        sampler=Epochwise(batch_size=64 if preset in _OURS else 128),
        pool=Fresh(network=network.get(preset, other), every=5),
        curriculum=AllAtOnce(iterations=_OURS.get(preset, 10_000), steps=1),
        optimizer=SGD(lr=1.0 if preset == "fsdd" else 10.0, momentum=0.5, clamp=base.optimizer.clamp),  # type: ignore[union-attr]
        references=("zhang2024m3d", "kim2022idc"),
    )
