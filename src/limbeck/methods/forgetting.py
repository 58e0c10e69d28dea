"""Forgetting: real images that a network forgets most often while it learns them (Toneva et al., ICLR 2019).

A network is trained on all real images; whenever an image comes up, it is noted whether it is classified rightly
before the update. An image that was right at the previous visit and is wrong now has been forgotten once more. Each
class keeps the images with the most such events.
"""

from __future__ import annotations

from limbeck.core.errors import unknown
from limbeck.core.recipe import Recipe
from limbeck.initializers.coresets import Forgetting
from limbeck.labelers.hard import Hard
from limbeck.parametrizations.plain import Plain

__all__ = ["BASELINE", "PRESETS", "forgetting"]

PRESETS = ("default", "small", "digits", "fsdd")
BASELINE = True


def forgetting(preset: str = "default") -> Recipe:
    """The recipe of selection by forgetting: nothing is learnt, the initial images are the result.

    Args:
        preset: ``default`` trains the network for 40 epochs at full width; ``small``, ``digits`` and
            ``fsdd`` suit a CPU.

    Raises:
        InputError: there is no such preset.
    """
    if preset not in PRESETS:
        raise unknown("preset of forgetting", preset, PRESETS)
    initializer = {
        "default": Forgetting(),
        "small": Forgetting(network="convnet3:width=32", epochs=10),
        "digits": Forgetting(network="convnet3:width=32"),
        "fsdd": Forgetting(network="convnet4:width=16"),
    }[preset]
    return Recipe(name="forgetting", initializer=initializer, parametrization=Plain(), labeler=Hard())
