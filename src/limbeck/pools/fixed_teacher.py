"""One network that knows the real data and stays as it is (SRe2L)."""

from __future__ import annotations

from dataclasses import dataclass, field

from limbeck.core.batch import Moment, View
from limbeck.core.context import Context
from limbeck.core.contracts import Pool, State, SyntheticImages, Workload
from limbeck.core.network import FunctionalNetwork
from limbeck.training.teacher import Teacher

__all__ = ["FixedTeacher"]


@dataclass(frozen=True, kw_only=True)
class FixedTeacher(Pool):
    """A teacher in evaluation mode, the same in all outer iterations."""

    references = ("yin2023sre2l",)

    teacher: Teacher = field(default_factory=Teacher)
    """The network, and how it was trained."""

    def offers(self) -> frozenset[str]:
        """What every pool offers, and its teacher."""
        return super().offers() | {"teacher"}

    def check(self, context: Context) -> None:
        """The teacher can be had for these data."""
        self.teacher.check(context, "pool 'fixed_teacher'")

    def init(self, context: Context) -> State:
        """The teacher's weights, from the cache, a file, or trained now."""
        return {"teacher": self.teacher.load(context)}

    def copies(self) -> int:
        """The teacher."""
        return 1

    def passes(self, context: Context, load: Workload) -> float:
        """Training the teacher."""
        return self.teacher.passes(context)

    def kept(self, context: Context) -> float:
        """Whether the teacher was trained before."""
        return self.teacher.kept(context)

    def draw(self, state: State, context: Context, iteration: int) -> State:
        """Nothing to choose."""
        return state

    def view(self, state: State, context: Context) -> View:
        """The teacher, with its running statistics."""
        return View(self.architecture(context), state["teacher"], train=False)

    def architecture(self, context: Context) -> FunctionalNetwork:
        """What the teacher looks like."""
        return self.teacher.architecture(context)

    def advance(self, state: State, context: Context, moment: Moment, synthetic: SyntheticImages) -> State:
        """It stays as it is."""
        return state
