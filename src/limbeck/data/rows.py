"""Rows of labelled images: those of each class, and those that somebody asks for."""

from __future__ import annotations

import operator
from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["ClassRows", "as_rows", "row_of"]


class ClassRows:
    """Rows of each class, in data set order.

    Args:
        labels: int64 ``[N]`` on the CPU, each in ``0 .. classes - 1``.
        classes: number of classes.
    """

    def __init__(self, labels: Tensor, classes: int) -> None:
        # A stable sort keeps data set order within a class.
        order = torch.argsort(labels, stable=True)
        self._rows = order.split(torch.bincount(labels, minlength=classes).tolist())

    def __call__(self, label: int) -> Tensor:
        """Rows of one class, int64 ``[n]`` on the CPU; not a copy.

        Raises:
            IndexError: ``label`` is no class.
        """
        if not 0 <= label < len(self._rows):
            raise IndexError(f"label {label} lies outside 0..{len(self._rows) - 1}")
        return self._rows[label]


def as_rows(rows: Tensor | Sequence[int]) -> Tensor:
    """Rows as a tensor of integers of any shape; no row is none, whatever its type.

    Raises:
        TypeError: rows are not integers (a mask, for example).
    """
    index = torch.as_tensor(rows)
    if index.numel() == 0:
        return index.to(torch.int64)
    if index.dtype not in (torch.int64, torch.int32):
        raise TypeError(f"rows must be integers, not {index.dtype}; turn a mask into rows with mask.nonzero()")
    return index


def row_of(index: int, count: int) -> int:
    """One row; negative ones count from the end.

    Args:
        index: which.
        count: images of the set.

    Raises:
        IndexError: there is no such row.
    """
    row = operator.index(index)
    if not -count <= row < count:
        raise IndexError(f"row {row} lies outside a set of {count} images")
    return row % count
