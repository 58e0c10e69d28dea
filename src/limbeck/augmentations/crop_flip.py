"""The augmentation of classifiers of small pictures: a shift with a black border, and a mirror."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from limbeck.core.batch import Draws
from limbeck.core.contracts import Augmentation
from limbeck.core.errors import InputError
from limbeck.core.real import DataSpec, Normalization
from limbeck.core.streams import Stream
from limbeck.ops import transforms

__all__ = ["CropFlip"]


@dataclass(frozen=True, kw_only=True)
class CropFlip(Augmentation):
    """A window of the image's own size out of the image with a black border, then a mirror.

    What nearly all training on CIFAR does (torchvision's ``RandomCrop`` with padding and ``RandomHorizontalFlip`` on
    pictures). The border is black before normalization, which is not zero after it: ``mean`` and ``std`` say what black
    has become. Left empty they are those of the data.
    """

    padding: int = 4
    """Pixels of the border; windows are shifted by up to as many in each direction."""
    flip: bool = True
    """Whether every other image is mirrored; not for digits."""
    mean: tuple[float, ...] = ()
    """Mean of each channel by which images are normalized; empty takes the data's."""
    std: tuple[float, ...] = ()
    """Standard deviation of each channel by which images are normalized; empty takes the data's."""

    def fits(self, spec: DataSpec) -> None:
        """The border is no wider than the image, and the normalization is that of the data."""
        if not 0 <= self.padding <= min(spec.height, spec.width):
            raise InputError(
                f"augmentation 'crop_flip' needs 0 <= padding <= {min(spec.height, spec.width)}, the side of an image "
                f"of '{spec.name}', not {self.padding}."
            )
        known = spec.normalization
        if known.whitening is not None and self.padding:
            raise InputError(
                f"augmentation 'crop_flip' fills its border with black, and the images of '{spec.name}' are whitened, "
                "where black is no number; set its padding to 0, use 'dsa_augment', or load them with --normalization "
                "measured."
            )
        if (self.mean or self.std) and (tuple(self.mean), tuple(self.std)) != (tuple(known.mean), tuple(known.std)):
            raise InputError(
                f"augmentation 'crop_flip' is set to another normalization than that of '{spec.name}'; leave its mean "
                "and std empty, which takes that of the data."
            )

    def bound(self, spec: DataSpec) -> CropFlip:
        """The same that knows what black is."""
        return replace(self, mean=spec.normalization.mean, std=spec.normalization.std)

    def draw(self, stream: Stream, shape: tuple[int, int, int], batch: int | None) -> Draws:
        """The shift in rows and columns, and the mirror if there is one.

        Raises:
            InputError: what black is in normalized space is not known.
        """
        if len(self.mean) != shape[0] or len(self.std) != shape[0]:
            raise InputError(
                f"augmentation 'crop_flip' needs mean and std of each of {shape[0]} channels, not {self.mean} and "
                f"{self.std}; take those by which the images are normalized."
            )
        size = () if batch is None else (batch,)
        draws: Draws = {
            "rows": stream.integers(-self.padding, self.padding, *size),
            "columns": stream.integers(-self.padding, self.padding, *size),
        }
        if self.flip:
            draws["flip"] = stream.uniform(*size)
        return draws

    def apply(self, images: Tensor, draws: Draws) -> Tensor:
        """Shifted, then mirrored."""
        black = Normalization(self.mean, self.std).apply(
            torch.zeros(len(self.mean), 1, 1, dtype=images.dtype, device=images.device)
        )
        rows, columns = draws["rows"].to(images.device), draws["columns"].to(images.device)
        images = transforms.crop(images, rows, columns, black.flatten())
        return transforms.flip(images, draws["flip"]) if "flip" in draws else images
