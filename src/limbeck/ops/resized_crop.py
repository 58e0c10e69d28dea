"""Windows of random size and shape, enlarged to the whole image ("random resized crop").

Szegedy et al., "Going deeper with convolutions", CVPR 2015, in the form that torchvision gave it.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from limbeck.core.streams import Stream

__all__ = ["ATTEMPTS", "random_windows", "resized_crop", "windows"]

ATTEMPTS = 10
"""Windows that are tried before the whole image is taken."""


def random_windows(
    stream: Stream, batch: int | None, size: tuple[int, int], scale: tuple[float, float], ratio: tuple[float, float]
) -> Tensor:
    """`windows` of numbers from a stream.

    Args:
        stream: source of randomness.
        batch: images, each with a window of its own, or None for one that all share.
        size: height and width of the image.
        scale: smallest and largest share of the image's area.
        ratio: smallest and largest width over height.

    Returns:
        First row, first column, height and width, int64 ``[batch, 4]`` or ``[4]``.
    """
    each = () if batch is None else (batch,)
    area, aspect = (stream.uniform(*each, ATTEMPTS) for _ in range(2))
    return windows(area, aspect, stream.uniform(*each, 2), size, scale, ratio)


def windows(
    area: Tensor,
    aspect: Tensor,
    place: Tensor,
    size: tuple[int, int],
    scale: tuple[float, float],
    ratio: tuple[float, float],
) -> Tensor:
    """The first window of each row that fits into the image; the largest central one within ``ratio`` if none does.

    Args:
        area: uniform draws in [0, 1), ``[..., ATTEMPTS]``, spread over ``scale``.
        aspect: uniform draws ``[..., ATTEMPTS]``, spread over the logarithm of ``ratio``.
        place: uniform draws ``[..., 2]`` for the first row and column.
        size: height and width of the image.
        scale: smallest and largest share of the image's area.
        ratio: smallest and largest width over height.

    Returns:
        First row, first column, height and width, int64 ``[..., 4]``.
    """
    height, width = size
    pixels = height * width * (scale[0] + (scale[1] - scale[0]) * area)
    low, high = math.log(ratio[0]), math.log(ratio[1])
    shape = torch.exp(low + (high - low) * aspect)
    broad, tall = (pixels * shape).sqrt().round().long(), (pixels / shape).sqrt().round().long()
    fits = (broad > 0) & (broad <= width) & (tall > 0) & (tall <= height)
    first = fits.long().argmax(dim=-1, keepdim=True)
    broad, tall = broad.gather(-1, first).squeeze(-1), tall.gather(-1, first).squeeze(-1)
    top = (place[..., 0] * (height - tall + 1)).long()
    left = (place[..., 1] * (width - broad + 1)).long()
    found = torch.stack((top, left, tall, broad), dim=-1)
    return torch.where(fits.any(dim=-1, keepdim=True), found, _central(size, ratio))


def resized_crop(x: Tensor, window: Tensor) -> Tensor:
    """The window of each image, enlarged bilinearly to the size of the image; differentiable.

    Pixels are squares (``align_corners=False``) and nothing outside the window is read. A window is never larger than
    the image, so that antialiasing would change nothing.

    Args:
        x: images ``[B, C, H, W]``.
        window: first row, first column, height and width, int64 ``[B, 4]`` or ``[4]``.
    """
    if window.ndim == 1:
        top, left, tall, broad = window.tolist()
        part = x[..., top : top + tall, left : left + broad]
        return F.interpolate(part, x.shape[-2:], mode="bilinear", align_corners=False)
    top, left, tall, broad = window.to(x.device).reshape(-1, 4, 1).unbind(1)
    x = _stretch(x, top, tall, 2)
    return _stretch(x, left, broad, 3)


def _central(size: tuple[int, int], ratio: tuple[float, float]) -> Tensor:
    """The largest window in the middle whose shape is allowed."""
    height, width = size
    tall, broad = height, width
    if width / height < ratio[0]:
        tall = round(width / ratio[0])
    elif width / height > ratio[1]:
        broad = round(height * ratio[1])
    return torch.tensor([(height - tall) // 2, (width - broad) // 2, tall, broad])


def _stretch(x: Tensor, first: Tensor, length: Tensor, axis: int) -> Tensor:
    """Read ``length`` pixels from ``first`` on, both ``[B or 1, 1]``, along an axis, at as many places as it has."""
    size = x.shape[axis]
    centres = torch.arange(size, device=x.device, dtype=torch.float64) + 0.5
    place = (centres * length / size - 0.5).clamp(min=0)
    lower = place.floor().long().minimum(length - 1)
    upper = (lower + 1).minimum(length - 1)
    shape = (-1, 1, size, 1) if axis == 2 else (-1, 1, 1, size)
    between = (place - lower).to(x.dtype).view(shape)
    near, far = (x.gather(axis, (first + index).view(shape).expand_as(x)) for index in (lower, upper))
    return near + between * (far - near)
