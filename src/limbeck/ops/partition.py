"""Stored images that hold several training images each: packing (encode) and unpacking (decode).

A stored image is a mosaic of ``factor * factor`` parts, each of which becomes a full-size training image.
Parts are counted row by row, and a decoded batch lists part 0 of all stored images, then part 1 of all, and
so on.

References: Kim et al., "Dataset Condensation via Efficient Synthetic-Data Parameterization", ICML 2022
(multi-formation); Zhao et al., "Improved Distribution Matching for Dataset Condensation", CVPR 2023 (the same
with factor 2, parts column by column); IDC's speech code (parts along the time axis only, padded with 0).
"""

from __future__ import annotations

import itertools
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from limbeck.core.errors import InputError

__all__ = [
    "Axes",
    "Grid",
    "Kind",
    "Order",
    "Resample",
    "bound_plan",
    "decode",
    "decode_bound",
    "decode_multi",
    "encode",
    "stored_rows",
]

Axes = Literal["both", "columns"]
"""Which axes are split; ``columns`` is the time axis of a spectrogram."""
Order = Literal["rows", "columns"]
"""How parts are counted: row by row (IDC) or column by column (IDM)."""
Grid = Literal["read", "official"]
"""Where `encode` puts the parts: where `decode` reads them, or where IDC's code writes them."""
Resample = Literal["nearest", "bilinear"]
"""How `encode` makes images smaller: every f-th pixel (IDC), or bilinear, with factor 2 the mean of 2 x 2 (IDM)."""
Kind = Literal["single", "multi", "bound"]
"""`decode`, `decode_multi` or `decode_bound`."""


def decode(x: Tensor, factor: int, *, axes: Axes = "both", order: Order = "rows", pad: float = 0.5) -> Tensor:
    """Cut stored images into parts and enlarge each to full size, bilinear without corner alignment.

    Args:
        x: stored images ``[N, C, H, W]``.
        factor: parts per axis, f; 1 changes nothing.
        axes: ``both`` gives ``f * f`` parts, ``columns`` gives f.
        order: ``rows`` counts parts row by row, ``columns`` column by column.
        pad: value of the rows and columns that are added at the end when f does not divide the size.

    Returns:
        Training images ``[f * f * N, C, H, W]``: part 0 of all images, then part 1 of all, ...
    """
    down, across = _parts(factor, axes)
    count, channels, height, width = x.shape
    if down * across == 1:
        return x
    part_height, part_width = -(-height // down), -(-width // across)
    missing = (0, part_width * across - width, 0, part_height * down - height)
    if any(missing):
        x = functional.pad(x, missing, value=pad)
    mosaic = x.reshape(count, channels, down, part_height, across, part_width)
    parts = mosaic.permute(*((2, 4) if order == "rows" else (4, 2)), 0, 1, 3, 5)
    parts = parts.reshape(down * across * count, channels, part_height, part_width)
    return functional.interpolate(parts, size=(height, width), mode="bilinear", align_corners=False)


def decode_multi(x: Tensor, factor: int, *, order: Order = "rows", pad: float = 0.5) -> Tensor:
    """Decode with each factor from 1 on, one after the other: ``[(1 + 4 + ... + f * f) N, C, H, W]``."""
    return torch.cat([decode(x, each, order=order, pad=pad) for each in range(1, factor + 1)])


def decode_bound(x: Tensor, factor: int, bound: int, *, order: Order = "rows", pad: float = 0.5) -> Tensor:
    """Decode the first images with the largest factor and the next ones with smaller factors, within a bound.

    Args:
        x: stored images of one class ``[N, C, H, W]``.
        factor: the largest factor.
        bound: number of decoded images that should not be exceeded; see `bound_plan`.
        order: as for `decode`.
        pad: as for `decode`.
    """
    plan = bound_plan(x.shape[0], factor, bound)
    blocks = x.split([count for _, count in plan])
    return torch.cat([decode(block, each, order=order, pad=pad) for block, (each, _) in zip(blocks, plan, strict=True)])


def bound_plan(count: int, factor: int, bound: int) -> list[tuple[int, int]]:
    """How many of the stored images are decoded with which factor.

    Args:
        count: stored images of one class.
        factor: the largest factor.
        bound: decoded images of one class; exceeded only when ``count`` alone exceeds it.

    Returns:
        Pairs (factor, number of next stored images), largest factor first; the numbers add up to ``count``.
    """
    plan: list[tuple[int, int]] = []
    left, total = count, 0
    for each in range(factor, 1, -1):
        # Every image that is left needs room for at least itself.
        room = max(bound - total - left, 0)
        taken = min(room // each**2, left)
        if taken:
            plan.append((each, taken))
            left -= taken
            total += taken * each**2
    return [*plan, (1, left)] if left else plan


def stored_rows(count: int, factor: int, kind: Kind = "single", *, bound: int = 128, axes: Axes = "both") -> Tensor:
    """For each decoded image, the stored image it came from, int64.

    ``labels[stored_rows(...)]`` are the labels of the decoded images.

    Args:
        count: stored images that are decoded together.
        factor: the factor, or the largest factor.
        kind: which of the three decodings.
        bound: only for ``bound``.
        axes: only for ``single``.
    """
    rows = torch.arange(count)
    if kind == "single":
        down, across = _parts(factor, axes)
        return rows.repeat(down * across)
    if kind == "multi":
        return rows.repeat(sum(each**2 for each in range(1, factor + 1)))
    plan = bound_plan(count, factor, bound)
    blocks = rows.split([taken for _, taken in plan])
    return torch.cat([block.repeat(each**2) for block, (each, _) in zip(blocks, plan, strict=True)])


def encode(
    parts: Tensor,
    factor: int,
    grid: Grid = "read",
    *,
    axes: Axes = "both",
    order: Order = "rows",
    resample: Resample = "nearest",
) -> Tensor:
    """Pack full-size images into stored ones.

    Source ``k * n + i``, made smaller, becomes part k of stored image i.

    With ``read`` a part lies where `decode` looks for it, clipped at the border, for any size. With
    ``official``, as IDC's code has it, the first ``H mod f`` rows of parts are one pixel higher than the
    others: for sizes where ``H mod f`` is neither 0 nor ``f - 1`` inner parts are then read back with a strip
    of their neighbour.

    Args:
        parts: source images ``[f * f * n, C, H, W]``.
        factor: parts per axis, f.
        grid: ``read`` or ``official``.
        axes: as for `decode`.
        order: as for `decode`.
        resample: how images are made smaller.

    Returns:
        Stored images ``[n, C, H, W]``.
    """
    down, across = _parts(factor, axes)
    total, channels, height, width = parts.shape
    if total % (down * across):
        raise InputError(f"{total} images cannot be packed {down * across} at a time; give a multiple of that number.")
    count = total // (down * across)
    stored = parts.new_zeros(count, channels, height, width)
    sources = parts.reshape(down * across, count, channels, height, width)
    for i, (top, bottom) in enumerate(_spans(height, down, grid)):
        for j, (left, right) in enumerate(_spans(width, across, grid)):
            if bottom > top and right > left:
                source = sources[i * across + j if order == "rows" else j * down + i]
                stored[:, :, top:bottom, left:right] = _shrink(source, (bottom - top, right - left), resample)
    return stored


def _shrink(x: Tensor, size: tuple[int, int], resample: Resample) -> Tensor:
    if resample == "nearest":
        return functional.interpolate(x, size=size, mode="nearest")
    return functional.interpolate(x, size=size, mode="bilinear", align_corners=False)


def _parts(factor: int, axes: Axes) -> tuple[int, int]:
    """Parts along the rows' axis and along the columns' axis."""
    if factor < 1:
        raise InputError(f"a factor of {factor} makes no parts; it must be 1 or more.")
    return (factor, factor) if axes == "both" else (1, factor)


def _spans(size: int, factor: int, grid: Grid) -> list[tuple[int, int]]:
    """First and end pixel of each part along one axis."""
    if grid == "read":
        part = -(-size // factor)
        return [(min(i * part, size), min((i + 1) * part, size)) for i in range(factor)]
    part, larger = divmod(size, factor)
    edges = [i * part + min(i, larger) for i in range(factor + 1)]
    return list(itertools.pairwise(edges))
