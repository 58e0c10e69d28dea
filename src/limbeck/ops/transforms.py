"""The differentiable augmentations of DSA and IDC, with their random parameters as arguments.

A parameter is a tensor with one value per image, ``[B]``, or with a single value, ``[]`` or ``[1]``, that all
images share: the shared form is what ties real and synthetic images together ("siamese"). Uniform draws lie
in [0, 1) and are turned into factors here; integer parameters are drawn from the ranges that `shift_limit`
and `cutout_limit` give. Images are in normalized space, so that what is filled with zero has the mean colour.

References: Zhao and Bilen, "Dataset Condensation with Differentiable Siamese Augmentation", ICML 2021; Kim et
al., "Dataset Condensation via Efficient Synthetic-Data Parameterization", ICML 2022.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

__all__ = [
    "brightness",
    "contrast",
    "crop",
    "cutout",
    "cutout_limit",
    "cutout_size",
    "flip",
    "rotate",
    "saturation",
    "scale",
    "shift_limit",
]

_SCALE = 1.2
_DEGREES = 15.0


def shift_limit(size: int) -> int:
    """Largest shift of `crop` along ``size`` pixels: draw from [-limit, limit], both included."""
    return int(size * 0.125 + 0.5)


def cutout_size(size: int, ratio: float = 0.5) -> int:
    """Length of the hole that `cutout` makes along an axis of ``size`` pixels."""
    return int(size * ratio + 0.5)


def cutout_limit(size: int, ratio: float = 0.5) -> int:
    """Largest centre of `cutout` along ``size`` pixels: draw from [0, limit], both included."""
    return size - cutout_size(size, ratio) % 2


def brightness(x: Tensor, u: Tensor) -> Tensor:
    """Add ``u - 0.5``.

    Args:
        x: images ``[B, C, H, W]``.
        u: uniform draws ``[B]`` or ``[]``.
    """
    return x + _factor(u - 0.5, x)


def saturation(x: Tensor, u: Tensor) -> Tensor:
    """Stretch the channels about their mean at each pixel, by ``2 u``.

    Args:
        x: images ``[B, C, H, W]``.
        u: uniform draws ``[B]`` or ``[]``.
    """
    mean = x.mean(dim=1, keepdim=True)
    return (x - mean) * _factor(2 * u, x) + mean


def contrast(x: Tensor, u: Tensor) -> Tensor:
    """Stretch each image about the mean of all its values, by ``u + 0.5``.

    Args:
        x: images ``[B, C, H, W]``.
        u: uniform draws ``[B]`` or ``[]``.
    """
    mean = x.mean(dim=(1, 2, 3), keepdim=True)
    return (x - mean) * _factor(u + 0.5, x) + mean


def flip(x: Tensor, u: Tensor) -> Tensor:
    """Mirror the columns where ``u < 0.5``.

    Args:
        x: images ``[B, C, H, W]``.
        u: uniform draws ``[B]`` or ``[]``.
    """
    mirrored = (u < 0.5).to(x.device).reshape(-1, 1, 1, 1)
    return torch.where(mirrored, x.flip(3), x)


def crop(x: Tensor, rows: Tensor, cols: Tensor, fill: Tensor | None = None) -> Tensor:
    """Shift the images: ``out[r, c] = x[r + rows, c + cols]``, and a fill where that lies outside.

    IDC's translation is the same with ``rows`` zero.

    Args:
        x: images ``[B, C, H, W]``.
        rows: integer shifts ``[B]`` or ``[]``, from ``shift_limit(H)``.
        cols: integer shifts ``[B]`` or ``[]``, from ``shift_limit(W)``.
        fill: one value per channel ``[C]``; zero by default.
    """
    height, width = x.shape[2:]
    down, above = _source(rows, height, x.device)
    across, beside = _source(cols, width, x.device)
    # One gather over flattened pixels is several times faster than an index per axis, forward and backward.
    index = (down.unsqueeze(2) * width + across.unsqueeze(1)).flatten(1).unsqueeze(1)
    moved = x.flatten(2).gather(2, index.expand(x.shape[0], x.shape[1], -1)).view(x.shape)
    outside = (above.unsqueeze(2) | beside.unsqueeze(1)).unsqueeze(1)
    return moved.masked_fill(outside, 0.0) if fill is None else torch.where(outside, fill.view(-1, 1, 1), moved)


def cutout(x: Tensor, centre_rows: Tensor, centre_cols: Tensor, ratio: float = 0.5) -> Tensor:
    """Set a rectangle to zero; the part of it that lies outside the image is pressed onto the border.

    Args:
        x: images ``[B, C, H, W]``.
        centre_rows: integer centres ``[B]`` or ``[]``, from ``cutout_limit(H)``.
        centre_cols: integer centres ``[B]`` or ``[]``, from ``cutout_limit(W)``.
        ratio: side of the rectangle over side of the image.
    """
    rows = _hole(centre_rows, x.shape[2], ratio, x.device)
    cols = _hole(centre_cols, x.shape[3], ratio, x.device)
    return x.masked_fill((rows[:, :, None] & cols[:, None, :]).unsqueeze(1), 0.0)


def scale(x: Tensor, ux: Tensor, uy: Tensor, align_corners: bool = False) -> Tensor:
    """Stretch each axis by its own factor, ``u (1.2 - 1/1.2) + 1/1.2``.

    The factor stretches the grid on which the image is read: above one the content shrinks.

    Args:
        x: images ``[B, C, H, W]``.
        ux: uniform draws ``[B]`` or ``[]`` for the column axis.
        uy: uniform draws ``[B]`` or ``[]`` for the row axis.
        align_corners: the convention of the authors' PyTorch 1.2; today's default is False.
    """
    across, down = (u.reshape(-1) * (_SCALE - 1 / _SCALE) + 1 / _SCALE for u in (ux, uy))
    zero = torch.zeros_like(across)
    return _affine(x, (across, zero), (zero, down), align_corners)


def rotate(x: Tensor, u: Tensor, align_corners: bool = False) -> Tensor:
    """Rotate by ``(2 u - 1)`` times 15 degrees.

    Args:
        x: images ``[B, C, H, W]``.
        u: uniform draws ``[B]`` or ``[]``.
        align_corners: the convention of the authors' PyTorch 1.2; today's default is False.
    """
    angle = (u.reshape(-1) - 0.5) * (2 * math.radians(_DEGREES))
    return _affine(x, (angle.cos(), -angle.sin()), (angle.sin(), angle.cos()), align_corners)


def _factor(values: Tensor, x: Tensor) -> Tensor:
    """Values ``[B]`` or ``[]`` as a factor ``[B or 1, 1, 1, 1]`` of the images."""
    return values.to(device=x.device, dtype=x.dtype).reshape(-1, 1, 1, 1)


def _source(shifts: Tensor, size: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Where each row (or column) is read, and whether that lies outside, both ``[B or 1, size]``."""
    source = torch.arange(size, device=device) + shifts.to(device).reshape(-1, 1)
    return source.clamp(0, size - 1), (source < 0) | (source >= size)


def _hole(centres: Tensor, size: int, ratio: float, device: torch.device) -> Tensor:
    """Which rows (or columns) the hole covers, ``[B or 1, size]``."""
    length = cutout_size(size, ratio)
    position = torch.arange(size, device=device)
    if length == 0:
        return torch.zeros(1, size, dtype=torch.bool, device=device)
    first = centres.to(device).reshape(-1, 1) - length // 2
    last = first + length - 1
    return (position >= first.clamp(0, size - 1)) & (position <= last.clamp(0, size - 1))


def _affine(x: Tensor, across: tuple[Tensor, Tensor], down: tuple[Tensor, Tensor], align_corners: bool) -> Tensor:
    """Sample at ``theta (column, row, 1)``, bilinear, zero outside; theta's two rows come without shift."""
    zero = torch.zeros_like(across[0])
    theta = torch.stack((torch.stack((*across, zero), -1), torch.stack((*down, zero), -1)), -2)
    theta = theta.to(device=x.device, dtype=x.dtype)
    grid = functional.affine_grid(theta, [theta.shape[0], *x.shape[1:]], align_corners=align_corners)
    return functional.grid_sample(
        x,
        grid.expand(x.shape[0], -1, -1, -1),
        mode="bilinear",
        padding_mode="zeros",
        align_corners=align_corners,
    )
