"""Selection of real rows by their features or by how they are learnt, the classical coresets.

References: Welling, "Herding dynamical weights to learn", ICML 2009; Sener and Savarese, "Active learning for
convolutional neural networks: a core-set approach", ICLR 2018; Toneva et al., "An empirical study of example
forgetting during deep neural network learning", ICLR 2019.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from limbeck.core.errors import InputError

__all__ = ["NeverLearned", "forgetting_events", "herding", "k_center", "largest"]

NeverLearned = Literal["zero", "infinity"]


def herding(features: Tensor, count: int) -> Tensor:
    """Rows whose running mean follows the mean of all rows.

    Step k (from 0) takes the free row nearest to ``(k + 1) mean - sum of the chosen rows``; ties go to the
    lowest index.

    Args:
        features: ``[N, D]``, the rows of one class.
        count: how many rows, at most N.

    Returns:
        Row numbers in the order of their choice, int64 ``[count]``.
    """
    _check(features, count)
    mean = features.mean(dim=0)
    total = torch.zeros_like(mean)
    free = torch.ones(len(features), dtype=torch.bool, device=features.device)
    chosen = []
    for k in range(count):
        apart = (features - ((k + 1) * mean - total)).square().sum(dim=1)
        row = apart.masked_fill(~free, torch.inf).argmin(dim=0, keepdim=True)
        chosen.append(row)
        free = free.index_fill(0, row, False)
        total = total + features.index_select(0, row)[0]
    return torch.cat(chosen)


def k_center(features: Tensor, count: int, start_row: int | Tensor) -> Tensor:
    """Rows that cover the others: each next row is the one farthest from its nearest chosen row.

    Ties go to the lowest index.

    Args:
        features: ``[N, D]``.
        count: how many rows, at most N.
        start_row: the first chosen row; the original draws it, the row nearest to the mean does as well.

    Returns:
        Row numbers in the order of their choice, ``start_row`` first, int64 ``[count]``.
    """
    _check(features, count)
    row = torch.as_tensor(start_row, dtype=torch.int64, device=features.device).reshape(1)
    apart = torch.full((len(features),), torch.inf, dtype=features.dtype, device=features.device)
    chosen = [row]
    for _ in range(count - 1):
        new = (features - features.index_select(0, row)).square().sum(dim=1)
        # A chosen row never returns, not even among copies of itself.
        apart = torch.minimum(apart, new).index_fill(0, row, -1.0)
        row = apart.argmax(dim=0, keepdim=True)
        chosen.append(row)
    return torch.cat(chosen)


def forgetting_events(predictions: Tensor, labels: Tensor, never_learned: NeverLearned = "zero") -> Tensor:
    """How often each sample was forgotten: right at one visit, wrong at the next.

    Args:
        predictions: predicted class of each sample at each visit, integers ``[E, N]``.
        labels: true classes, integers ``[N]``.
        never_learned: what a sample counts that was right at no visit: ``zero``, as it was never forgotten (DeepCore's
            code), or ``infinity``, as the paper orders them.

    Returns:
        float64 ``[N]``.
    """
    right = predictions == labels
    events = (right[:-1] & ~right[1:]).sum(dim=0).to(torch.float64)
    return events.masked_fill(~right.any(dim=0), torch.inf) if never_learned == "infinity" else events


def largest(scores: Tensor, count: int) -> Tensor:
    """Rows with the largest scores, the largest first.

    The order is that of an ascending, stable sort read backwards, so that ties go to the highest row.

    Args:
        scores: ``[N]``.
        count: how many rows, at most N.

    Returns:
        Row numbers, int64 ``[count]``.
    """
    _check(scores, count)
    return scores.argsort(stable=True).flip(0)[:count]


def _check(rows: Tensor, count: int) -> None:
    if not 1 <= count <= len(rows):
        raise InputError(f"cannot choose {count} of {len(rows)} rows; ask for at least one and at most all.")
