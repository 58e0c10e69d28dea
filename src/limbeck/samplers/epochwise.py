"""Random real batches without replacement, class by class."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from limbeck.core.batch import Moment, View
from limbeck.core.context import Context
from limbeck.core.contracts import Sampler, State
from limbeck.core.errors import InputError
from limbeck.training.batches import epoch_batch

__all__ = ["Epochwise"]


@dataclass(frozen=True, kw_only=True)
class Epochwise(Sampler):
    """Real batches drawn without replacement; a class is shuffled anew when it is used up (IDC, DREAM's baseline)."""

    batch_size: int = 64
    """Real images per class and step; all of a class that has fewer."""

    def check(self, context: Context) -> None:
        """A batch holds something."""
        if self.batch_size < 1:
            raise InputError(f"sampler 'epochwise' needs a batch size of at least 1, not {self.batch_size}.")

    def refresh(self, state: State, context: Context, moment: Moment, view: View) -> State:
        """Nothing to prepare."""
        return state

    def rows(self, state: State, context: Context, moment: Moment, label: int) -> Tensor:
        """The next batch of the class's epoch."""
        members = context.data.class_rows(label)
        return members[epoch_batch(context.streams, "real", len(members), self.batch_size, moment.ordinal, label)]

    def size(self, context: Context) -> int:
        """The batch size, or the largest class."""
        return min(self.batch_size, max(context.data.class_counts()))
