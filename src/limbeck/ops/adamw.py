"""AdamW: Adam whose weight decay does not pass through its moments.

Loshchilov and Hutter, "Decoupled weight decay regularization", ICLR 2019, algorithm 2; the form that PyTorch gave it.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["EPSILON", "step"]

EPSILON = 1e-8
"""Added to the root of the second moment."""


def step(
    weights: list[Tensor],
    gradients: list[Tensor],
    first: list[Tensor],
    second: list[Tensor],
    decayed: list[Tensor],
    number: int,
    lr: float,
    betas: tuple[float, float],
    weight_decay: float,
) -> None:
    """One step; weights and moments change in place.

    Args:
        weights: what is trained.
        gradients: of each.
        first: mean of the gradient of each, zero before the first step.
        second: mean of the squared gradient of each, zero before the first step.
        decayed: those of the weights that decay.
        number: which step, from 1.
        lr: step size.
        betas: how much the two means keep.
        weight_decay: share of a weight that it loses, times the step size.
    """
    if decayed and weight_decay:
        torch._foreach_mul_(decayed, 1 - lr * weight_decay)
    torch._foreach_lerp_(first, gradients, 1 - betas[0])
    torch._foreach_mul_(second, betas[1])
    torch._foreach_addcmul_(second, gradients, gradients, 1 - betas[1])
    scale = torch._foreach_sqrt(second)
    torch._foreach_div_(scale, (1 - betas[1] ** number) ** 0.5)
    torch._foreach_add_(scale, EPSILON)
    torch._foreach_addcdiv_(weights, first, scale, -lr / (1 - betas[0] ** number))
