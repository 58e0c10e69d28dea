"""Maximum mean discrepancy between two sets of features in a kernel's space (M3D, section 3)."""

from __future__ import annotations

from typing import Literal, assert_never

import torch
from torch import Tensor

__all__ = ["Kernel", "mmd", "squared_distances"]

Kernel = Literal["gaussian", "linear", "polynomial", "laplace"]
"""``gaussian`` is a mixture of five bandwidths around the mean squared distance; ``laplace``, named so by the authors
of M3D, one of three fixed ones."""

_OCTAVES = (-2, -1, 0, 1, 2)
_RATES = (0.1, 1.0, 5.0)


def mmd(x: Tensor, y: Tensor, kernel: Kernel = "gaussian", share: Tensor | None = None) -> Tensor:
    """``mean K(x, x) - 2 mean K(x, y) + mean K(y, y)`` with the diagonals: the biased estimate, a scalar.

    Kernels of distances are summed in float64, since the result is a small difference of large means.

    Args:
        x: features ``[n, D]``.
        y: features ``[m, D]``.
        kernel: ``gaussian``, the sum over j from -2 to 2 of ``exp(-|| a - b ||^2 / (2^j h))``, where h, the
            mean squared distance of two different rows of both sets, is a constant to the gradient; ``linear``,
            ``a . b``; ``polynomial``, ``(a . b + 1)^2``; ``laplace``, the sum of ``exp(-g || a - b ||^2)`` for g of
            0.1, 1 and 5.
        share: of each row of y in its means ``[m]``, equal ones by default; rows with 0 are no part of the set.
    """
    both, count = torch.cat([x, y]), len(x)
    share = y.new_full((len(y),), 1 / len(y)) if share is None else share
    present = torch.cat([x.new_ones(count), (share > 0).to(x.dtype)])
    match kernel:
        case "linear":
            return (x.mean(dim=0) - share @ y).square().sum()
        case "polynomial":
            values = (both @ both.T + 1).square()
        case "gaussian":
            apart, there = squared_distances(both).double(), present.double()
            pairs = there.sum().square() - there.sum()
            width = (there @ apart.detach() @ there / pairs).clamp_min(torch.finfo(x.dtype).tiny)
            values = sum((torch.exp(-apart / (width * 2.0**octave)) for octave in _OCTAVES), torch.zeros_like(apart))
        case "laplace":
            apart = squared_distances(both).double()
            values = sum((torch.exp(-rate * apart) for rate in _RATES), torch.zeros_like(apart))
        case _:
            assert_never(kernel)
    rest = share.to(values.dtype)
    within, across = values[:count, :count].mean(), values[:count, count:].mean(dim=0) @ rest
    return (within - 2 * across + rest @ values[count:, count:] @ rest).to(x.dtype)


def squared_distances(rows: Tensor) -> Tensor:
    """Squared Euclidean distances of all rows ``[N, D]`` to one another, ``[N, N]``.

    The rows are centred first, so that what cancels is of the size of the distances, not of the features.
    """
    rows = rows - rows.mean(dim=0).detach()
    squares = rows.square().sum(dim=1)
    return (squares[:, None] + squares[None, :] - 2 * rows @ rows.T).clamp_min(0)
