"""What is done about steps that fail: they are not taken, and when they do not stop the run goes back.

Long chains of training steps explode now and then (trajectory matching): one outer step with a loss that is no number,
taken, ends the run. A guard is asked before each step is taken; all that it remembers is part of the run's state.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from limbeck.core.errors import InputError, RunError

__all__ = ["Guard"]


@dataclass(frozen=True, kw_only=True)
class Guard:
    """Which outer steps are not taken, and when a run goes back to images of before."""

    limit: float = 0.0
    """Loss above which a step is not taken; 0: any that is finite is taken."""
    patience: int = 20
    """Steps in a row that are not taken before the run goes back to what it kept."""
    interval: int = 50
    """Steps taken between two copies of what can be gone back to; the older of the last two is."""
    backtrack: float = 0.5
    """What all later gradients are multiplied by each time it goes back."""
    returns: int = 5
    """How often it goes back before it gives up."""
    clip: float = 0.0
    """Largest Euclidean norm of the gradient in all images; 0 for any."""

    def check(self, where: str) -> None:
        """Refuse values that cannot be.

        Args:
            where: what errors call the owner, for example ``objective 'trajectory_matching'``.

        Raises:
            InputError: a value is out of its range.
        """
        if min(self.limit, self.clip) < 0 or min(self.patience, self.interval) < 1 or self.returns < 0:
            raise InputError(
                f"the guard of {where} needs limit and clip of 0 or more, patience and interval of 1 or more and "
                f"returns of 0 or more, not {self.limit}, {self.clip}, {self.patience}, {self.interval} and "
                f"{self.returns}."
            )
        if not 0 < self.backtrack <= 1:
            raise InputError(f"the guard of {where} needs 0 < backtrack <= 1, not {self.backtrack}.")

    def init(self) -> dict[str, Any]:
        """Nothing has happened yet."""
        return {"taken": 0, "skipped": 0, "row": 0, "returns": 0, "scale": 1.0, "newer": {}, "older": {}}

    def keeps(self, state: dict[str, Any]) -> bool:
        """Whether a copy is due before the next step."""
        due = state["taken"] % self.interval == 0 and state["row"] == 0
        return bool(due and state["newer"].get("at") != state["taken"])

    def kept(self, state: dict[str, Any], copy: dict[str, Any]) -> dict[str, Any]:
        """The state with one more copy of what can be gone back to.

        Args:
            state: the state before.
            copy: a tree of tensors that nobody changes any more.
        """
        copy = {**copy, "at": state["taken"]}
        return {**state, "older": state["newer"] or copy, "newer": copy}

    def accepts(self, losses: Tensor, gradients: Iterable[Tensor]) -> bool:
        """Whether a step may be taken.

        Args:
            losses: of each class; their sum is the loss.
            gradients: in the images and in whatever else is learnt.
        """
        finite = torch.isfinite(losses).all()
        for gradient in gradients:
            finite = finite & torch.isfinite(gradient).all()
        below = losses.sum() <= self.limit if self.limit else finite
        return bool(finite & below)

    def scaled(self, state: dict[str, Any], gradient: Tensor) -> Tensor:
        """The gradient in the images as it is applied: clipped, and made smaller after a return."""
        if self.clip:
            norm = torch.linalg.vector_norm(gradient)
            gradient = gradient * (self.clip / norm.clamp(min=self.clip))
        return gradient * state["scale"] if state["scale"] != 1.0 else gradient

    def took(self, state: dict[str, Any]) -> dict[str, Any]:
        """The state after a step that was taken."""
        return {**state, "taken": state["taken"] + 1, "row": 0}

    def skipped(self, state: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any] | None]:
        """The state after a step that was not taken, and the copy to go back to if that is due.

        Raises:
            RunError: it has gone back often enough.
        """
        state = {**state, "skipped": state["skipped"] + 1, "row": state["row"] + 1}
        if state["row"] < self.patience:
            return state, None
        if state["returns"] >= self.returns:
            raise RunError(
                f"{state['row']} steps in a row had a loss that is too large or no number, after going back "
                f"{state['returns']} times; lower the step sizes of the images (--optimizer.lr) and of the student's "
                "step size (--objective.lr_step), or its first value (--objective.student_lr)."
            )
        copy = state["older"]
        again = {"row": 0, "returns": state["returns"] + 1, "scale": state["scale"] * self.backtrack}
        return {**state, **again, "newer": copy, "older": copy, "taken": copy["at"]}, copy
