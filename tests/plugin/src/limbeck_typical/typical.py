"""Typical: distribution matching with the most typical real images of each class.

A sample for authors of packages; nobody has published it.

| line | here |
| --- | --- |
| order the images of each class by their distance from the mean image | `Typical.init` |
| a real batch is drawn from the first of them | `Typical.rows` |
| everything else | DM |
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from limbeck.core.batch import Moment, View
from limbeck.core.context import Context
from limbeck.core.contracts import Sampler, State
from limbeck.core.errors import InputError
from limbeck.core.recipe import Recipe
from limbeck.methods.dm import dm

__all__ = ["PRESETS", "Typical", "typical"]

PRESETS = ("cifar10", "digits")


@dataclass(frozen=True, kw_only=True)
class Typical(Sampler):
    """Random images among the most typical ones: those nearest to the mean image of their class."""

    batch_size: int = 64
    """Real images per class and step."""
    share: float = 0.5
    """Share of each class that counts as typical, in (0, 1]."""

    def check(self, context: Context) -> None:
        """Somebody is typical."""
        if self.batch_size < 1 or not 0 < self.share <= 1:
            raise InputError(
                f"sampler 'typical' needs batch_size >= 1 and a share in (0, 1], not {self.batch_size} and "
                f"{self.share}."
            )

    def init(self, context: Context) -> State:
        """Rows of the typical images of each class, by name of the class's number."""
        return {"rows": {str(label): self._nearest(context, label) for label in range(context.spec.classes)}}

    def refresh(self, state: State, context: Context, moment: Moment, view: View) -> State:
        """They stay the same."""
        return state

    def rows(self, state: State, context: Context, moment: Moment, label: int) -> Tensor:
        """Some of them, without repetition."""
        known: Tensor = state["rows"][str(label)]
        order = context.streams("typical", moment.iteration, moment.step, label).permutation(len(known))
        return known[order[: self.batch_size]]

    def size(self, context: Context) -> int:
        """The batch size."""
        return self.batch_size

    def _nearest(self, context: Context, label: int) -> Tensor:
        rows = context.data.class_rows(label)
        images = context.data.images(rows).flatten(1)
        order = (images - images.mean(dim=0)).square().sum(dim=1).argsort(stable=True).cpu()
        return rows[order[: max(1, round(self.share * len(rows)))]]


def typical(preset: str = "cifar10") -> Recipe:
    """The recipe of Typical.

    Args:
        preset: whose settings to use: those of DM, ``digits`` for a CPU.

    Raises:
        InputError: there is no such preset.
    """
    base = dm(preset)
    return base.with_(name="typical", base=base.name, sampler=Typical(), references=base.references)
