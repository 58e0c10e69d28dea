"""Easy and hard images of a class: ranks, windows of ranks, and the images that lie in them."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

__all__ = ["Order", "easier", "overlap", "pool", "ranked", "segment_sizes", "share", "shuffled", "window"]

Order = Literal["easy_to_hard", "hard_to_easy", "random_parts", "all_hard", "all_all"]
"""Where the windows of successive segments lie."""

_CLOSE = 1e-9
"""How far ranks may miss the end of a window by rounding."""
_SEGMENTS = ((200, 10), (50, 5), (20, 3), (10, 2))
"""Segments of a set that has at least so many images per class."""


def segment_sizes(ipc: int) -> tuple[int, ...]:
    """Segments of about equal size for ``ipc`` images per class; one below 10, and 2, 3, 5, 10 from 10, 20, 50, 200 on.

    Args:
        ipc: stored images per class.

    Returns:
        Images of each segment; what is left over goes to the first ones, one each.
    """
    count = next((count for least, count in _SEGMENTS if ipc >= least), 1)
    each, further = divmod(ipc, count)
    return tuple(each + (number < further) for number in range(count))


def share(total: int, size: int, sizes: tuple[int, ...], least: int) -> int:
    """What a segment of ``size`` images gets of ``total`` iterations: its share of all images, but at least ``least``.

    Args:
        total: iterations of all segments together.
        size: images of the segment.
        sizes: of all segments.
        least: iterations at least.
    """
    return max(least, round(total * size / sum(sizes)))


def ranked(difficulty: Tensor) -> Tensor:
    """Positions of the images of a class from the easiest to the hardest, ties by position; int64 ``[n]``.

    The image at place p has rank ``(p + 1/2) / n``.

    Args:
        difficulty: of each image, ``[n]``.
    """
    return torch.argsort(difficulty, stable=True)


def shuffled(order: Tensor, outliers: float, permutation: Tensor) -> Tensor:
    """An order in which all but the hardest stand at random; the hardest, ``outliers`` of all, stay where they are.

    Args:
        order: what `ranked` gave, int64 ``[n]``.
        outliers: share of the class.
        permutation: random order of ``0 .. n - 1``.
    """
    kept = _places(len(order), 1 - outliers)
    return torch.cat([order[permutation[permutation < kept]], order[kept:]])


def window(number: int, count: int, width: float, outliers: float, order: Order) -> tuple[float, float]:
    """The window of ranks of a segment.

    With ``t = number / (count - 1)`` and ``q = 1 - outliers`` it begins at ``t (q - width)``: the first one with the
    easiest images, the last one ends where the outliers begin. Backwards for ``hard_to_easy``; the last one for all
    with ``all_hard``; everything, outliers too, with ``all_all``.

    Args:
        number: which segment, from 0.
        count: segments, 2 at least.
        width: share of the class that a window takes.
        outliers: share of the class that is in none.
        order: where windows lie.

    Returns:
        Where it begins and ends, in [0, 1].
    """
    if order == "all_all":
        return 0.0, 1.0
    most = 1 - outliers
    place = 1.0 if order == "all_hard" else number / (count - 1)
    if order == "hard_to_easy":
        place = 1 - place
    start = place * max(0.0, most - width)
    return start, min(start + width, most)


def pool(order: Tensor, start: float, stop: float, most: float, least: int) -> Tensor:
    """Positions whose ranks lie in a window, in ascending order; int64 ``[m]``.

    Args:
        order: positions by rank, int64 ``[n]``.
        start: where the window begins.
        stop: where it ends.
        most: ranks above are in no window.
        least: a window with fewer is widened on both sides alike, as far as there are ranks.
    """
    size, kept = len(order), _places(len(order), most)
    ranks = (torch.arange(size, dtype=torch.float64) + 0.5) / size
    low, high = int((ranks < start - _CLOSE).sum()), min(_places(size, stop), kept)
    missing = min(least, kept) - max(0, high - low)
    if missing > 0:
        high = max(low, high) + missing // 2
        low = max(0, low - (missing - missing // 2))
        # What does not fit on one side is taken on the other.
        wanted = min(least, kept)
        high = min(kept, max(high, low + wanted))
        low = high - wanted
    return order[low:high].sort().values


def _places(size: int, stop: float) -> int:
    """Places whose ranks are at most ``stop``."""
    ranks = (torch.arange(size, dtype=torch.float64) + 0.5) / size
    return int((ranks <= stop + _CLOSE).sum())


def overlap(first: Tensor, second: Tensor) -> float:
    """Size of the intersection of two sets of rows by that of their union (Jaccard), in [0, 1]; 0 if both are empty.

    Args:
        first: different rows, int64 ``[n]``.
        second: different rows, int64 ``[m]``.
    """
    shared = int(torch.isin(first, second).sum())
    together = len(first) + len(second) - shared
    return shared / together if together else 0.0


def easier(before: Tensor, after: Tensor) -> float:
    """Share of images whose difficulty is now below the median of what it was; about a half if nothing has changed.

    Args:
        before: difficulties, ``[n]``.
        after: of the same images, ``[n]``.
    """
    return float((after < before.median()).double().mean())
