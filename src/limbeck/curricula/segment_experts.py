"""Which experts segments imitate, where images are learnt by trajectory matching."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from limbeck.core.context import Pieces
from limbeck.core.errors import InputError

__all__ = ["SegmentExperts"]


@dataclass(frozen=True, kw_only=True)
class SegmentExperts:
    """Experts of segments: those of later ones know the segments before, or go on where these have ended."""

    mode: Literal["none", "own", "existing"] = "none"
    """Whether segments compare real batches (none); every one but the first has experts of its own, which go on from
    networks trained on the segments before and learn batches that are mixed as real ones are (own); or all imitate the
    pool's, and the epochs that a piece may begin with move up from segment to segment, as they do in DATM (existing).
    With experts the student learns the segments before as well, so that ``scope`` is ``union``, and each segment learns
    a step size of its own."""
    count: int = 20
    """Experts of a segment's own."""
    epochs: int = 20
    """Epochs of each; an epoch shows every image of the windows once."""
    starts: int = 11
    """Epochs that a piece of their trajectories may begin with: those before this one."""
    width: float = 0.5
    """Of existing ones the share of the pool's ``starts`` that a piece may begin with in each segment: the earliest in
    the first one, the latest in the last."""

    def check(self, where: str) -> None:
        """Refuse values that cannot be.

        Args:
            where: what errors call the owner of these settings.

        Raises:
            InputError: a value is out of its range.
        """
        if min(self.count, self.epochs, self.starts) < 1 or not 0 < self.width <= 1:
            raise InputError(
                f"the experts of {where} need count, epochs and starts of at least 1 and 0 < width <= 1, not "
                f"{self.count}, {self.epochs}, {self.starts} and {self.width}."
            )

    def pieces(self, number: int, segments: int) -> Pieces | None:
        """What a segment imitates; None for all that the pool has, or where there are no experts.

        Args:
            number: which segment, from 0.
            segments: how many there are, two at least.
        """
        if self.mode == "existing":
            return Pieces(place=number / (segments - 1), width=self.width)
        own = self.mode == "own" and number > 0
        return Pieces(experts=self.count, epochs=self.epochs, starts=self.starts) if own else None

    def passes(self, shown: float) -> float:
        """Forward passes of the training of one segment's experts.

        Args:
            shown: images in an epoch.
        """
        return 3.0 * self.count * self.epochs * shown if self.mode == "own" else 0.0
