"""Soft labels in fewer bytes: rounding of logits, and keeping only the likeliest classes.

What is kept of each row is enough to give logits back. Adding one number to all logits of a row changes no probability,
so that eight bits need a scale and no offset.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from limbeck.core.errors import InputError, RunError, unknown

__all__ = ["Compression", "bytes_per_image", "compress", "restore"]

Numbers = Literal["float32", "float16", "int8"]

_TYPES: dict[str, torch.dtype] = {"float32": torch.float32, "float16": torch.float16, "int8": torch.int8}
_SHORT = {"fp32": "float32", "fp16": "float16", "int8": "int8"}
_LEVELS = 127
"""Steps of an eight-bit number to each side of zero."""


@dataclass(frozen=True, kw_only=True)
class Compression:
    """What is kept of a teacher's logits."""

    numbers: Numbers = "float16"
    """How a logit is written; float32 is exact, int8 has one scale for each image."""
    top: int = 0
    """Above 0: only so many of the likeliest classes keep their logits, and what probability is left at the protocol's
    temperature is spread evenly over the others."""

    def check(self) -> None:
        """Refuse values that cannot be.

        Raises:
            InputError: there is no such kind of number, or ``top`` is negative.
        """
        if self.numbers not in _TYPES:
            raise unknown("kind of number", self.numbers, _TYPES)
        if self.top < 0:
            raise InputError(f"compression needs top >= 0 (0 keeps all classes), not {self.top}.")

    @classmethod
    def parse(cls, words: tuple[str, ...]) -> Compression:
        """From words as on the command line: ``fp32``, ``fp16`` or ``int8``, and ``topk:K``.

        Raises:
            InputError: a word is none of these, or one is given twice.
        """
        numbers = [_SHORT[word] for word in words if word in _SHORT]
        tops = [word.removeprefix("topk:") for word in words if word.startswith("topk:")]
        wrong = next((word for word in words if word not in _SHORT and not word.startswith("topk:")), None)
        if wrong is not None:
            raise unknown("compression", wrong, [*_SHORT, "topk:10"])
        if len(numbers) > 1 or len(tops) > 1:
            raise InputError(f"compression takes one kind of number and one topk:K, not '{' '.join(words)}'.")
        if tops and not (tops[0].isdecimal() and int(tops[0]) > 0):
            raise InputError(f"'topk:{tops[0]}' must name a number of classes, for example topk:10.")
        return cls(numbers=numbers[0] if numbers else "float16", top=int(tops[0]) if tops else 0)  # type: ignore[arg-type]

    def __str__(self) -> str:
        """In a few words, for tables: ``float16, top 10``."""
        return self.numbers + (f", top {self.top}" if self.top else "")


def bytes_per_image(compression: Compression, classes: int) -> int:
    """Bytes of one image's labels in one epoch, without what a file adds.

    Args:
        compression: what is kept.
        classes: K.
    """
    kept = min(compression.top, classes) if compression.top else classes
    some = 0 < kept < classes
    size = (kept + some) * torch.empty(0, dtype=_TYPES[compression.numbers]).element_size()
    named = kept * torch.empty(0, dtype=_class_type(classes)).element_size() if some else 0
    return size + named + (4 if compression.numbers == "int8" else 0)


def compress(logits: Tensor, compression: Compression, temperature: float) -> dict[str, Tensor]:
    """What is kept of logits ``[B, K]``, as tensors on the CPU with one row for each image.

    Args:
        logits: of a teacher.
        compression: what is kept.
        temperature: at which probabilities are to be kept; it matters where classes are left out.

    Returns:
        ``values`` ``[B, K]``, or ``[B, top + 1]``, whose last column stands for each of the other classes, with
        ``classes`` ``[B, top]``; for eight bits ``scale`` ``[B]`` as well.

    Raises:
        RunError: a logit is not finite or too large for the numbers.
    """
    values, found = logits.detach().float().cpu(), dict[str, Tensor]()
    count = values.shape[1]
    if not bool(torch.isfinite(values).all()):
        raise RunError("a teacher's logits are not finite; use another teacher.")
    if 0 < compression.top < count:
        values, chosen = _likeliest(values, compression.top, temperature)
        found["classes"] = chosen.to(_class_type(count))
    if compression.numbers == "int8":
        low, high = values.aminmax(dim=1)
        scale = ((high - low) / (2 * _LEVELS)).clamp(min=torch.finfo(torch.float32).tiny)
        middle = (high + low) / 2
        values = ((values - middle.unsqueeze(1)) / scale.unsqueeze(1)).round().clamp(-_LEVELS, _LEVELS)
        found["scale"] = scale
    found["values"] = values.to(_TYPES[compression.numbers])
    if not bool(torch.isfinite(found["values"].float()).all()):
        raise RunError("a teacher's logits are too large for 16 bits; keep them with compression fp32 or int8.")
    return found


def restore(kept: dict[str, Tensor], classes: int) -> Tensor:
    """Logits from what `compress` kept, float32 ``[B, classes]``.

    With eight bits they are those of the teacher up to one number for each row; where classes were left out, the
    probabilities of the others are the teacher's at the temperature that was given.

    Args:
        kept: tensors by name.
        classes: K.
    """
    values = kept["values"].float()
    if "scale" in kept:
        values = values * kept["scale"].unsqueeze(1)
    if "classes" not in kept:
        return values
    others = values[:, -1:].expand(-1, classes).clone()
    return others.scatter_(1, kept["classes"].long(), values[:, :-1])


def _likeliest(logits: Tensor, top: int, temperature: float) -> tuple[Tensor, Tensor]:
    """The ``top`` largest logits and behind them the one that stands for each of the others; and their classes.

    The others' common logit is such that together they have the probability that they had: T times the logarithm of
    the mean of ``exp(logit / T)``.
    """
    best, chosen = logits.topk(top, dim=1)
    left = (logits.double() / temperature).scatter(1, chosen, float("-inf"))
    shared = left.logsumexp(dim=1) - torch.tensor(float(logits.shape[1] - top), dtype=torch.float64).log()
    return torch.cat([best, (temperature * shared).float().unsqueeze(1)], dim=1), chosen


def _class_type(classes: int) -> torch.dtype:
    """The smallest type that holds the numbers of all classes."""
    if classes <= 256:
        return torch.uint8
    return torch.int16 if classes <= 32768 else torch.int32
