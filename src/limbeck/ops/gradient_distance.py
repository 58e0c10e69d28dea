"""Distances between the gradients that real and synthetic images give a network.

References: Zhao et al., "Dataset Condensation with Gradient Matching", ICLR 2021 (cosine of rows); Kim et
al., "Dataset Condensation via Efficient Synthetic-Data Parameterization", ICML 2022 (sums of squared and of
absolute differences, as in the authors' code: the learning rates fit sums, not means).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, assert_never

import torch
from torch import Tensor

from limbeck.core.errors import InputError

__all__ = ["Metric", "distance", "feature_mean_distance", "selected", "tensor_distance"]

Metric = Literal["mse", "l1", "l1_mean", "cosine", "full_cosine"]
_GUARD = 1e-6


def distance(real: Sequence[Tensor], synthetic: Sequence[Tensor], metric: Metric) -> Tensor:
    """How far two lists of gradients lie apart, a scalar.

    * ``mse``: sum of squared differences over all elements of all tensors.
    * ``l1``: sum of absolute differences.
    * ``l1_mean``: the mean absolute difference of each output row, summed over rows and tensors.
    * ``cosine``: ``1 - <a, b> / (|a| |b| + 1e-6)`` for each output row, summed over rows and tensors; tensors
      of one dimension contribute nothing. This is DC's own distance.
    * ``full_cosine``: the same for one vector, the concatenation of all tensors.

    A row is ``tensor[i]``, flattened. The real side is usually detached by the caller.

    Args:
        real: gradients of the real images, one tensor per parameter.
        synthetic: gradients of the synthetic images, same shapes and order.
        metric: one of the names above.
    """
    if len(real) != len(synthetic) or not real:
        raise InputError(f"{len(real)} real and {len(synthetic)} synthetic gradients; give equally many, at least one.")
    if metric == "full_cosine":
        whole = (torch.cat([tensor.reshape(-1) for tensor in side]) for side in (real, synthetic))
        return _cosine(*whole)
    return torch.stack([tensor_distance(a, b, metric) for a, b in zip(real, synthetic, strict=True)]).sum()


def tensor_distance(real: Tensor, synthetic: Tensor, metric: Metric) -> Tensor:
    """The term of one parameter in `distance`, a scalar; ``full_cosine`` takes the tensor as one vector."""
    if real.shape != synthetic.shape:
        raise InputError(f"gradients of shapes {tuple(real.shape)} and {tuple(synthetic.shape)} cannot be compared.")
    match metric:
        case "mse":
            return (real - synthetic).square().sum()
        case "l1":
            return (real - synthetic).abs().sum()
        case "l1_mean":
            return (real - synthetic).abs().reshape(real.shape[0], -1).mean(dim=1).sum()
        case "cosine":
            if real.ndim < 2:
                return torch.zeros_like(synthetic[0])
            return _cosine(real.flatten(1), synthetic.flatten(1)).sum()
        case "full_cosine":
            return _cosine(real.reshape(-1), synthetic.reshape(-1))
        case _:
            assert_never(metric)


def selected(ndim: int, bias: bool, classifier: bool) -> bool:
    """Whether IDC compares the gradient of a parameter with ``ndim`` dimensions.

    Args:
        ndim: dimensions of the parameter.
        bias: whether parameters of one dimension (biases, scales and shifts of norms) take part.
        classifier: whether parameters of two dimensions (weights of linear layers) take part.
    """
    return {1: bias, 2: classifier}.get(ndim, True)


def feature_mean_distance(real: Tensor, synthetic: Tensor) -> Tensor:
    """Squared distance between the batch means of two sets of features, a scalar; IDC's ``feat`` matching.

    Args:
        real: features ``[B, ...]`` of real images.
        synthetic: features ``[n, ...]`` of synthetic images, same trailing shape.
    """
    return (real.mean(dim=0) - synthetic.mean(dim=0)).square().sum()


def _cosine(a: Tensor, b: Tensor) -> Tensor:
    """One minus the cosine along the last axis, guarded."""
    return 1 - (a * b).sum(dim=-1) / (_norm(a) * _norm(b) + _GUARD)


def _norm(a: Tensor) -> Tensor:
    """Euclidean norm along the last axis, whose derivatives of every order are finite (zero) for a zero row.

    Dead filters give zero rows; the root alone would turn them into NaN in the second derivative.
    """
    square = a.square().sum(dim=-1)
    positive = square > 0
    return torch.where(positive, torch.where(positive, square, 1.0).sqrt(), 0.0)
