"""A part without a fault, from which the faulty ones of the tests derive."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from limbeck.core.batch import Moment, View
from limbeck.core.context import Context
from limbeck.core.contracts import Sampler, State


@dataclass(frozen=True, kw_only=True)
class Good(Sampler):
    """The first images of each class, always the same ones."""

    batch_size: int = 3
    """Images."""

    def refresh(self, state: State, context: Context, moment: Moment, view: View) -> State:
        return state

    def rows(self, state: State, context: Context, moment: Moment, label: int) -> Tensor:
        return context.data.class_rows(label)[: self.batch_size]
