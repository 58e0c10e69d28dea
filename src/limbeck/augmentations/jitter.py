"""Cyclic shifts, and windows before them: what SRe2L and DWA do to images while they learn them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from limbeck.core.batch import Draws
from limbeck.core.contracts import Augmentation
from limbeck.core.errors import InputError
from limbeck.core.real import DataSpec
from limbeck.core.streams import Stream
from limbeck.ops import resized_crop, transforms

__all__ = ["Jitter"]


@dataclass(frozen=True, kw_only=True)
class Jitter(Augmentation):
    """A random window enlarged to the image's size and a mirror, if asked for, then a shift that wraps around."""

    references = ("yin2023sre2l",)

    shift: int = 4
    """Most pixels that rows and columns are shifted by."""
    both_ways: bool = False
    """Whether shifts go up to the left as well (SRe2L's code for Tiny-ImageNet), or down to the right alone."""
    crop: bool = False
    """Whether a window is taken first: of 8 to 100 % of the area and a shape of 3:4 to 4:3, as torchvision does."""
    flip: bool = False
    """Whether every other draw is mirrored."""

    def fits(self, spec: DataSpec) -> None:
        """The shift is smaller than an image."""
        if not 0 <= self.shift < min(spec.height, spec.width):
            raise InputError(
                f"augmentation 'jitter' shifts images of {spec.height} x {spec.width} by up to {self.shift} pixels; "
                "choose a shift of 0 or more that is smaller."
            )

    def draw(self, stream: Stream, shape: tuple[int, int, int], batch: int | None) -> Draws:
        """Shifts and, if asked for, window and mirror."""
        size = () if batch is None else (batch,)
        draws: Draws = {}
        if self.crop:
            draws["window"] = resized_crop.random_windows(stream, batch, shape[1:], (0.08, 1.0), (3 / 4, 4 / 3))
        if self.flip:
            draws["flip"] = stream.uniform(*size)
        low = -self.shift if self.both_ways else 0
        draws["rows"], draws["columns"] = (stream.integers(low, self.shift, *size) for _ in range(2))
        return draws

    def apply(self, images: Tensor, draws: Draws) -> Tensor:
        """Window, mirror, shift."""
        if "window" in draws:
            images = resized_crop.resized_crop(images, draws["window"])
        if "flip" in draws:
            images = transforms.flip(images, draws["flip"].to(images.device))
        return _rolled(_rolled(images, draws["rows"], 2), draws["columns"], 3)


def _rolled(images: Tensor, shift: Tensor, axis: int) -> Tensor:
    """Images ``[B, C, H, W]`` shifted cyclically along an axis, by one number or by one for each image."""
    if shift.ndim == 0:
        return images.roll(int(shift), axis)
    size = images.shape[axis]
    places = (torch.arange(size) - shift.cpu().unsqueeze(1)) % size
    shape = (-1, 1, size, 1) if axis == 2 else (-1, 1, 1, size)
    return images.gather(axis, places.to(images.device).view(shape).expand_as(images))
