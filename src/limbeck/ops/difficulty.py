"""Easy and hard images of a class: ranks, windows of ranks, and the images that lie in them."""

from __future__ import annotations

import itertools
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from limbeck.core.errors import InputError

__all__ = [
    "Order",
    "Score",
    "chosen",
    "easier",
    "figures",
    "frontier",
    "overlap",
    "pool",
    "ranked",
    "scored",
    "segment_sizes",
    "shares",
    "shuffled",
    "starts",
    "window",
]

Order = Literal["easy_to_hard", "hard_to_easy", "random_parts", "all_hard", "all_all"]
"""Where the windows of successive segments lie."""
Score = Literal["loss", "el2n", "margin", "disagreement", "forgetting"]
"""What is called difficult."""

_CLOSE = 1e-9
"""How far ranks may miss the end of a window by rounding."""
_SEGMENTS = ((200, 10), (50, 5), (20, 3), (10, 2))
"""Segments of a set that has at least so many images per class."""


def segment_sizes(ipc: int, count: int = 0, front_loaded: bool = False) -> tuple[int, ...]:
    """Segments of about equal size for ``ipc`` images per class.

    Args:
        ipc: stored images per class.
        count: segments; 0 takes one below 10, and 2, 3, 5, 10 from 10, 20, 50, 200 images per class on.
        front_loaded: whether the first is about twice as large as each of the others.

    Returns:
        Images of each segment; what is left over goes to the first ones, one each.
    """
    count = count or next((count for least, count in _SEGMENTS if ipc >= least), 1)
    extra = round(ipc / (count + 1)) if front_loaded and count > 1 else 0
    each, further = divmod(ipc - extra, count)
    sizes = tuple(each + (number < further) for number in range(count))
    return (sizes[0] + extra, *sizes[1:])


def shares(total: int, sizes: tuple[int, ...], least: int) -> tuple[int, ...]:
    """Iterations of each segment by its share of all images; together they are ``total``, unless some are raised.

    Args:
        total: iterations of all segments together.
        sizes: images of each segment.
        least: iterations of each at least; raises the total where shares are smaller.
    """
    images, ends = sum(sizes), [0]
    for size in sizes:
        ends.append(ends[-1] + size)
    # Ends are rounded, not lengths, so that what is left out by one is taken up by the next.
    places = [(2 * total * end + images) // (2 * images) for end in ends]
    return tuple(max(least, stop - start) for start, stop in itertools.pairwise(places))


def scored(score: Score, logits: Tensor, labels: Tensor) -> Tensor:
    """How difficult images are for some networks, ``[N]``; larger is harder.

    ``loss`` is the cross-entropy, ``el2n`` the length of probabilities minus label as one-hot (Paul et al., "Deep
    learning on a data diet", NeurIPS 2021), ``margin`` the largest probability of another class minus that of the
    label, each a mean over networks; ``disagreement`` the entropy of the mean prediction minus the mean entropy of
    predictions (the Jensen-Shannon divergence of the networks), which needs no label.

    Args:
        score: which one; ``forgetting`` is none of logits.
        logits: of each network, ``[M, N, K]``.
        labels: int64 ``[N]``.

    Raises:
        InputError: the score is none of logits.
    """
    said, own = logits.log_softmax(dim=-1), labels.expand(len(logits), -1).unsqueeze(-1)
    if score == "loss":
        return -said.gather(-1, own).squeeze(-1).mean(dim=0)
    chances = said.exp()
    if score == "el2n":
        return (chances - F.one_hot(labels, logits.shape[-1])).norm(dim=-1).mean(dim=0)
    if score == "margin":
        others = chances.scatter(-1, own, -1.0).amax(dim=-1)
        return (others - chances.gather(-1, own).squeeze(-1)).mean(dim=0)
    if score == "disagreement":
        return torch.special.entr(chances.mean(dim=0)).sum(dim=-1) - torch.special.entr(chances).sum(dim=-1).mean(dim=0)
    raise InputError(f"score '{score}' is none of logits; choose loss, el2n, margin or disagreement.")


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


def frontier(right: float, width: float, outliers: float) -> tuple[float, float]:
    """The window of ranks around the share of a class that networks classify rightly: the easiest of what they do not.

    Args:
        right: that share.
        width: share of the class that a window takes; it is moved, not cut, where it would leave the class.
        outliers: share of the class, the hardest images, that is in none.

    Returns:
        Where it begins and ends, in [0, 1].
    """
    most = 1 - outliers
    start = min(max(0.0, right - width / 2), max(0.0, most - width))
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


def chosen(
    rows: Tensor,
    difficulty: Tensor,
    window: tuple[float, float],
    outliers: float,
    least: int,
    permutation: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Rows of a class that a segment is learnt on, and those that may be mixed in; all and none where it is everything.

    Args:
        rows: of the class, int64 ``[n]``.
        difficulty: of each, ``[n]``.
        window: ranks that are wanted; (0, 1) takes all rows, outliers too.
        outliers: share of the class, the hardest images, that is in neither.
        least: rows at least.
        permutation: random order of ``0 .. n - 1`` for ranks at random; None for ranks by difficulty.
    """
    if window == (0.0, 1.0):
        return rows, rows[:0]
    order, most = ranked(difficulty), 1 - outliers
    kept = pool(order, 0.0, most, most, 0)
    if permutation is not None:
        order = shuffled(order, outliers, permutation)
    return rows[pool(order, *window, most, least)], rows[kept]


def starts(
    rows: Tensor, chosen: Tensor, permutation: Tensor, sizes: tuple[int, ...], number: int, wanted: int
) -> Tensor:
    """Rows that a segment may begin with: those of its pool that no other one begins with, or more if too few.

    Each segment owns a part of the class by its share of the images, whatever its pool.

    Args:
        rows: of the class, int64 ``[n]``.
        chosen: of these the pool's, int64 ``[m]``.
        permutation: random order of ``0 .. n - 1``, the same for all segments.
        sizes: images of each segment.
        number: which one, from 0.
        wanted: rows that are filled up to, as far as the pool has any.

    Returns:
        In data set order, int64 ``[k]``.
    """
    first, stop = (len(rows) * sum(sizes[:end]) // sum(sizes) for end in (number, number + 1))
    mine = torch.isin(chosen, rows[permutation[first:stop]])
    own, others = chosen[mine], rows[permutation][torch.isin(rows[permutation], chosen[~mine])]
    return torch.cat([own, others[: max(0, wanted - len(own))]]).sort().values


def figures(
    pools: list[Tensor], difficulty: Tensor | None, last: list[Tensor] | None, before: Tensor | None
) -> dict[str, Any]:
    """What is told of the pools of all classes, and of the last ones, as plain data.

    Args:
        pools: rows, class by class.
        difficulty: of all images; None where nobody was asked.
        last: the pools before; None for the first ones.
        before: difficulty as it was then, where it can be compared.
    """
    told: dict[str, Any] = {"pool": [len(rows) for rows in pools]}
    if difficulty is not None:
        told["difficulty"] = float(difficulty[torch.cat(pools)].mean())
        told["difficulty_of_all"] = float(difficulty.mean())
    if last is not None:
        overlaps = [overlap(mine, other) for mine, other in zip(pools, last, strict=True)]
        told["overlap"] = sum(overlaps) / len(overlaps)
    if difficulty is not None and last is not None and before is not None:
        rows = torch.cat(last)
        told["last_pool_easier"] = easier(before[rows], difficulty[rows])
        told["last_all_easier"] = easier(before, difficulty)
    return told


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
