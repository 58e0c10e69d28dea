"""Selection of real rows by their features, the classical coresets.

References: Welling, "Herding dynamical weights to learn", ICML 2009; Sener and Savarese, "Active learning for
convolutional neural networks: a core-set approach", ICLR 2018.
"""

from __future__ import annotations

import torch
from torch import Tensor

from limbeck.core.errors import InputError

__all__ = ["herding", "k_center"]


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


def _check(features: Tensor, count: int) -> None:
    if not 1 <= count <= len(features):
        raise InputError(f"cannot choose {count} of {len(features)} rows; ask for at least one and at most all.")
