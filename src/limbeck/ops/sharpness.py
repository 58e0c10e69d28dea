"""GSAM: a direction that goes down the loss and towards flat regions of it, from two gradients of one batch.

Zhuang et al., "Surrogate gap minimization improves sharpness-aware training", ICLR 2022, with the adaptive step of Kwon
et al., "ASAM", ICML 2021; in the form in which Du et al., "Minimizing the accumulated trajectory error to improve
dataset distillation" (FTD), CVPR 2023, train their experts.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["ascend", "descend"]

Weights = dict[str, Tensor]

_TINY = 1e-12


def ascend(weights: Weights, gradient: Weights, rho: float, adaptive: bool) -> Weights:
    """Weights after a step up the loss, to where it is sharpest nearby.

    The step is ``rho * w² * g / (|| |w| * g || + 1e-12)``, with one norm over all weights; not adaptive,
    ``rho * g / (||g|| + 1e-12)``.

    Args:
        weights: parameters by name.
        gradient: of the loss at them.
        rho: length of the step.
        adaptive: whether large weights move further.
    """
    scales = {name: weights[name].abs() if adaptive else torch.ones_like(weights[name]) for name in gradient}
    length = _norm({name: scales[name] * one for name, one in gradient.items()})
    factor = rho / (length + _TINY)
    return {name: tensor + factor * scales[name] ** 2 * gradient[name] for name, tensor in weights.items()}


def descend(clean: Weights, sharp: Weights, alpha: float) -> Weights:
    """The direction whose negative is stepped: the gradient at the sharp point without the gap's growth.

    ``sharp - alpha * (clean - c * |clean| * sharp / |sharp|)``, where c is the cosine of the two over all weights: the
    part of the clean gradient that the sharp one does not see is gone up.

    Args:
        clean: gradient at the weights themselves, by name.
        sharp: gradient at the weights that `ascend` gives.
        alpha: how much of that part; 0 for SAM.
    """
    product = torch.stack([(clean[name] * sharp[name]).sum() for name in clean]).sum()
    ours, theirs = _norm(clean), _norm(sharp)
    along = product / (ours * theirs + _TINY) * ours / (theirs + _TINY)
    return {name: one - alpha * (clean[name] - along * one) for name, one in sharp.items()}


def _norm(tensors: Weights) -> Tensor:
    """Euclidean norm over all numbers of all tensors, a scalar."""
    return torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(one) for one in tensors.values()]))
