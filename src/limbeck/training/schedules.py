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

    kind: Literal["constant", "cosine"] = "constant"
    """Constant, or half a cosine from the full step size to 0."""
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
        quite 0, which would come after the last one.

        Args:
            epoch: which epoch, from 0.
            epochs: epochs of the whole training.
        """
        if epoch < self.warmup:
            return self.warmup_factor + (1 - self.warmup_factor) * epoch / self.warmup
        if self.kind == "constant":
            return 1.0
        if epoch >= epochs:
            return 0.0
        return 0.5 * (1 + math.cos(math.pi * (epoch - self.warmup) / (epochs - self.warmup)))


CONSTANT = Schedule()
"""The step size as it is, from the first epoch to the last."""
