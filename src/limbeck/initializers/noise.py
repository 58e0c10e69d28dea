"""Start from noise."""

from __future__ import annotations

from dataclasses import dataclass

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
    """``unit`` is IDC's, in [0, 1]; ``normalized`` is N(0, 1) after normalization and leaves [0, 1], as DC does."""

    def images(self, context: Context, parametrization: Parametrization, view: View | None) -> Tensor:
        """Noise for every class."""
        shape = (context.ipc, *context.spec.shape)
        classes = [context.streams("initial noise", label).normal(*shape) for label in range(context.spec.classes)]
        noise = torch.stack(classes)
        if self.space == "normalized":
            return context.spec.normalization.invert(noise.to(context.device, context.dtype))
        return (noise / 4 + 0.5).clamp(0, 1).to(context.device, context.dtype)
