"""How far the statistics that batch norm is given are from those that it has recorded (DeepInversion, SRe2L, DWA)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["distances", "total_variation", "weighted"]

Pairs = Sequence[tuple[Tensor, Tensor]]


def distances(seen: Pairs, recorded: Pairs, squared: bool = False) -> tuple[Tensor, Tensor]:
    """Distances of means and of variances, layer by layer (SRe2L, Eq. 6; DWA, Eq. 3).

    Args:
        seen: mean and biased variance of each layer's input, ``[C]`` each.
        recorded: running mean and variance of each layer, ``[C]`` each.
        squared: whether the Euclidean norms are squared.

    Returns:
        Norms of the differences of means and of variances, ``[L]`` each; neither is divided by the number of channels.
    """
    means = torch.stack([_norm(mean - wanted, squared) for (mean, _), (wanted, _) in zip(seen, recorded, strict=True)])
    variances = torch.stack(
        [_norm(var - wanted, squared) for (_, var), (_, wanted) in zip(seen, recorded, strict=True)]
    )
    return means, variances


def weighted(means: Tensor, variances: Tensor, mean: float, variance: float, first: float) -> Tensor:
    """``sum over layers of w_l (mean * means_l + variance * variances_l)``, w_0 = ``first``, all others 1."""
    layers = torch.ones_like(means)
    layers[0] = first
    return (layers * (mean * means + variance * variances)).sum()


def total_variation(images: Tensor) -> tuple[Tensor, Tensor]:
    """Total variation of a batch ``[B, C, H, W]``: between neighbours across, down and along both diagonals.

    Returns:
        The sum of the four Euclidean norms over the whole batch, and the sum of the four mean absolute values.
    """
    pairs = (
        images[..., :, :-1] - images[..., :, 1:],
        images[..., :-1, :] - images[..., 1:, :],
        images[..., 1:, :-1] - images[..., :-1, 1:],
        images[..., :-1, :-1] - images[..., 1:, 1:],
    )
    norms = torch.stack([pair.norm() for pair in pairs]).sum()
    return norms, torch.stack([pair.abs().mean() for pair in pairs]).sum()


def _norm(difference: Tensor, squared: bool) -> Tensor:
    return difference.square().sum() if squared else torch.linalg.vector_norm(difference)
