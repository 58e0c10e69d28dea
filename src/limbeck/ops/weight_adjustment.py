"""Directed weight adjustment (Du et al., NeurIPS 2024): weights moved so that given images are learnt again."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["ascend", "global_norm"]

Weights = dict[str, Tensor]


def global_norm(gradient: Weights) -> Tensor:
    """Euclidean norm over all numbers of all tensors, a scalar."""
    return torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(one) for one in gradient.values()]))


def ascend(weights: Weights, gradient: Weights, length: float, normalized: bool) -> Weights:
    """Weights after one step up a gradient; those that have none stay.

    Args:
        weights: parameters and buffers by name.
        gradient: of the mean cross-entropy, by name, for the parameters.
        length: rho / K.
        normalized: whether ``length`` is the length of the step, ``length * g / (||g|| + 1e-12)`` with one norm over
            all weights (the authors' code), or a factor, ``length * g`` (Algorithm 1, line 7, as printed).
    """
    factor: Tensor | float = length / (global_norm(gradient) + 1e-12) if normalized else length
    return {name: tensor + factor * gradient[name] if name in gradient else tensor for name, tensor in weights.items()}
