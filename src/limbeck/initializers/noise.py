"""Start from noise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from limbeck.core.batch import View
from limbeck.core.context import Context
from limbeck.core.contracts import Initializer, Parametrization, Space

__all__ = ["Noise"]


@dataclass(frozen=True, kw_only=True)
class Noise(Initializer):
    """Normal noise: around mid-grey, ``clamp(N(0, 1) / 4 + 1 / 2, 0, 1)`` (IDC's code), or as networks see it (DC)."""

    references = ("zhao2021dc", "kim2022idc")

    space: Space = "unit"
    """``unit`` is IDC's, in [0, 1]; ``normalized`` is N(0, 1) after normalization and leaves [0, 1], as DC and SRe2L
    do."""

    by_group: ClassVar[bool] = True

    def images(self, context: Context, parametrization: Parametrization, view: View | None) -> Tensor:
        """Noise for every class."""
        noise = torch.stack([_noise(context, label) for label in context.labels])
        if self.space == "normalized":
            return context.spec.normalization.invert(noise.to(context.device, context.dtype))
        return (noise / 4 + 0.5).clamp(0, 1).to(context.device, context.dtype)


def _noise(context: Context, label: int) -> Tensor:
    """Normal noise of one class, ``[n, C, H, W]``; of groups each image from a stream of its own."""
    if context.group is None:
        return context.streams("initial noise", label).normal(context.ipc, *context.spec.shape)
    streams = (context.streams("initial noise", label, position) for position in context.positions)
    return torch.stack([stream.normal(*context.spec.shape) for stream in streams])
