"""DSA: DC with one augmentation for both sides (Zhao and Bilen, ICML 2021).

What the algorithm box of the paper adds to DC's; everything else is DC's:

| line | here |
| --- | --- |
| initialize S with real images | `Real` |
| for each class: one random augmentation omega for both sides | `DSAAugment`, drawn by `GradientMatching` |
| L = D(grad CE(A(S_c, omega)), grad CE(A(real, omega))) | `GradientMatching` |
| theta <- theta trained on A(S), every image with its own omega | `TrainedOnSynthetic.training` |

Digits are never mirrored. ``small`` and ``digits`` are ours, for a CPU.
"""

from __future__ import annotations

from limbeck.augmentations.dsa_augment import strategy
from limbeck.core.recipe import Recipe
from limbeck.initializers.real import Real
from limbeck.methods import dc as _dc

__all__ = ["PRESETS", "dsa"]

PRESETS = _dc.PRESETS


def dsa(preset: str = "cifar10", ipc: int = 10) -> Recipe:
    """The recipe of DSA.

    Args:
        preset: whose settings to use: a data set of the paper, or ``small`` or ``digits`` (ours).
        ipc: images per class, which decide how often a network is matched and how long it is trained.

    Raises:
        InputError: there is no such preset, or ``ipc`` is below 1.
    """
    augmentation = strategy(preset)
    return _dc.dc(preset, ipc).with_(
        name="dsa",
        initializer=Real(),
        augmentation=augmentation,
        pool__training__augmentation=augmentation,
        references=("zhao2021dsa", "zhao2021dc"),
    )
