"""CAFE: aligning the features of every layer (Wang et al., CVPR 2022).

The algorithm box of the paper, line by line:

| line | here |
| --- | --- |
| initialize S with noise | `Noise` in normalized space |
| repeat: a new network | `AllAtOnce.iterations`, `ToPlateau` |
| for each class: a real batch | `Random` |
| L = layer-wise alignment + discrimination | `LayerAlignment` |
| S <- one step of SGD on L for all classes together | `SGD(turns="joint")` |
| train the network on S until its accuracy on real images has moved | `ToPlateau.advance` |
| leave the loop when the accuracies between image steps stand still | `ToPlateau.finished` |

The loops of the authors' code have no end of their own; here a network sees at most 50 image steps, and is trained for
a limited number of epochs after each. The number of classes is that of the data, and the running accuracies begin anew
at each check. ``--with augmentation=dsa_augment`` is CAFE+DSA. ``small`` and ``digits`` are ours, for a CPU.
"""

from __future__ import annotations

from limbeck.core.errors import unknown
from limbeck.core.recipe import Recipe
from limbeck.curricula.all_at_once import AllAtOnce
from limbeck.initializers.noise import Noise
from limbeck.initializers.real import Real
from limbeck.labelers.hard import Hard
from limbeck.objectives.layer_alignment import LayerAlignment
from limbeck.optimizers.sgd import SGD
from limbeck.parametrizations.plain import Plain
from limbeck.pools.to_plateau import ToPlateau
from limbeck.samplers.random import Random

__all__ = ["PRESETS", "cafe"]

_OURS = ("small", "digits")
PRESETS = ("cifar10", "cifar100", "svhn", "mnist", "fashion-mnist", *_OURS)


def cafe(preset: str = "cifar10") -> Recipe:
    """The recipe of CAFE.

    Args:
        preset: whose settings to use: a data set of the paper (they share theirs), or ``small`` or ``digits`` (ours).

    Raises:
        InputError: there is no such preset.
    """
    if preset not in PRESETS:
        raise unknown("preset of cafe", preset, PRESETS)
    recipe = Recipe(
        name="cafe",
        objective=LayerAlignment(),
        sampler=Random(batch_size=256),
        initializer=Noise(space="normalized"),
        parametrization=Plain(space="normalized"),
        pool=ToPlateau(),
        curriculum=AllAtOnce(iterations=2000, steps=50),
        labeler=Hard(),
        optimizer=SGD(
            lr=0.1,
            momentum=0.5,
            turns="joint",
            scale_with_ipc=False,
            clamp=False,
            drops=(1200, 1600, 1800),
            drop_factor=0.5,
        ),
        references=("wang2022cafe",),
    )
    if preset not in _OURS:
        return recipe
    # Stored images in [0, 1], which 8 bits can hold.
    return recipe.with_(
        initializer=Real(),
        parametrization__space="unit",
        sampler__batch_size=32,
        pool__network="convnet3:width=32",
        pool__images=16,
        pool__most_epochs=10,
        curriculum__iterations=20,
        curriculum__steps=5,
        optimizer__lr=0.01,
        optimizer__clamp=True,
        optimizer__drops=(),
    )
