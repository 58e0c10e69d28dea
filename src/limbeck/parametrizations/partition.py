"""Multi-formation: one stored image holds f x f smaller ones (IDC, section 4.2; also IDM, DSDM)."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from limbeck.core.context import Context
from limbeck.core.contracts import Parametrization, Space
from limbeck.core.errors import InputError
from limbeck.ops import partition

__all__ = ["Partition"]


@dataclass(frozen=True, kw_only=True)
class Partition(Parametrization):
    """Stored images are cut into ``factor x factor`` crops, each resized to full size (bilinear).

    Defaults are IDC's. IDM counts crops by columns and packs bilinearly, with factor 2 and even sides; here other sides
    are padded as for IDC.
    """

    references = ("kim2022idc",)
    added: ClassVar[Mapping[str, Any]] = {"order": "rows", "resample": "nearest", "pad": 0.5}

    space: Space = "unit"
    """Where stored values live: ``unit`` is [0, 1], ``normalized`` as the networks see them."""
    factor: int = 2
    """Crops per side; f."""
    axes: Literal["both", "columns"] = "both"
    """Which axes are cut: both, or only the columns, which are time in a spectrogram (f crops instead of f * f)."""
    kind: Literal["single", "multi", "bound"] = "single"
    """``single`` decodes every image with the factor, ``multi`` with each factor from 1 to it, ``bound`` the first
    images with the factor and the next ones with smaller factors, so that ``bound`` is not exceeded (IDC's code)."""
    bound: int = 128
    """Decoded images of a class that ``bound`` keeps to, unless the stored ones are more."""
    grid: Literal["read", "official"] = "read"
    """Where `encode` writes parts: on the grid that `decode` reads, or on that of the authors' code, which differs
    from it when the size is not a multiple of the factor (then parts overlap their neighbours' crops)."""
    order: Literal["rows", "columns"] = "rows"
    """How crops are counted: row by row (IDC, DSDM), or column by column (IDM)."""
    resample: Literal["nearest", "bilinear"] = "nearest"
    """How `encode` makes images smaller: by nearest neighbour (IDC, DSDM), or bilinear (IDM)."""
    pad: float = 0.5
    """Value of the rows and columns that `decode` adds where the size is no multiple of the factor, in the space of
    the stored values: 0.5 is mid-grey in [0, 1] (IDC); 0 is silence in IDC's spectrograms, and the mean colour in
    normalized space."""

    def check(self, context: Context) -> None:
        """The factor must leave at least two pixels per crop."""
        spec = context.spec
        side = min(spec.height, spec.width)
        if not 1 <= self.factor <= side // 2:
            raise InputError(
                f"parametrization 'partition' cannot cut {spec.height}x{spec.width} images with factor {self.factor}; "
                f"use a factor from 1 to {max(1, side // 2)}."
            )

        if self.kind != "single" and self.axes != "both":
            raise InputError(
                f"parametrization 'partition' cuts only columns with kind 'single'; set kind to it or axes to 'both', "
                f"not {self.kind} and {self.axes}."
            )
        if self.bound < 1:
            raise InputError(f"parametrization 'partition' needs a bound of at least 1, not {self.bound}.")
        if not math.isfinite(self.pad):
            raise InputError(f"parametrization 'partition' needs a finite pad, not {self.pad}.")

    def parts(self, ipc: int) -> int:
        """``ipc * factor ** 2``, or ``ipc * factor`` when only the width is cut; more or fewer for other kinds."""
        return len(partition.stored_rows(ipc, self.factor, self.kind, bound=self.bound, axes=self.axes))

    def decode(self, stored: Tensor) -> Tensor:
        """Crops in crop-major order: the first crop of all images, then the second of all, ..."""
        match self.kind:
            case "single":
                return partition.decode(stored, self.factor, axes=self.axes, order=self.order, pad=self.pad)
            case "multi":
                return partition.decode_multi(stored, self.factor, order=self.order, pad=self.pad)
            case "bound":
                return partition.decode_bound(stored, self.factor, self.bound, order=self.order, pad=self.pad)

    def encode(self, images: Tensor, ipc: int) -> Tensor:
        """Source image ``k * n + i`` becomes part k of stored image i, made smaller.

        Stored images that are decoded in several ways (``multi``) hold the images of the largest factor.
        """
        pack = functools.partial(partition.encode, grid=self.grid, order=self.order, resample=self.resample)
        match self.kind:
            case "single":
                return pack(images, self.factor, axes=self.axes)
            case "multi":
                return pack(images[-ipc * self.factor**2 :], self.factor)
            case "bound":
                plan = partition.bound_plan(ipc, self.factor, self.bound)
                blocks = images.split([taken * each**2 for each, taken in plan])
                return torch.cat([pack(some, each) for some, (each, _) in zip(blocks, plan, strict=True)])
