"""Adam on stored pixels (SRe2L, DWA)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from limbeck.core.batch import Moment
from limbeck.core.context import Context
from limbeck.core.contracts import ImageOptimizer, State
from limbeck.core.errors import InputError

__all__ = ["Adam"]


@dataclass(frozen=True, kw_only=True)
class Adam(ImageOptimizer):
    """Adam (Kingma and Ba, ICLR 2015) over all stored images that are worked on, with a step size that may fall."""

    references = ("kingma2015adam",)

    lr: float = 0.25
    """Step size at the beginning."""
    betas: tuple[float, float] = (0.5, 0.9)
    """How slowly the averages of gradients and of their squares forget."""
    eps: float = 1e-8
    """Added to the root of the averaged squares."""
    schedule: Literal["cosine", "constant"] = "cosine"
    """Whether the step size falls to 0 over all inner steps, as half a cosine."""
    clamp: bool = True
    """Whether stored images are clamped between black and white after each step."""

    def check(self, context: Context) -> None:
        """All numbers are usable."""
        if not self.lr > 0 or not self.eps > 0 or not all(0 <= beta < 1 for beta in self.betas):
            raise InputError(
                f"optimizer 'adam' needs lr > 0, eps > 0 and betas in [0, 1), not {self.lr}, {self.eps} and "
                f"{self.betas}."
            )

    def step_size(self, moment: Moment) -> float:
        """The step size at an inner step."""
        if self.schedule == "constant":
            return self.lr
        return self.lr * 0.5 * (1 + math.cos(math.pi * moment.progress))

    def bounds(self) -> bool:
        """With ``clamp``."""
        return self.clamp

    def clamps(self) -> bool:
        """With ``clamp``."""
        return self.clamp

    def init(self, context: Context) -> State:
        """Nothing seen yet."""
        nothing = torch.zeros(context.stored_shape, device=context.device, dtype=context.dtype)
        end = nothing.new_full((context.spec.channels, 1, 1), math.inf)
        return {"mean": nothing, "square": nothing.clone(), "steps": 0, "low": -end, "high": end}

    def open_iteration(
        self, state: State, stored: Tensor, low: Tensor, high: Tensor, iteration: int
    ) -> tuple[State, Tensor]:
        """Black and white are remembered; initial images are left as they are."""
        return {**state, "low": low.contiguous(), "high": high.contiguous()}, stored

    def at_turn(self, state: State, stored: Tensor, context: Context) -> Tensor:
        """All classes move together."""
        return stored

    def update(
        self, state: State, stored: Tensor, gradients: Tensor, context: Context, moment: Moment
    ) -> tuple[State, Tensor]:
        """One step on all."""
        first, second = self.betas
        steps = state["steps"] + 1
        mean = torch.lerp(state["mean"], gradients, 1 - first)
        square = state["square"].mul(second).addcmul_(gradients, gradients, value=1 - second)
        spread = square.sqrt().div_(math.sqrt(1 - second**steps)).add_(self.eps)
        stored = torch.addcdiv(stored, mean, spread, value=-self.step_size(moment) / (1 - first**steps))
        if self.clamp:
            stored = stored.clamp(state["low"], state["high"])
        return {**state, "mean": mean, "square": square, "steps": steps}, stored
