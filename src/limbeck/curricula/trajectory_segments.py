"""Segments from easy to hard where experts are imitated: each with experts of its own, or with later epochs of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from limbeck.core.context import Context, Pieces
from limbeck.core.contracts import Workload
from limbeck.core.errors import InputError
from limbeck.curricula.segments import DifficultySegments

__all__ = ["TrajectorySegments"]


@dataclass(frozen=True, kw_only=True)
class TrajectorySegments(DifficultySegments):
    """Segments as `DifficultySegments` makes them, of which each imitates trajectories that the others do not.

    The first one imitates the pool's experts. Every later one has experts of its own: they go on from networks trained
    on the segments before, and learn batches that are mixed as real batches are. With ``existing_experts`` all imitate
    the pool's, and the epochs that a piece may begin with move up from segment to segment, as they do in DATM. The
    student learns the segments before beside the one that is learnt (``scope``), with a step size that each segment
    learns for itself.
    """

    added: ClassVar[Mapping[str, Any]] = {}

    scope: Literal["segment", "union"] = "union"
    """What the student learns: the images of all segments until now, of which those of the newest change. Without the
    others there would be no step size for the whole set, so that ``segment`` is refused."""
    experts: int = 20
    """Experts of a segment."""
    expert_epochs: int = 20
    """Epochs of each; an epoch shows every image of the windows once."""
    expert_starts: int = 11
    """Epochs that a piece of their trajectories may begin with: those before this one."""
    existing_experts: bool = False
    """Whether segments have no experts of their own, but imitate later and later epochs of the pool's."""
    start_width: float = 0.5
    """With these, the share of the pool's ``starts`` that a piece may begin with in each segment: the earliest in the
    first one, the latest in the last."""

    def needs(self) -> frozenset[str]:
        """Experts, where segments choose their images, in the place of real batches."""
        return (super().needs() - {"real batches"}) | {"expert trajectories"}

    def check(self, context: Context) -> None:
        """What segments need, and experts in their ranges."""
        super().check(context)
        where = "curriculum 'trajectory_segments'"
        if min(self.experts, self.expert_epochs, self.expert_starts) < 1 or not 0 < self.start_width <= 1:
            raise InputError(
                f"{where} needs experts, expert_epochs and expert_starts of at least 1 and 0 < start_width <= 1, not "
                f"{self.experts}, {self.expert_epochs}, {self.expert_starts} and {self.start_width}."
            )
        if self.rescore_every and not self.existing_experts and self.segments(context.ipc):
            raise InputError(
                f"{where} trains the experts of a segment once, on the images that were hard then; use rescore_every "
                "0, or existing_experts."
            )

    def pieces(self, ipc: int, number: int) -> Pieces | None:
        """Experts of the segment's own, but for the first one, or a window of the epochs of the pool's."""
        if self.existing_experts:
            return Pieces(place=number / (len(self.segments(ipc)) - 1), width=self.start_width)
        if number == 0:
            return None
        return Pieces(experts=self.experts, epochs=self.expert_epochs, starts=self.expert_starts)

    def passes(self, context: Context, load: Workload) -> float:
        """Those of the scorers, and the training of experts before each segment but the first."""
        later = max(0, len(self.segments(context.ipc)) - 1)
        if self.existing_experts or not later:
            return super().passes(context, load)
        shown = min(1.0, self.width / max(1 - self.mixing, self.width)) * len(context.data)
        return super().passes(context, load) + 3.0 * later * self.experts * self.expert_epochs * shown
