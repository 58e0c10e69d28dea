"""Herding: real images whose mean embedding follows that of their class (Welling, 2009).

Step k adds the image that keeps the sum of the chosen embeddings nearest to k + 1 class means, in the embedding of a
network trained on all real images.
"""

from __future__ import annotations

from limbeck.core.errors import unknown
from limbeck.core.recipe import Recipe
from limbeck.initializers.coresets import Herding
from limbeck.labelers.hard import Hard
from limbeck.parametrizations.plain import Plain
from limbeck.pools.pretrained import Pretrained

__all__ = ["BASELINE", "PRESETS", "herding"]

PRESETS = ("default", "small", "digits", "fsdd")
BASELINE = True


def herding(preset: str = "default") -> Recipe:
    """The recipe of herding selection: nothing is learnt, the initial images are the result.

    Args:
        preset: ``default`` trains the network for 20 epochs at full width; ``small``, ``digits`` and
            ``fsdd`` suit a CPU.

    Raises:
        InputError: there is no such preset.
    """
    if preset not in PRESETS:
        raise unknown("preset of herding", preset, PRESETS)
    pool = {
        "default": Pretrained(),
        "small": Pretrained(network="convnet3:width=32", epochs=3),
        "digits": Pretrained(network="convnet3:width=32", epochs=20),
        "fsdd": Pretrained(network="convnet4:width=16", epochs=20),
    }[preset]
    return Recipe(name="herding", initializer=Herding(), parametrization=Plain(), labeler=Hard(), pool=pool)
