"""Random: real images drawn uniformly from each class, the baseline that every method must beat."""

from __future__ import annotations

from limbeck.core.errors import unknown
from limbeck.core.recipe import Recipe
from limbeck.initializers.real import Real
from limbeck.labelers.hard import Hard
from limbeck.parametrizations.plain import Plain

__all__ = ["BASELINE", "PRESETS", "random"]

PRESETS = ("default",)
BASELINE = True


def random(preset: str = "default") -> Recipe:
    """The recipe of random selection: nothing is learnt, the initial images are the result.

    Args:
        preset: there is only ``default``.

    Raises:
        InputError: there is no such preset.
    """
    if preset not in PRESETS:
        raise unknown("preset of random", preset, PRESETS)
    return Recipe(name="random", initializer=Real(), parametrization=Plain(), labeler=Hard())
