"""The usual curriculum: all synthetic images on all real images, from the first step to the last."""

from __future__ import annotations

from dataclasses import dataclass

from limbeck.core.batch import Moment
from limbeck.core.context import Context
from limbeck.core.contracts import Curriculum
from limbeck.core.errors import InputError

__all__ = ["AllAtOnce"]


@dataclass(frozen=True, kw_only=True)
class AllAtOnce(Curriculum):
    """``iterations`` lives of a matching network, with ``steps`` rounds of matching in each."""

    iterations: int = 2000
    """Outer iterations: lives of a matching network."""
    steps: int = 100
    """Inner steps of each: one round of matching over all classes, then one update of the network."""

    def check(self, context: Context) -> None:
        """At least one step."""
        if self.iterations < 1 or self.steps < 1:
            raise InputError(
                f"curriculum 'all_at_once' has {self.iterations} iterations of {self.steps} steps; both must be >= 1."
            )

    def length(self) -> int:
        """``iterations * steps``."""
        return self.iterations * self.steps

    def moment(self, ordinal: int) -> Moment:
        """Iterations one after another."""
        iteration, step = divmod(ordinal, self.steps)
        return Moment(iteration=iteration, step=step, steps=self.steps, progress=ordinal / self.length())
