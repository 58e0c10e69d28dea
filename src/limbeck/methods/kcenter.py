"""K-center: real images that leave none far from a chosen one (Sener and Savarese, 2018).

Starting from a random image, each step adds the image with the largest distance to its nearest chosen one, in the
embedding of a network trained on all real images.
"""

from __future__ import annotations

from limbeck.core.errors import unknown
from limbeck.core.recipe import Recipe
from limbeck.initializers.coresets import KCenter
from limbeck.labelers.hard import Hard
from limbeck.parametrizations.plain import Plain
from limbeck.pools.pretrained import Pretrained

__all__ = ["BASELINE", "PRESETS", "kcenter"]

PRESETS = ("default", "small", "digits", "fsdd")
BASELINE = True


def kcenter(preset: str = "default") -> Recipe:
    """The recipe of k-center selection: nothing is learnt, the initial images are the result.

    Args:
        preset: ``default`` trains the network for 20 epochs at full width; ``small``, ``digits`` and
            ``fsdd`` suit a CPU.

    Raises:
        InputError: there is no such preset.
    """
    if preset not in PRESETS:
        raise unknown("preset of kcenter", preset, PRESETS)
    pool = {
        "default": Pretrained(),
        "small": Pretrained(network="convnet3:width=32", epochs=3),
        "digits": Pretrained(network="convnet3:width=32", epochs=20),
        "fsdd": Pretrained(network="convnet4:width=16", epochs=20),
    }[preset]
    return Recipe(name="kcenter", initializer=KCenter(), parametrization=Plain(), labeler=Hard(), pool=pool)
