"""The augmentation under which DC judges sets of MNIST and networks with batch norm."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from torch import Tensor

from limbeck.core.batch import Draws
from limbeck.core.context import Context
from limbeck.core.contracts import Augmentation
from limbeck.core.errors import InputError, unknown
from limbeck.core.streams import Stream
from limbeck.ops import dc_transforms, transforms

__all__ = ["DCAugment"]

Operation = Literal["crop", "scale", "rotate", "noise"]

_PADDING = 4
_SCALE = 0.2
_DEGREES = 45
_NOISE = 0.001


@dataclass(frozen=True, kw_only=True)
class DCAugment(Augmentation):
    """Every image undergoes one of the listed operations, each as likely, with numbers of its own.

    * crop: a random window of the image padded by 4 pixels; first rows and columns 0 to 7, so that the last of the 9
      windows is never taken. The padding is the mean of each channel over the batch.
    * scale: height and width to ``int`` of 0.8 to 1.2 times theirs, by the nearest pixel, padded with zero (normalized
      space, so the mean colour of the data); the centre is kept.
    * rotate: by whole degrees from -45 to 44 with cubic splines; the centre is kept. The corners are filled with one
      number, the mean of the channels' means, which for one channel is the same as the mean of each.
    * noise: standard deviation 0.001 in normalized space.

    Means are those of the batch before any of it is changed. For network training only: what fills an image depends on
    its batch, so the two sides of a matching would not be treated alike. Zhao, Mopuri and Bilen, "Dataset condensation
    with gradient matching", ICLR 2021; all numbers are those of the authors' code.
    """

    references = ("zhao2021dc",)

    operations: tuple[Operation, ...] = ("crop", "scale", "rotate")
    """What may be applied: any of crop, scale, rotate and noise."""

    def offers(self) -> frozenset[str]:
        """Nothing to a matching."""
        return frozenset()

    def check(self, context: Context) -> None:
        """Refuse to be the augmentation that two sides share."""
        raise _unshared()

    def draw(self, stream: Stream, shape: tuple[int, int, int], batch: int | None) -> Draws:
        """Which operation for each image, and the numbers of all listed operations for each.

        Raises:
            InputError: an operation is unknown or named twice, there is none, or one set of numbers is to be shared.
        """
        if not self.operations or len(set(self.operations)) < len(self.operations):
            raise InputError("augmentation 'dc_augment' needs at least one operation, each named once.")
        for name in self.operations:
            if name not in get_args(Operation):
                raise unknown("operation of augmentation 'dc_augment'", name, get_args(Operation))
        if batch is None:
            raise _unshared()
        draws: Draws = {"operation": stream.integers(0, len(self.operations) - 1, batch)}
        for name in self.operations:
            match name:
                case "crop":
                    draws["crop_rows"] = stream.integers(0, 2 * _PADDING - 1, batch)
                    draws["crop_columns"] = stream.integers(0, 2 * _PADDING - 1, batch)
                case "scale":
                    draws["scale_rows"] = 1 - _SCALE + 2 * _SCALE * stream.uniform(batch)
                    draws["scale_columns"] = 1 - _SCALE + 2 * _SCALE * stream.uniform(batch)
                case "rotate":
                    draws["rotate"] = stream.integers(-_DEGREES, _DEGREES - 1, batch)
                case "noise":
                    draws["noise"] = stream.normal(batch, *shape)
        return draws

    def apply(self, images: Tensor, draws: Draws) -> Tensor:
        """The operation of each image."""
        means, changed = images.mean(dim=(0, 2, 3)), images
        for number, name in enumerate(self.operations):
            rows = (draws["operation"] == number).nonzero().squeeze(1)
            if len(rows):
                where = rows.to(images.device)
                own = {key: values[rows] for key, values in draws.items()}
                changed = changed.index_copy(0, where, _apply(name, images[where], own, means))
        return changed


def _apply(name: Operation, images: Tensor, draws: Draws, means: Tensor) -> Tensor:
    """One operation, with the batch's mean of each channel ``[C]``."""
    match name:
        case "crop":
            return transforms.crop(images, draws["crop_rows"] - _PADDING, draws["crop_columns"] - _PADDING, means)
        case "scale":
            return dc_transforms.scale(images, draws["scale_rows"], draws["scale_columns"])
        case "rotate":
            return dc_transforms.rotate(images, draws["rotate"], means.mean())
        case "noise":
            return images + _NOISE * draws["noise"].to(images)


def _unshared() -> InputError:
    return InputError(
        "augmentation 'dc_augment' is for the training of networks and cannot be shared by the two sides of a "
        "matching; use 'dsa_augment' or 'idc_augment' here."
    )
