"""Multi-formation: one stored image holds f x f smaller ones (IDC, section 4.2; also IDM, DSDM)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from limbeck.core.context import Context
from limbeck.core.contracts import Parametrization, Space
from limbeck.core.errors import InputError
from limbeck.ops import partition

__all__ = ["Partition"]


@dataclass(frozen=True, kw_only=True)
class Partition(Parametrization):
    """Stored images are cut into ``factor x factor`` crops, each resized to full size (bilinear)."""

    references = ("kim2022idc",)

    space: Space = "unit"
    """Where stored values live: ``unit`` is [0, 1], ``normalized`` as the networks see them."""
    factor: int = 2
    """Crops per side; f."""
    axes: Literal["both", "columns"] = "both"
    """Which axes are cut: both, or only the columns, which are time in a spectrogram (f crops instead of f * f)."""
    grid: Literal["read", "official"] = "read"
    """Where `encode` writes parts: on the grid that `decode` reads, or on that of the authors' code, which differs
    from it when the size is not a multiple of the factor (then parts overlap their neighbours' crops)."""

    def check(self, context: Context) -> None:
        """The factor must leave at least two pixels per crop."""
        spec = context.spec
        side = min(spec.height, spec.width)
        if not 1 <= self.factor <= side // 2:
            raise InputError(
                f"parametrization 'partition' cannot cut {spec.height}x{spec.width} images with factor {self.factor}; "
                f"use a factor from 1 to {max(1, side // 2)}."
            )

    def parts(self, ipc: int) -> int:
        """``ipc * factor ** 2``, or ``ipc * factor`` when only the width is cut."""
        return ipc * self.factor ** (2 if self.axes == "both" else 1)

    def decode(self, stored: Tensor) -> Tensor:
        """Crops in crop-major order: crop (0, 0) of all images, then (0, 1) of all, ..."""
        return partition.decode(stored, self.factor, axes=self.axes)

    def encode(self, images: Tensor) -> Tensor:
        """Source image ``k * n + i`` becomes part k of stored image i, shrunk by nearest neighbour."""
        return partition.encode(images, self.factor, self.grid, axes=self.axes)
