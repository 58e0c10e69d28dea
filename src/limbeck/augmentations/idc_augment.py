"""The augmentation of IDC and DREAM: colour always, one geometric operation at a time, cutout last."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

from torch import Tensor

from limbeck.core.batch import Draws
from limbeck.core.contracts import Augmentation
from limbeck.core.errors import unknown
from limbeck.core.streams import Stream
from limbeck.ops import transforms

__all__ = ["IDCAugment"]

Operation = Literal["flip", "color", "crop", "scale", "rotate", "translate", "cutout"]
_ALWAYS = ("flip", "color", "cutout")


@dataclass(frozen=True, kw_only=True)
class IDCAugment(Augmentation):
    """Flip, colour and cutout are applied whenever listed; of the other operations one is drawn for the whole batch.

    Order: flip, brightness, saturation, contrast, the drawn operation, cutout. Matching draws one set of numbers for
    real and synthetic images together, network training one per image (IDC's code).
    """

    references = ("zhao2021dsa", "kim2022idc")

    operations: tuple[Operation, ...] = ("color", "crop", "cutout")
    """What is applied; crop and translate shift by up to an eighth of the size, cutout hides a box of half of it."""

    def draw(self, stream: Stream, shape: tuple[int, int, int], batch: int | None) -> Draws:
        """Numbers of the operations that will be applied, in order."""
        for name in self.operations:
            if name not in get_args(Operation):
                raise unknown("operation of augmentation 'idc_augment'", name, get_args(Operation))
        size = () if batch is None else (batch,)
        _, height, width = shape
        draws: Draws = {}
        if "flip" in self.operations:
            draws["flip"] = stream.uniform(*size)
        if "color" in self.operations:
            draws.update({name: stream.uniform(*size) for name in ("brightness", "saturation", "contrast")})
        drawn = [name for name in self.operations if name not in _ALWAYS]
        if drawn:
            match drawn[int(stream.integers(0, len(drawn) - 1))]:
                case "crop":
                    rows, columns = transforms.shift_limit(height), transforms.shift_limit(width)
                    draws["crop_rows"] = stream.integers(-rows, rows, *size)
                    draws["crop_columns"] = stream.integers(-columns, columns, *size)
                case "translate":
                    columns = transforms.shift_limit(width)
                    draws["translate"] = stream.integers(-columns, columns, *size)
                case "scale":
                    draws["scale_x"], draws["scale_y"] = stream.uniform(*size), stream.uniform(*size)
                case "rotate":
                    draws["rotate"] = stream.uniform(*size)
        if "cutout" in self.operations:
            draws["cutout_rows"] = stream.integers(0, transforms.cutout_limit(height), *size)
            draws["cutout_columns"] = stream.integers(0, transforms.cutout_limit(width), *size)
        return draws

    def apply(self, images: Tensor, draws: Draws) -> Tensor:
        """The operations whose numbers were drawn, in order."""
        for names, operation in _ORDER:
            if names[0] in draws:
                numbers = [draws[name].to(images.device) for name in names]
                images = operation(images, *numbers)
        return images


_ORDER: tuple[tuple[tuple[str, ...], Callable[..., Tensor]], ...] = (
    (("flip",), transforms.flip),
    (("brightness",), transforms.brightness),
    (("saturation",), transforms.saturation),
    (("contrast",), transforms.contrast),
    (("crop_rows", "crop_columns"), transforms.crop),
    (("translate",), lambda images, columns: transforms.crop(images, columns * 0, columns)),
    (("scale_x", "scale_y"), transforms.scale),
    (("rotate",), transforms.rotate),
    (("cutout_rows", "cutout_columns"), transforms.cutout),
)
