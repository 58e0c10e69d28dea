"""Random real batches, a fresh draw at every step."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from limbeck.core.batch import Moment, View
from limbeck.core.context import Context
from limbeck.core.contracts import Sampler, State
from limbeck.core.errors import InputError

__all__ = ["Random"]


@dataclass(frozen=True, kw_only=True)
class Random(Sampler):
    """Uniform real batches, without repetition within a batch, independent between steps (DC, DSA, DM)."""

    references = ("zhao2021dc",)

    batch_size: int = 256
    """Real images per class and step; all of a class that has fewer."""

    def check(self, context: Context) -> None:
        """A batch holds something."""
        if self.batch_size < 1:
            raise InputError(f"sampler 'random' needs a batch size of at least 1, not {self.batch_size}.")

    def refresh(self, state: State, context: Context, moment: Moment, view: View) -> State:
        """Nothing to prepare."""
        return state

    def rows(self, state: State, context: Context, moment: Moment, label: int) -> Tensor:
        """A uniform sample of the class."""
        members = context.data.class_rows(label)
        order = context.streams("real", label, moment.ordinal).permutation(len(members))
        return members[order[: self.batch_size]]

    def size(self, context: Context) -> int:
        """The batch size, or the largest class."""
        return min(self.batch_size, max(context.data.class_counts()))
