"""How pictures of any size and mode become arrays of one shape.

Letters in shapes: N images, C channels, H rows, W columns.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor

from limbeck.core.errors import InputError

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["Channels", "Fit", "Framing"]

Fit = Literal["crop", "resize"]
Channels = Literal["as-is", "gray", "rgb"]

# The modes whose bytes are what they mean, and what the other 8-bit modes stand for.
_AS_IS = {
    "L": "L",
    "RGB": "RGB",
    "LA": "LA",
    "RGBA": "RGBA",
    "1": "L",
    "P": "RGB",
    "CMYK": "RGB",
    "YCbCr": "RGB",
}
_ORIENTATION = 0x0112


@dataclass(frozen=True, kw_only=True)
class Framing:
    """Size and channels that every image is brought to.

    Args:
        image_size: side of a square, or (height, width); None keeps sizes, which must then be equal.
        fit: ``crop`` scales until the image just covers the size and cuts the middle out; ``resize``
            stretches. Both scale bilinearly with antialiasing.
        channels: ``as-is`` keeps them (palettes become RGB), ``gray`` makes 1 channel by ITU-R 601 luma,
            ``rgb`` makes 3; transparency is dropped by both.

    Raises:
        InputError: a side is below 1, or a word is unknown.
    """

    image_size: int | tuple[int, int] | None = None
    fit: Fit = "crop"
    channels: Channels = "as-is"

    def __post_init__(self) -> None:
        if self.size is not None and min(self.size) < 1:
            raise InputError(f"image_size must be at least 1, not {self.image_size}; set image_size (--image-size)")
        if self.fit not in ("crop", "resize"):
            raise InputError(f"unknown fit '{self.fit}'; known: crop, resize")
        if self.channels not in ("as-is", "gray", "rgb"):
            raise InputError(f"unknown channels '{self.channels}'; known: as-is, gray, rgb")

    @property
    def size(self) -> tuple[int, int] | None:
        """(height, width) of every image, or None."""
        size = self.image_size
        return (size, size) if isinstance(size, int) else size

    def picture(self, picture: Image) -> np.ndarray[Any, Any]:
        """The bytes of one picture: uint8 ``[C, H, W]``.

        Raises:
            InputError: the picture has more than 8 bits per value.
        """
        picture = self._resized(self._converted(_upright(picture)))
        array = np.asarray(picture)
        return array[None] if array.ndim == 2 else array.transpose(2, 0, 1)

    def pixels(self, pixels: Tensor) -> Tensor:
        """The same for images that are arrays already.

        Args:
            pixels: uint8 ``[N, C, H, W]``.

        Returns:
            uint8 ``[N, C', H', W']``, contiguous; the given tensor when there is nothing to do.

        Raises:
            InputError: the channels cannot be made gray or RGB because there are neither 1 nor 3.
        """
        pixels = self._recoloured(pixels)
        if self.size is None or self.size == tuple(pixels.shape[2:]):
            return pixels.contiguous()
        from PIL import Image

        planes = pixels.reshape(-1, *pixels.shape[2:]).numpy()
        scaled = np.stack([np.asarray(self._resized(Image.fromarray(plane))) for plane in planes])
        return torch.from_numpy(scaled).view(len(pixels), -1, *self.size)

    def _converted(self, picture: Image) -> Image:
        target = _AS_IS.get(picture.mode)
        if target is None:
            raise InputError(f"its mode {picture.mode} is not 8 bits per value; convert the images to 8 bits")
        if self.channels != "as-is":
            target = "L" if self.channels == "gray" else "RGB"
        if picture.mode == target:
            return picture
        if picture.mode == "P" and "transparency" in picture.info:
            picture = picture.convert("RGBA")
        return picture.convert(target)

    def _resized(self, picture: Image) -> Image:
        if self.size is None:
            return picture
        high, wide = self.size
        width, height = picture.size
        if (width, height) == (wide, high):
            return picture
        from PIL.Image import Resampling

        if self.fit == "resize":
            return picture.resize((wide, high), Resampling.BILINEAR)
        # Cover the target: the side that needs the larger factor fits exactly, the other is rounded down.
        if high * width >= wide * height:
            cover = (max(wide, high * width // height), high)
        else:
            cover = (wide, max(high, wide * height // width))
        picture = picture.resize(cover, Resampling.BILINEAR)
        left, top = round((cover[0] - wide) / 2), round((cover[1] - high) / 2)
        return picture.crop((left, top, left + wide, top + high))

    def _recoloured(self, pixels: Tensor) -> Tensor:
        wanted = {"as-is": pixels.shape[1], "gray": 1, "rgb": 3}[self.channels]
        have = pixels.shape[1]
        if have == wanted:
            return pixels
        if have not in (1, 3):
            raise InputError(f"images of {have} channels cannot be made {self.channels}; set channels to as-is")
        if wanted == 3:
            return pixels.expand(-1, 3, -1, -1)
        # Luma in 16-bit fixed point, as Pillow computes it for picture files.
        weights = torch.tensor([19595, 38470, 7471], dtype=torch.int32).view(3, 1, 1)
        blocks = [((b.to(torch.int32) * weights).sum(1, keepdim=True) + 0x8000) >> 16 for b in pixels.split(4096)]
        return torch.cat([block.to(torch.uint8) for block in blocks])


def _upright(picture: Image) -> Image:
    """Turn a photograph as its camera says."""
    if "exif" not in picture.info or picture.getexif().get(_ORIENTATION, 1) == 1:
        return picture
    from PIL import ImageOps

    return ImageOps.exif_transpose(picture)
