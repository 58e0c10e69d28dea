"""The augmentation of DSA: one token of a list at a time, the same for both sides."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal, get_args

from torch import Tensor

from limbeck.core.batch import Draws
from limbeck.core.contracts import Augmentation
from limbeck.core.errors import InputError, unknown
from limbeck.core.streams import Stream
from limbeck.data import changes_when_mirrored
from limbeck.ops import transforms

__all__ = ["DSAAugment", "strategy"]

Token = Literal["color", "crop", "cutout", "flip", "scale", "rotate"]


@dataclass(frozen=True, kw_only=True)
class DSAAugment(Augmentation):
    """One of the listed tokens is drawn for the whole batch, or all of them are applied in the order of the list.

    Matching draws one set of numbers for real and synthetic images together (*siamese*), network training one per
    image. Zhao and Bilen, "Dataset condensation with differentiable siamese augmentation", ICML 2021, section 3.
    """

    references = ("zhao2021dsa",)

    tokens: tuple[Token, ...] = ("color", "crop", "cutout", "flip", "scale", "rotate")
    """What may be applied. Color is brightness, saturation and contrast; crop shifts by up to an eighth of the size."""
    mode: Literal["single", "multiple"] = "single"
    """One token per use, as published, or all of them."""

    def draw(self, stream: Stream, shape: tuple[int, int, int], batch: int | None) -> Draws:
        """Numbers of the token that will be applied, or of all."""
        if not self.tokens or len(set(self.tokens)) < len(self.tokens):
            raise InputError("augmentation 'dsa_augment' needs at least one token, each named once.")
        for name in self.tokens:
            if name not in get_args(Token):
                raise unknown("token of augmentation 'dsa_augment'", name, get_args(Token))
        size = () if batch is None else (batch,)
        _, height, width = shape
        applied = self.tokens
        if self.mode == "single":
            applied = (self.tokens[int(stream.integers(0, len(self.tokens) - 1))],)
        draws: Draws = {}
        for token in applied:
            match token:
                case "color":
                    draws.update({name: stream.uniform(*size) for name in ("brightness", "saturation", "contrast")})
                case "crop":
                    rows, columns = transforms.shift_limit(height), transforms.shift_limit(width)
                    draws["crop_rows"] = stream.integers(-rows, rows, *size)
                    draws["crop_columns"] = stream.integers(-columns, columns, *size)
                case "cutout":
                    draws["cutout_rows"] = stream.integers(0, transforms.cutout_limit(height), *size)
                    draws["cutout_columns"] = stream.integers(0, transforms.cutout_limit(width), *size)
                case "flip":
                    draws["flip"] = stream.uniform(*size)
                case "scale":
                    draws["scale_x"], draws["scale_y"] = stream.uniform(*size), stream.uniform(*size)
                case "rotate":
                    draws["rotate"] = stream.uniform(*size)
        return draws

    def apply(self, images: Tensor, draws: Draws) -> Tensor:
        """The operations whose numbers were drawn, token by token."""
        for token in self.tokens:
            for names, operation in _OPERATIONS[token]:
                if names[0] in draws:
                    images = operation(images, *(draws[name].to(images.device) for name in names))
        return images


_OPERATIONS: dict[str, tuple[tuple[tuple[str, ...], Callable[..., Tensor]], ...]] = {
    "color": (
        (("brightness",), transforms.brightness),
        (("saturation",), transforms.saturation),
        (("contrast",), transforms.contrast),
    ),
    "crop": ((("crop_rows", "crop_columns"), transforms.crop),),
    "cutout": ((("cutout_rows", "cutout_columns"), transforms.cutout),),
    "flip": ((("flip",), transforms.flip),),
    "scale": ((("scale_x", "scale_y"), transforms.scale),),
    "rotate": ((("rotate",), transforms.rotate),),
}


def strategy(data: str) -> DSAAugment:
    """DSA's whole strategy for a data set of this name, in any spelling: digits are never mirrored."""
    whole = DSAAugment()
    if not changes_when_mirrored(data):
        return whole
    return replace(whole, tokens=tuple(token for token in whole.tokens if token != "flip"))
