"""Distance between the covariances of two sets of features (DSDM, equation 5)."""

from __future__ import annotations

from torch import Tensor

__all__ = ["covariance_distance"]


def covariance_distance(
    real: Tensor, synthetic: Tensor, *, unbiased: bool = True, share: Tensor | None = None
) -> Tensor:
    """``|| Cov(real) - Cov(synthetic) ||_F ** 2``, a scalar.

    With rows A and B that are centred and divided by the root of the divisor, ``|| A'A - B'B ||^2`` equals
    ``|| AA' ||^2 + || BB' ||^2 - 2 || AB' ||^2``: exact, and without a D x D matrix. The matrices themselves are formed
    where they are the smaller ones.

    Args:
        real: features ``[B, D]``.
        synthetic: features ``[m, D]``.
        unbiased: divide by ``N - 1`` (the code of DSDM, at least 2 rows on either side) or by ``N`` (its paper).
        share: of each row of ``real`` in its mean ``[B]``, equal ones by default; rows with 0 are no part of the set,
            all others have the same.
    """
    a, b = _scaled(real, unbiased, share), _scaled(synthetic, unbiased, None)
    if max(len(real), len(synthetic)) < real.shape[1]:
        return (a @ a.T).square().sum() + (b @ b.T).square().sum() - 2 * (a @ b.T).square().sum()
    return (a.T @ a - b.T @ b).square().sum()


def _scaled(features: Tensor, unbiased: bool, share: Tensor | None) -> Tensor:
    """Centred rows divided by the root of the divisor; rows without a share are 0."""
    if share is None:
        return (features - features.mean(dim=0)) / (len(features) - int(unbiased)) ** 0.5
    present = share > 0
    divisor = present.sum() - int(unbiased)
    return (features - share @ features) * present[:, None] / divisor.to(features.dtype).sqrt()
