"""Gradient descent with momentum on stored pixels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from limbeck.core.batch import Moment
from limbeck.core.context import Context
from limbeck.core.contracts import ImageOptimizer, State
from limbeck.core.errors import InputError
from limbeck.ops import momentum

__all__ = ["SGD"]


@dataclass(frozen=True, kw_only=True)
class SGD(ImageOptimizer):
    """Heavy-ball SGD over all stored images; ``turns`` says how often a step is taken in a round.

    With ``turns="class"`` one step is taken on the whole tensor after the gradient of each class, as IDC, DSDM and IDM
    do: a class moves by its gradient at its turn and coasts on its velocity at all others. Coasting has a closed
    form, so all classes of a round are evaluated at once and the result is the same.
    """

    references = ("kim2022idc",)
    added: ClassVar[Mapping[str, Any]] = {"drops": (), "drop_factor": 0.5, "average": 0.0}

    lr: float = 5e-3
    """Step size, before scaling."""
    momentum: float = 0.5
    """Heavy-ball momentum."""
    turns: Literal["class", "joint"] = "class"
    """One step per class, or one for the gradients of all classes together."""
    scale_with_ipc: bool = True
    """Whether the step size is multiplied by ``n / 10`` for n images per class that objectives show together, since
    gradients of a mean shrink as the set grows."""
    reference_size: int = 0
    """Image height at which ``lr`` holds; it is multiplied by ``(height / reference_size) ** 2``. 0: at any size."""
    clamp: Literal["below"] | bool = True
    """Whether stored images are clamped between black and white at the start of each outer iteration; "below" clamps
    from below alone, as IDC does on speech: loudness has no end."""
    drops: tuple[int, ...] = ()
    """Outer iterations from which on the step size is multiplied by ``drop_factor``, once for each."""
    drop_factor: float = 0.5
    """What it is multiplied by."""
    average: float = 0.0
    """Decay d of an average of the images over time, which a run returns instead of the last images (FTD): it begins
    with the initial images, and each round makes it ``d * average + (1 - d) * images``. 0: the last images."""

    def check(self, context: Context) -> None:
        """Step size and momentum are usable."""
        if not self.lr > 0 or not 0 <= self.momentum < 1 or self.reference_size < 0:
            raise InputError(
                f"optimizer 'sgd' needs lr > 0, 0 <= momentum < 1 and reference_size >= 0, not lr {self.lr}, "
                f"momentum {self.momentum}, reference_size {self.reference_size}."
            )
        if not self.drop_factor > 0:
            raise InputError(f"optimizer 'sgd' needs a drop_factor above 0, not {self.drop_factor}.")
        if not 0 <= self.average < 1:
            raise InputError(f"optimizer 'sgd' needs an average of at least 0 and less than 1, not {self.average}.")

    def clamps(self) -> bool:
        """With ``clamp``."""
        return bool(self.clamp)

    def step_size(self, context: Context, iteration: int = 0) -> float:
        """The step size on this data and IPC in an outer iteration."""
        scale = context.shown / 10 if self.scale_with_ipc else 1.0
        if self.reference_size:
            scale *= (context.spec.height / self.reference_size) ** 2
        return self.lr * scale * self.drop_factor ** sum(iteration >= drop for drop in self.drops)

    def init(self, context: Context) -> State:
        """At rest."""
        return {
            "velocity": torch.zeros(context.stored_shape, device=context.device, dtype=context.dtype),
            "iteration": 0,
        }

    def open_iteration(
        self, state: State, stored: Tensor, low: Tensor, high: Tensor, iteration: int
    ) -> tuple[State, Tensor]:
        """Clamped between black and white, or from below alone, if asked for."""
        state = {**state, "iteration": iteration}
        if self.clamp == "below":
            return state, stored.clamp(min=low)
        return state, stored.clamp(low, high) if self.clamp else stored

    def at_turn(self, state: State, stored: Tensor, context: Context) -> Tensor:
        """Class c has coasted c steps."""
        if self.turns == "joint":
            return stored
        turn, lr = torch.arange(stored.shape[0], device=stored.device), self.step_size(context, state["iteration"])
        return momentum.coast(stored, state["velocity"], lr, self.momentum, turn)[0]

    def update(
        self, state: State, stored: Tensor, gradients: Tensor, context: Context, moment: Moment
    ) -> tuple[State, Tensor]:
        """Coast to the turn, step, coast to the end of the round; then the average moves."""
        before = state.get("average", stored)
        stored, velocity = self._moved(state, stored, gradients, context)
        after = {"velocity": velocity}
        if self.average:
            after["average"] = self.average * before + (1 - self.average) * stored
        return {**state, **after}, stored

    def result(self, state: State, stored: Tensor) -> Tensor:
        """The average over time, if there is one."""
        average: Tensor = state.get("average", stored)
        return average

    def _moved(self, state: State, stored: Tensor, gradients: Tensor, context: Context) -> tuple[Tensor, Tensor]:
        """Stored images and velocity after the round."""
        lr, velocity = self.step_size(context, state["iteration"]), state["velocity"]
        if self.turns == "joint":
            return momentum.step(stored, velocity, gradients, lr, self.momentum)
        turn = torch.arange(stored.shape[0], device=stored.device)
        stored, velocity = momentum.coast(stored, velocity, lr, self.momentum, turn)
        stored, velocity = momentum.step(stored, velocity, gradients, lr, self.momentum)
        left = stored.shape[0] - 1 - turn
        return momentum.coast(stored, velocity, lr, self.momentum, left)
