"""The contract of curricula: what is learnt when, and for how long, in groups or segments."""

from __future__ import annotations

import abc
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from limbeck.core.batch import Moment
from limbeck.core.context import Context, Group, Pieces
from limbeck.core.network import FunctionalNetwork
from limbeck.core.part import Part, State

__all__ = ["Curriculum", "Earlier"]


@dataclass(frozen=True)
class Earlier:
    """What the segments before one have become, as a curriculum sees it before that one begins.

    Args:
        number: segments before.
        stored: their stored images ``[K, n, C, H, W]``, n = 0 before the first one.
        images: the same decoded, in normalized space ``[N, C, H, W]``.
        targets: of these, int64 ``[N]``.
        network: the architecture that looks at images in this run.
        lesson: what `Curriculum.remembered` kept of the lesson of the segment before; empty before the second one.
        decoded: decoded images of a class that the coming segment has.
        real: real images of a class in a step, at most.
        iteration: outer iterations of the segment that are done, where its lesson is made anew; what it has become by
            then stands behind the segments before it.
    """

    number: int
    stored: Tensor
    images: Tensor
    targets: Tensor
    network: FunctionalNetwork
    lesson: State
    decoded: int
    real: int
    iteration: int = 0


class Curriculum(Part):
    """Which synthetic rows are learnt on which real rows, and for how long."""

    slot = "curriculum"

    def groups(self, context: Context) -> tuple[Group, ...]:
        """Stored images that are learnt apart from all others, group by group; empty when they are learnt together."""
        return ()

    def segments(self, ipc: int) -> tuple[int, ...]:
        """Stored images of each segment, where images are learnt segment by segment; empty where they are not.

        A segment is a group of all classes that is learnt when those before it are finished, which do not change any
        more. To all other parts it is a run of its own with so many images per class.

        Args:
            ipc: stored images per class of the whole set.
        """
        return ()

    def of_segment(self, ipc: int, number: int) -> Curriculum:
        """The schedule of one segment: how it is learnt when it is looked at alone."""
        return self

    def pieces(self, ipc: int, number: int) -> Pieces | None:
        """Which pieces of trajectories a segment imitates, where the pool has experts; None for all of them.

        Args:
            ipc: stored images per class of the whole set.
            number: which segment, from 0.
        """
        return None

    def lesson(self, context: Context, earlier: Earlier) -> State:
        """What a segment makes of those before it, once, before it begins; kept until it is done.

        Args:
            context: the run, with all real images.
            earlier: what is finished.
        """
        return {}

    def renewed(self, number: int) -> int:
        """Outer iterations of a segment after which its lesson is made anew, again and again; 0 for never.

        Args:
            number: which segment, from 0.
        """
        return 0

    def copies(self, ipc: int) -> int:
        """Sets of weights that a lesson holds at most; for memory and disk.

        Args:
            ipc: stored images per class of the whole set.
        """
        return 0

    def focus(self, context: Context, lesson: State, earlier: Earlier) -> Context:
        """The surroundings of a segment as its lesson says: ``context.focus``, ``context.bank`` and what is beside.

        Args:
            context: those of the segment as a run of its own.
            lesson: the newest one.
            earlier: what is finished; nothing of the segment itself.
        """
        return context

    def remembered(self, lesson: State) -> State:
        """What of a lesson the next segment and the record of the run need; nothing large."""
        return {}

    def concluded(self, context: Context, earlier: Earlier, remembered: State) -> State:
        """What is remembered of a segment that is done.

        Args:
            context: the run, with all real images.
            earlier: what is finished, the segment itself last.
            remembered: what `remembered` keeps of its last lesson.
        """
        return remembered

    def record(self, remembered: Sequence[State]) -> dict[str, Any]:
        """What the record of a run tells of its segments, as plain data."""
        return {}

    @abc.abstractmethod
    def length(self) -> int:
        """Inner steps of the whole run, or of each group."""

    @abc.abstractmethod
    def moment(self, ordinal: int) -> Moment:
        """The position of inner step number ``ordinal``, from 0."""
