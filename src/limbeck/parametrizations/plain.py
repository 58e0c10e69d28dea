"""One stored image is one training image."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from limbeck.core.contracts import Parametrization, Space

__all__ = ["Plain"]


@dataclass(frozen=True, kw_only=True)
class Plain(Parametrization):
    """Stored images are training images as they are."""

    space: Space = "unit"
    """Where stored values live: ``unit`` is [0, 1] (IDC, DREAM), ``normalized`` as the networks see them (DC, DSA)."""

    def parts(self, ipc: int) -> int:
        """As many as are stored."""
        return ipc

    def decode(self, stored: Tensor) -> Tensor:
        """The stored images themselves."""
        return stored

    def encode(self, images: Tensor, ipc: int) -> Tensor:
        """The images themselves."""
        return images
