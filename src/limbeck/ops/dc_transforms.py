"""The transformations that DC trains under when it judges a set, with their random parameters as arguments.

Parameters are tensors with one value per image, ``[B]``. Images are in normalized space. Crop is that of
`limbeck.ops.transforms` with a fill; everything is differentiable in the images.

References: Zhao, Mopuri and Bilen, "Dataset Condensation with Gradient Matching", ICLR 2021, and its code; Unser,
"Splines: a perfect fit for signal and image processing", IEEE Signal Processing Magazine 1999 (cubic splines).
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["rotate", "scale"]


def scale(x: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Stretch the images to ``int(factor * size)`` pixels by the nearest pixel, pad with zero, cut out the centre.

    The stretched image and the window lie in the middle of a square whose side is the largest of all four sides; an
    odd pixel that is left over lies below, or to the right.

    Args:
        x: images ``[B, C, H, W]``.
        rows: factors of the height ``[B]``, above ``1 / H``.
        columns: factors of the width ``[B]``, above ``1 / W``.
    """
    height, width = x.shape[2:]
    tall, broad = ((rows * height).long().to(x.device), (columns * width).long().to(x.device))
    square = torch.maximum(tall, broad).clamp(min=max(height, width))
    down, above = _nearest(tall, square, height)
    across, beside = _nearest(broad, square, width)
    index = (down.unsqueeze(2) * width + across.unsqueeze(1)).flatten(1).unsqueeze(1)
    moved = x.flatten(2).gather(2, index.expand(-1, x.shape[1], -1)).view(x.shape)
    return moved.masked_fill((above.unsqueeze(2) | beside.unsqueeze(1)).unsqueeze(1), 0.0)


def rotate(x: Tensor, degrees: Tensor, fill: Tensor) -> Tensor:
    """Rotate by cubic splines onto a canvas that holds the whole image, and cut out its centre.

    The canvas has its sides rounded to whole pixels, so that its centre may lie half a pixel beside the image's. What
    is read from outside the outermost pixel centres is ``fill``. The same numbers as ``scipy.ndimage.rotate`` with
    its defaults.

    Args:
        x: images ``[B, C, H, W]``, at least 2 pixels a side.
        degrees: angles ``[B]``, counter-clockwise.
        fill: a scalar.
    """
    height, width = x.shape[2:]
    angle = torch.deg2rad(degrees.to(x.device, torch.float64)).view(-1, 1, 1)
    cosine, sine = angle.cos(), angle.sin()
    down = _from_centre(cosine.abs() * height + sine.abs() * width, height).transpose(1, 2)
    across = _from_centre(sine.abs() * height + cosine.abs() * width, width)
    rows = cosine * down + sine * across + (height - 1) / 2
    columns = cosine * across - sine * down + (width - 1) / 2
    outside = (rows < 0) | (rows > height - 1) | (columns < 0) | (columns > width - 1)
    coefficients = (_spline_filter(height, x) @ x @ _spline_filter(width, x).T).flatten(2)
    total = torch.zeros_like(x)
    across_taps = _taps(columns, width, x.dtype)
    for row, by_row in _taps(rows, height, x.dtype):
        along = torch.zeros_like(x)
        for column, by_column in across_taps:
            index = torch.add(column, row, alpha=width).flatten(1).unsqueeze(1).expand(-1, x.shape[1], -1)
            along = along + by_column * coefficients.gather(2, index).view(x.shape)
        total = total + by_row * along
    return torch.where(outside.unsqueeze(1), fill.to(x), total)


def _nearest(stretched: Tensor, square: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Row (or column) of the image that each one of the window shows, and whether it shows none; both ``[B, size]``."""
    window, image = (square - size) // 2, (square - stretched) // 2
    place = torch.arange(size, device=stretched.device) + (window - image).unsqueeze(1)
    stretched = stretched.unsqueeze(1)
    source = (place * size).div(stretched, rounding_mode="floor")
    return source.clamp(0, size - 1), (place < 0) | (place >= stretched)


def _from_centre(length: Tensor, size: int) -> Tensor:
    """Distance of each of the ``size`` pixels in the middle of a canvas from the canvas's centre, ``[B, 1, size]``."""
    canvas = (length + 0.5).floor()
    first = ((canvas - size) / 2).floor() - (canvas - 1) / 2
    return first + torch.arange(size, device=length.device)


def _spline_filter(size: int, like: Tensor) -> Tensor:
    """What makes spline coefficients of ``size`` samples whose ends are mirrors, ``[size, size]``."""
    samples = torch.diag(torch.full((size,), 4 / 6, dtype=torch.float64))
    for offset in (-1, 1):
        samples += torch.diag(torch.full((size - 1,), 1 / 6, dtype=torch.float64), offset)
    samples[0, 1] = samples[-1, -2] = 2 / 6
    return torch.linalg.inv(samples).to(like)


def _taps(place: Tensor, size: int, dtype: torch.dtype) -> list[tuple[Tensor, Tensor]]:
    """The four coefficients around each place ``[B, H, W]`` and their weights ``[B, 1, H, W]`` in the B-spline."""
    first = place.floor()
    t = (place - first).to(dtype).unsqueeze(1)
    weights = (
        (1 - t) ** 3 / 6,
        (3 * t**3 - 6 * t**2 + 4) / 6,
        (3 * (1 - t) ** 3 - 6 * (1 - t) ** 2 + 4) / 6,
        t**3 / 6,
    )
    taps = []
    for offset, weight in enumerate(weights):
        index = (first.long() + offset - 1).abs()
        mirrored = torch.where(index > size - 1, 2 * (size - 1) - index, index)
        taps.append((mirrored.clamp(0, size - 1), weight))
    return taps
