"""The synthetic set while it is being learnt: stored pixels and further learnables beside them."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

__all__ = ["Synthetic"]


@dataclass(frozen=True)
class Synthetic:
    """Stored synthetic images of all classes, class-blocked.

    Args:
        stored: stored pixels ``[K, n, C, H, W]``, class by class, in the space of the parametrization.
        extras: further learnables by name, for example a learnt step size.
    """

    stored: Tensor
    extras: dict[str, Tensor] = field(default_factory=dict)
