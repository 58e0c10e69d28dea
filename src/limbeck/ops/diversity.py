"""How much the features of a set are spread, and how they lie among those of the real images.

Everything is computed in float64, a few rows at a time where all pairs are needed. References: Du et al.,
"Diversity-driven synthesis: enhancing dataset distillation through directed weight adjustment", NeurIPS 2024 (DWA; its
Eq. 20 is the feature distance); Roy and Vetterli, "The effective rank: a measure of effective dimensionality", EUSIPCO
2007; Gretton et al., "A kernel two-sample test", JMLR 2012.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from limbeck.core.errors import InputError

__all__ = [
    "covariance_trace",
    "coverage",
    "effective_rank",
    "feature_distance",
    "mmd2_gaussian",
    "mmd2_linear",
    "mmd2_mixture",
    "nearest",
    "neighbour_distances",
    "pair_distance",
    "relative",
]

_PAIRS = 2**21
"""Pairs of rows whose distances are in memory at once: 16 MiB."""
_BANDWIDTHS = tuple(2.0**power for power in range(-2, 3))
"""Multiples of the mean squared distance in the mixture of M3D's code."""


def feature_distance(features: Tensor) -> Tensor:
    """DWA's feature distance: the sum of squared distances over all ordered pairs, Eq. 20.

    Computed as ``2 n sum_i ||g_i - mean||^2``, which is the same.

    Args:
        features: ``[n, D]``, of one class.

    Returns:
        A scalar.
    """
    return 2 * len(features) * _centred(features).square().sum()


def pair_distance(features: Tensor) -> Tensor:
    """The mean squared distance over ordered pairs of distinct rows, ``feature_distance / (n (n - 1))``.

    Sets of different size can be compared by it: it is twice the trace of the unbiased covariance.

    Args:
        features: ``[n, D]``, of one class, n at least 2.

    Raises:
        InputError: there is one row only.
    """
    count = len(features)
    if count < 2:
        raise InputError("a single image has no distance to others; ask for two or more images per class.")
    return feature_distance(features) / (count * (count - 1))


def relative(distances: Sequence[float]) -> list[float]:
    """Each distance divided by the largest of the compared ones; all zero when that is zero."""
    most = max(distances, default=0.0)
    return [value / most if most else 0.0 for value in distances]


def covariance_trace(features: Tensor) -> Tensor:
    """The trace of the covariance ``sum_i ||g_i - mean||^2 / n`` (population), 0 for one row.

    Args:
        features: ``[n, D]``, of one class.
    """
    return _centred(features).square().sum() / len(features)


def effective_rank(features: Tensor) -> Tensor:
    """The exponential of the entropy of the covariance's eigenvalues, each divided by their sum.

    Between 1 (all spread in one direction) and min(n - 1, D); 0 when there is no spread at all. The eigenvalues are
    those of the smaller of the two matrices that share them: Gram matrix ``[n, n]`` or covariance ``[D, D]``.

    Args:
        features: ``[n, D]``, of one class.
    """
    centred = _centred(features)
    gram = centred @ centred.T if len(centred) < centred.shape[1] else centred.T @ centred
    values = torch.linalg.eigvalsh(gram).clamp_min(0)
    total = values.sum()
    if float(total) == 0:
        return total
    shares = values / total
    return torch.special.entr(shares).sum().exp()


def nearest(points: Tensor, others: Tensor) -> tuple[Tensor, Tensor]:
    """The nearest of some rows to each of others, and how far it is.

    Args:
        points: ``[n, D]``.
        others: ``[m, D]``.

    Returns:
        Distances, float64 ``[n]``, exactly zero for equal rows, and row numbers, int64 ``[n]``.
    """
    points, others = points.double(), others.double()
    found = [some.argmin(dim=1) for _, some in _squared_distances(points, others)]
    rows = torch.cat(found)
    return _apart(points, others, rows), rows


def neighbour_distances(features: Tensor) -> Tensor:
    """Distance of each row to its nearest other row, float64 ``[n]``.

    Args:
        features: ``[n, D]``, n at least 2.
    """
    features = features.double()
    found = []
    for first, some in _squared_distances(features, features):
        own = torch.arange(first, first + len(some), device=some.device)
        found.append(some.scatter(1, own.unsqueeze(1), torch.inf).argmin(dim=1))
    return _apart(features, features, torch.cat(found))


def coverage(real: Tensor, synthetic: Tensor, labels: Tensor, label: int, radius: float | Tensor) -> Tensor:
    """Share of the real images of a class that a synthetic image of the class stands for.

    A real image counts when the nearest of all synthetic images is of its class and no farther than ``radius``.

    Args:
        real: features of the real images of the class, ``[m, D]``.
        synthetic: features of the synthetic images of all classes, ``[n, D]``.
        labels: their classes, int64 ``[n]``.
        label: the class.
        radius: usually the median distance of a real image of the class to its nearest real neighbour.
    """
    distances, rows = nearest(real, synthetic)
    return ((labels[rows] == label) & (distances <= radius)).double().mean()


def mmd2_linear(x: Tensor, y: Tensor) -> Tensor:
    """Squared maximum mean discrepancy of the linear kernel, ``||mean x - mean y||^2``.

    Args:
        x: ``[n, D]``.
        y: ``[m, D]``.
    """
    return (x.double().mean(dim=0) - y.double().mean(dim=0)).square().sum()


def mmd2_gaussian(x: Tensor, y: Tensor, gamma: float | Tensor) -> Tensor:
    """Squared maximum mean discrepancy of the kernel ``exp(-gamma ||a - b||^2)``, a biased V-statistic.

    ``mean k(x, x) + mean k(y, y) - 2 mean k(x, y)``, diagonals included; differentiable.

    Args:
        x: ``[n, D]``.
        y: ``[m, D]``.
        gamma: the kernel's parameter.
    """
    return _mmd2(x, y, [torch.as_tensor(gamma, dtype=torch.float64)])


def mmd2_mixture(x: Tensor, y: Tensor) -> Tensor:
    """The same for a sum of five Gaussian kernels ``exp(-||a - b||^2 / (b 2^j))``, j from -2 to 2 (M3D's code).

    b is the mean squared distance over ordered pairs of distinct rows of both sets together, which is not
    differentiated. The value lies between 0 and 10 and its bias is of the order of 5 / n, so that only sets of one size
    can be compared.

    Args:
        x: ``[n, D]``.
        y: ``[m, D]``.
    """
    scale = pair_distance(torch.cat([x.detach(), y.detach()]))
    if not float(scale):
        return mmd2_linear(x, y)  # all rows are equal: zero
    return _mmd2(x, y, [1 / (scale * factor) for factor in _BANDWIDTHS])


def _mmd2(x: Tensor, y: Tensor, gammas: Sequence[Tensor]) -> Tensor:
    x, y = x.double(), y.double()

    def mean(one: Tensor, other: Tensor) -> Tensor:
        total = one.new_zeros(())
        for _, some in _squared_distances(one, other):
            for gamma in gammas:
                total = total + (-gamma.to(some.device) * some).exp().sum()
        return total / (len(one) * len(other))

    return mean(x, x) + mean(y, y) - 2 * mean(x, y)


def _squared_distances(one: Tensor, other: Tensor) -> Iterator[tuple[int, Tensor]]:
    """Squared distances ``[b, m]`` of some rows to all of the other set at a time, and the first of those rows."""
    # Distances stay when both sets are moved; products of small numbers lose fewer digits.
    centre = other.detach().mean(dim=0)
    one, other = (one - centre,) * 2 if one is other else (one - centre, other - centre)
    norms = other.square().sum(dim=1)
    size = max(1, _PAIRS // len(other))
    for first in range(0, len(one), size):
        some = one[first : first + size]
        apart = some.square().sum(dim=1, keepdim=True) + norms - 2 * some @ other.T
        yield first, apart.clamp_min(0)


def _apart(points: Tensor, others: Tensor, rows: Tensor) -> Tensor:
    """Distance of each of ``points`` to the row of ``others`` that was chosen for it, from their difference."""
    size = max(1, _PAIRS // points.shape[1])
    pieces = [
        (some - others[which]).square().sum(dim=1).sqrt()
        for some, which in zip(points.split(size), rows.split(size), strict=True)
    ]
    return torch.cat(pieces)


def _centred(features: Tensor) -> Tensor:
    features = features.double()
    return features - features.mean(dim=0)
