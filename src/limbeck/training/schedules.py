"""How the step size goes over a training."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from limbeck.core.errors import InputError

__all__ = ["CONSTANT", "Schedule"]


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """How the step size goes over a training, epoch by epoch."""

    kind: Literal["constant", "cosine", "cosine_to_half"] = "constant"
    """Constant, half a cosine from the full step size to 0, or the first half of that one, to half the step size."""
    warmup: int = 0
    """Epochs before it, over which the step size rises linearly; they are part of the training's epochs."""
    warmup_factor: float = 0.01
    """Share of the step size that it rises from."""

    def check(self, where: str) -> None:
        """Refuse values that cannot be.

        Args:
            where: what errors call the owner of these settings, for example ``the teacher``.

        Raises:
            InputError: a value is out of its range.
        """
        if self.warmup < 0 or not 0 < self.warmup_factor <= 1:
            raise InputError(
                f"the schedule of {where} needs warmup >= 0 and 0 < warmup_factor <= 1, not {self.warmup} and "
                f"{self.warmup_factor}."
            )

    def factor(self, epoch: int, epochs: int) -> float:
        """What the step size is multiplied by in an epoch.

        A cosine gives ``(1 + cos(pi e / E)) / 2``, counted from the end of the warm-up: 1 in the first epoch, and never
        quite 0, which would come after the last one. ``cosine_to_half`` gives ``(1 + cos(pi e / 2E)) / 2``.

        Args:
            epoch: which epoch, from 0.
            epochs: epochs of the whole training.
        """
        if epoch < self.warmup:
            return self.warmup_factor + (1 - self.warmup_factor) * epoch / self.warmup
        if self.kind == "constant":
            return 1.0
        if epoch >= epochs:
            return 0.0 if self.kind == "cosine" else 0.5
        reach = 1.0 if self.kind == "cosine" else 0.5
        return 0.5 * (1 + math.cos(reach * math.pi * (epoch - self.warmup) / (epochs - self.warmup)))


CONSTANT = Schedule()
"""The step size as it is, from the first epoch to the last."""
