"""The augmentation of classifiers of larger pictures: a random window enlarged to the image's size, and a mirror."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from limbeck.core.batch import Draws
from limbeck.core.contracts import Augmentation
from limbeck.core.errors import InputError
from limbeck.core.real import DataSpec
from limbeck.core.streams import Stream
from limbeck.ops import resized_crop, transforms

__all__ = ["ResizedCropFlip"]


@dataclass(frozen=True, kw_only=True)
class ResizedCropFlip(Augmentation):
    """A window of random size, shape and place, enlarged bilinearly to the image's size, then a mirror.

    What nearly all training on ImageNet does (torchvision's ``RandomResizedCrop`` and ``RandomHorizontalFlip``; its
    rounding to whole grey levels on pictures is left out). A shape is drawn up to ten times until its window fits, else
    the largest central window is taken.
    """

    scale: tuple[float, float] = (0.08, 1.0)
    """Smallest and largest share of the image that a window covers."""
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    """Smallest and largest width over height of a window, between which its logarithm is drawn evenly."""
    flip: bool = True
    """Whether every other image is mirrored; not for digits."""

    def fits(self, spec: DataSpec) -> None:
        """Windows are possible."""
        if not (0 < self.scale[0] <= self.scale[1] <= 1 and 0 < self.ratio[0] <= self.ratio[1]):
            raise InputError(
                "augmentation 'resized_crop_flip' needs 0 < scale[0] <= scale[1] <= 1 and 0 < ratio[0] <= ratio[1], "
                f"not {self.scale} and {self.ratio}."
            )

    def draw(self, stream: Stream, shape: tuple[int, int, int], batch: int | None) -> Draws:
        """The window (first row, first column, height, width), and the mirror if there is one."""
        size = () if batch is None else (batch,)
        draws: Draws = {"window": resized_crop.random_windows(stream, batch, shape[1:], self.scale, self.ratio)}
        if self.flip:
            draws["flip"] = stream.uniform(*size)
        return draws

    def apply(self, images: Tensor, draws: Draws) -> Tensor:
        """The window of each image, then mirrored."""
        images = resized_crop.resized_crop(images, draws["window"])
        return transforms.flip(images, draws["flip"]) if "flip" in draws else images
