"""k-means over several groups of rows at once, and the rows nearest to the centroids.

Shapes: G groups (classes), N rows of which the first ``counts[g]`` count, D numbers per row, K clusters.

References: Liu et al., "DREAM: Efficient Dataset Distillation by Representative Matching", ICCV 2023. The
``zero`` and ``distinct=False`` variants are those of the authors' code (with fast_pytorch_kmeans 0.2.2).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from limbeck.core.errors import InputError

__all__ = ["Clusters", "Empty", "distances", "global_nearest", "kmeans", "largest", "nearest_rows", "start_rows"]

Empty = Literal["reseed", "zero"]
_BLOCK = 1 << 24  # numbers of a distance matrix that are held at a time


class Clusters(NamedTuple):
    """What `kmeans` found."""

    centroids: Tensor
    """``[G, K, D]``."""
    labels: Tensor
    """Cluster of each row in the last sweep's assignment, int64 ``[G, N]``; -1 for padded rows."""
    inertia: Tensor
    """Sum of the squared distances between the rows and the centroids of their labels ``[G]``."""
    sweeps: Tensor
    """Sweeps until convergence, int64 ``[G]``."""


def start_rows(permutations: Sequence[Tensor], clusters: int) -> Tensor:
    """Different rows to start from, int64 ``[G, K]``.

    Args:
        permutations: for each group a random order of its rows, int64 ``[counts[g]]``.
        clusters: K, at most the size of the smallest group.
    """
    _check([len(order) for order in permutations], clusters)
    return torch.stack([order[:clusters] for order in permutations])


@torch.no_grad()
def kmeans(
    features: Tensor,
    counts: Tensor,
    start: Tensor,
    *,
    max_sweeps: int = 100,
    tolerance: float = 1e-4,
    empty: Empty = "reseed",
) -> Clusters:
    """Lloyd's algorithm in each group.

    A group whose centroids moved by no more than ``tolerance`` in a sweep stays as it is from then on, so
    that the result is that of the group alone. A row goes to the nearest centroid, among equally near ones to
    the first.

    Args:
        features: rows ``[G, N, D]``; what stands in padded rows does not matter.
        counts: rows that count in each group ``[G]``, at least K each.
        start: int64 ``[G, K]``, rows that are the first centroids; or the first centroids themselves ``[G, K,
            D]``.
        max_sweeps: assignments at most.
        tolerance: on the squared movement, summed over the centroids of a group.
        empty: a cluster without rows gets the row farthest from its own centroid (``reseed``; several empty
            clusters get different rows) or becomes the zero vector (``zero``, the authors' code).
    """
    groups, rows, _ = features.shape
    clusters = start.shape[1]
    sizes = counts.tolist()
    _check(sizes, clusters)
    if max_sweeps < 1:
        raise InputError(f"k-means needs at least one sweep, not {max_sweeps}.")
    if start.is_floating_point():
        centroids = start.to(features)
    else:
        start = start.to(features.device)
        if bool(((start < 0) | (start >= counts.to(start).unsqueeze(1))).any()):
            raise InputError("a row to start from lies outside its group; draw it from 0 to the group's size - 1.")
        centroids = _rows(features, start)
    padded = torch.arange(rows, device=features.device) >= counts.to(features.device).unsqueeze(1)
    labels = torch.full((groups, rows), -1, device=features.device)
    sweeps = torch.zeros(groups, dtype=torch.int64, device=features.device)
    active = torch.ones(groups, dtype=torch.bool, device=features.device)
    square: Tensor | None = None
    for _ in range(max_sweeps):
        todo = active.tolist()
        if not any(todo):
            break
        ids, nearest, sums, members = _sweep(features, centroids, padded, sizes, todo)
        moved = sums / members.clamp(min=1).unsqueeze(2)
        vacant = (members == 0) & active.unsqueeze(1)
        if empty == "reseed" and bool(vacant.any()):
            square = _square(features) if square is None else square
            own = (nearest + square).masked_fill(padded, -torch.inf)
            farthest = own.sort(dim=1, descending=True, stable=True).indices[:, :clusters]
            turn = (vacant.cumsum(dim=1) - 1).clamp(min=0)
            moved = torch.where(vacant.unsqueeze(2), _rows(features, farthest.gather(1, turn)), moved)
        moved = torch.where(active[:, None, None], moved, centroids)
        labels = torch.where(active.unsqueeze(1), ids, labels)
        sweeps += active
        active = active & ((moved - centroids).square().sum(dim=(1, 2)) > tolerance)
        centroids = moved
    labels = labels.masked_fill(padded, -1)
    inertia = torch.stack(
        [
            (features[g, :size] - centroids[g].index_select(0, labels[g, :size])).square().sum()
            for g, size in enumerate(sizes)
        ]
    )
    return Clusters(centroids, labels, inertia, sweeps)


@torch.no_grad()
def nearest_rows(
    features: Tensor,
    counts: Tensor,
    centroids: Tensor,
    per_centroid: int = 1,
    *,
    distinct: bool = True,
    further: Tensor | None = None,
) -> Tensor:
    """The rows nearest to each centroid, among all rows of the group and not only the cluster's members.

    Distances that differ by rounding alone are equal, and the lowest row wins: a cluster of two has its
    centroid midway.

    Args:
        features: rows ``[G, N, D]``.
        counts: rows that count in each group ``[G]``.
        centroids: ``[G, K, D]``.
        per_centroid: how many rows for each centroid, nearest first.
        distinct: whether a row that an earlier centroid took is skipped for the next nearest free one.
            Without, as in the authors' code, two centroids may choose the same row.
        further: centroids that choose one row more once all have theirs, in this order, int64 ``[G, R]``, each at most
            once; none by default.

    Returns:
        Rows, centroid by centroid and then those of ``further``, int64 ``[G, K * per_centroid + R]``.
    """
    groups, rows, _ = features.shape
    clusters = centroids.shape[1]
    if further is None:
        further = torch.empty(groups, 0, dtype=torch.int64)
    more = further.shape[1]
    _check(counts.tolist(), clusters * per_centroid + more if distinct else per_centroid + min(more, 1))
    further = further.to(features.device)
    relative = _tie(features.dtype)
    picks = []
    for first, last in _group_blocks(groups, rows * clusters, features.device):
        square, noise = _exact_square(features[first:last], centroids[first:last], counts[first:last])
        if distinct:
            taken = []
            for k in range(clusters):
                for _ in range(per_centroid):
                    pick = _lowest(square[:, k], noise[:, k], relative)
                    square.scatter_(2, pick[:, None].expand(-1, clusters, -1), torch.inf)
                    taken.append(pick)
            for turn in range(more):
                chooser = further[first:last, turn, None]
                pick = _lowest(_rows(square, chooser)[:, 0], _rows(noise, chooser)[:, 0], relative)
                square.scatter_(2, pick[:, None].expand(-1, clusters, -1), torch.inf)
                taken.append(pick)
            picks.append(torch.cat(taken, dim=1))
        else:
            nearest = []
            for _ in range(per_centroid):
                pick = _lowest(square, noise, relative)
                square.scatter_(2, pick, torch.inf)
                nearest.append(pick)
            choosers = further[first:last]
            last_rows = _lowest(_rows(square, choosers), _rows(noise, choosers), relative).flatten(1)
            picks.append(torch.cat([torch.cat(nearest, dim=2).flatten(1), last_rows], dim=1))
    return torch.cat(picks)


@torch.no_grad()
def largest(labels: Tensor, clusters: int, count: int) -> Tensor:
    """The clusters with the most members, largest first and among equally large ones the first, int64 ``[G, count]``.

    Args:
        labels: cluster of each row, -1 for none, int64 ``[G, N]``.
        clusters: K.
        count: how many of them, at most K.
    """
    if not 0 <= count <= clusters:
        raise InputError(f"{count} of {clusters} clusters were asked for; ask for at most {clusters}.")
    members = (labels.unsqueeze(2) == torch.arange(clusters, device=labels.device)).sum(dim=1)
    return members.sort(dim=1, descending=True, stable=True).indices[:, :count]


@torch.no_grad()
def global_nearest(features: Tensor, counts: Tensor, centroids: Tensor, count: int) -> Tensor:
    """The rows nearest to their own nearest centroid, nearest first, int64 ``[G, count]``.

    The choice of DREAM+ on Tiny-ImageNet; it does not take one row of every cluster.

    Args:
        features: rows ``[G, N, D]``.
        counts: rows that count in each group ``[G]``.
        centroids: ``[G, K, D]``.
        count: how many rows of each group.
    """
    groups, rows, _ = features.shape
    _check(counts.tolist(), count)
    picks = []
    for first, last in _group_blocks(groups, rows * centroids.shape[1], features.device):
        square, _ = _exact_square(features[first:last], centroids[first:last], counts[first:last])
        picks.append(square.amin(dim=1).sort(dim=1, stable=True).indices[:, :count])
    return torch.cat(picks)


def distances(features: Tensor, centroids: Tensor) -> Tensor:
    """Euclidean distances ``[G, K, N]`` between centroids ``[G, K, D]`` and rows ``[G, N, D]``.

    The square is kept above 1e-12, so that the root has a derivative.
    """
    square = torch.baddbmm(_square(features).unsqueeze(1), centroids, features.transpose(1, 2), alpha=-2)
    return (square + _square(centroids).unsqueeze(2)).clamp(min=1e-12).sqrt()


def _sweep(
    features: Tensor, centroids: Tensor, padded: Tensor, sizes: list[int], todo: list[bool]
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Nearest centroids, squared distances less the rows' own squares, sums and sizes of the clusters.

    Only groups that are still to do are computed where that saves anything; the numbers of the others mean
    nothing.
    """
    groups, rows, _ = features.shape
    clusters = centroids.shape[1]
    ids = torch.zeros(groups, rows, dtype=torch.int64, device=features.device)
    nearest = features.new_zeros(groups, rows)
    sums = torch.zeros_like(centroids)
    members = torch.zeros(groups, clusters, dtype=torch.int64, device=features.device)
    constant = _square(centroids).unsqueeze(1)
    pair = centroids.transpose(1, 2)
    for first, last in _group_blocks(groups, rows * clusters, features.device):
        if not any(todo[first:last]):
            continue
        block = slice(first, last)
        stop = max(sizes[block])
        stride = max(_BLOCK // (clusters * (last - first)), 1)
        for begin in range(0, stop, stride):
            part = slice(begin, min(begin + stride, stop))
            x = features[block, part]
            score = torch.baddbmm(constant[block], x, pair[block], alpha=-2)
            nearest[block, part], near = score.min(dim=2)
            ids[block, part] = near
            if last - first == 1 and features.device.type == "cpu":
                # One group without padded rows (`stop` is its size): half the work of the product below.
                sums[first].index_add_(0, near[0], x[0])
                members[first] += torch.bincount(near[0], minlength=clusters)
                continue
            # A product instead of scattered additions, whose order and therefore rounding varies on a GPU.
            # Padded rows are masked in both factors, since zero times NaN is NaN.
            hidden = padded[block, part]
            hot = near.masked_fill(hidden, -1).unsqueeze(2) == torch.arange(clusters, device=x.device)
            sums[block].baddbmm_(hot.to(x.dtype).transpose(1, 2), x.masked_fill(hidden.unsqueeze(2), 0.0))
            members[block] += hot.sum(dim=1)
    return ids, nearest, sums, members


def _group_blocks(groups: int, pairs: int, device: torch.device) -> Iterator[tuple[int, int]]:
    """Groups that are computed together: one at a time on a CPU, as many as fit elsewhere."""
    stride = 1 if device.type == "cpu" else max(_BLOCK // max(pairs, 1), 1)
    for first in range(0, groups, stride):
        yield first, min(first + stride, groups)


def _exact_square(features: Tensor, centroids: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
    """Squared distances ``[G, K, N]`` in float64, infinite for padded rows, and their noise ``[G, K, 1]``."""
    groups, rows, _ = features.shape
    clusters = centroids.shape[1]
    wide = features.dtype if features.device.type == "mps" else torch.float64
    padded = torch.arange(rows, device=features.device) >= counts.to(features.device).unsqueeze(1)
    centroids = centroids.to(wide)
    constant = _square(centroids).unsqueeze(2)
    square = torch.empty(groups, clusters, rows, dtype=wide, device=features.device)
    stride = max(_BLOCK // (groups * features.shape[2]), 1)
    largest = torch.zeros(groups, 1, 1, dtype=wide, device=features.device)
    for begin in range(0, rows, stride):
        part = slice(begin, begin + stride)
        x = features[:, part].to(wide).masked_fill(padded[:, part, None], 0.0)
        own = _square(x).unsqueeze(1)
        square[:, :, part] = torch.baddbmm(own + constant, centroids, x.transpose(1, 2), alpha=-2)
        largest = torch.maximum(largest, own.amax(dim=2, keepdim=True))
    noise = 64 * torch.finfo(wide).eps * (largest + constant)
    return square.clamp_(min=0).masked_fill_(padded.unsqueeze(1), torch.inf), noise


def _lowest(square: Tensor, noise: Tensor, relative: float) -> Tensor:
    """Lowest index among the smallest values along the last axis, which is kept with size one."""
    least = square.amin(dim=-1, keepdim=True)
    near = square <= least * (1 + relative) ** 2 + noise
    return near.to(torch.uint8).argmax(dim=-1, keepdim=True)


def _tie(dtype: torch.dtype) -> float:
    """Relative difference of two distances that rounding in this precision may have made."""
    return max(100 * torch.finfo(dtype).eps, 1e-9)


def _square(x: Tensor) -> Tensor:
    """Squared norm along the last axis, without a copy of ``x``."""
    return torch.linalg.vector_norm(x, dim=-1).square()


def _rows(features: Tensor, index: Tensor) -> Tensor:
    """Rows ``[G, K, D]`` at indices ``[G, K]``."""
    return features.gather(1, index.unsqueeze(2).expand(-1, -1, features.shape[2]))


def _check(sizes: Sequence[int], needed: int) -> None:
    if needed < 1:
        raise InputError(f"{needed} rows were asked for; ask for at least one.")
    if min(sizes) < needed:
        raise InputError(f"a group has {min(sizes)} rows and {needed} are needed; ask for fewer or give more rows.")
