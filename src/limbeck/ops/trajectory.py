"""The formulae of trajectory matching: students, distances, and the exact gradient in constant graph memory.

A student starts at an expert's weights and takes N steps on synthetic images X_1 .. X_N,

    v_n = m v_{n-1} + nu g_{n-1},    theta_n = theta_{n-1} - beta v_n,    g_{n-1} = grad_theta CE(theta_{n-1}; X_n),

and is compared with the expert at one or more steps (MTT, equation 2; AST, equations 2 to 4):

    L = sum_k w_k |theta_{n_k} - target_k|^2 / D_k.

The gradient needs no graph through the steps. With lambda_n = dL / dtheta_n and q_n = lambda_n + m q_{n+1}, the scalars
t_n = nu <q_n, g_{n-1}(theta_{n-1}, X_n)> give, from n = N down to 1,

    dL/dX_n = -beta dt_n/dX_n,    dL/dbeta = -sum_n t_n,    lambda_{n-1} = lambda_n - beta dt_n/dtheta_{n-1},

to which each comparison adds 2 w_k (theta_n - target_k) / D_k at its own step. Only the weights after each step are
kept. TESLA (Cui et al., ICML 2023) leaves out the last of the three: its gradient is exact for one step only.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

__all__ = [
    "Comparison",
    "adjoint",
    "balance",
    "dropped",
    "gap",
    "iterates",
    "perturbed_filters",
    "perturbed_tensors",
    "points",
]

Vector = list[Tensor]
"""The parameters of a network, tensor by tensor in a fixed order."""


@dataclass(frozen=True)
class Comparison:
    """One term of the loss.

    Args:
        step: student steps after which the student is compared, 1 .. N.
        target: the expert's parameters.
        scale: ``w / D``, what the squared distance is multiplied by, a scalar.
    """

    step: int
    target: Vector
    scale: Tensor

    def loss(self, theta: Vector) -> Tensor:
        """The term, a scalar."""
        return self.scale * gap(theta, self.target)


def gap(one: Sequence[Tensor], other: Sequence[Tensor]) -> Tensor:
    """Squared Euclidean distance of two sets of parameters, over all of them together."""
    return torch.stack([(a - b).square().sum() for a, b in zip(one, other, strict=True)]).sum()


def iterates(
    advance: Callable[[int, Vector, Vector], tuple[Vector, Vector]], start: Vector, steps: int
) -> list[Vector]:
    """The student's parameters before the first step and after each one, ``steps + 1`` in all.

    Args:
        advance: from the number of a step, 0 .. steps - 1, and parameters and velocity before it, to both after it.
        start: theta_0.
        steps: N.
    """
    theta, velocity, found = start, [torch.zeros_like(tensor) for tensor in start], [start]
    for number in range(steps):
        theta, velocity = advance(number, theta, velocity)
        found.append(theta)
    return found


def adjoint(
    pull: Callable[[int, Vector, Vector], tuple[Tensor, Vector | None]],
    found: Sequence[Vector],
    lr: Tensor,
    momentum: float,
    comparisons: Sequence[Comparison],
) -> Tensor:
    """dL/dbeta, by the recursion from the last step to the first.

    Args:
        pull: from the number of a step, the parameters before it and q_n, to t_n and dt_n/dtheta; it takes what it
            wants of -beta dt_n/dX_n for the images meanwhile. None for dt_n/dtheta takes the parameters for constants
            (TESLA).
        found: what `iterates` gave; entries are released on the way if it is a list that nobody else holds.
        lr: beta, a scalar.
        momentum: m.
        comparisons: the terms of the loss.
    """
    steps = len(found) - 1
    slope = [torch.zeros_like(tensor) for tensor in found[0]]
    heading = [torch.zeros_like(tensor) for tensor in found[0]]
    total = torch.zeros_like(lr)
    due: dict[int, list[Comparison]] = {}
    for comparison in comparisons:
        due.setdefault(comparison.step, []).append(comparison)
    for number in reversed(range(steps)):
        for comparison in due.get(number + 1, ()):
            for place, (one, other) in enumerate(zip(found[number + 1], comparison.target, strict=True)):
                slope[place] = slope[place] + 2 * comparison.scale * (one - other)
        heading = [ahead + momentum * old for ahead, old in zip(slope, heading, strict=True)]
        value, below = pull(number, found[number], heading)
        total = total - value
        if below is not None:
            slope = [ahead - lr * part for ahead, part in zip(slope, below, strict=True)]
    return total


def balance(start: int, starts: int, base: float = 5.0, shift: float = 8.0) -> float:
    """nu, what the student's loss is multiplied by for a start early or late in the expert's training (AST, Eq. 2).

    ``log(start - mid + shift)`` from the middle of the range on, ``1 / log(mid - start + shift)`` before it.

    Args:
        start: epoch that the student starts at, from 0.
        starts: epochs it may start at, T+.
        base: of the logarithm; 5 in the authors' code, the paper says none.
        shift: 8 in the paper.
    """
    middle = starts // 2
    if start >= middle:
        return math.log(start - middle + shift, base)
    return 1 / math.log(middle - start + shift, base)


def points(steps: int, span: int, rule: Literal["paper", "official"] = "paper") -> tuple[int, ...]:
    """Student steps at which it is compared with the expert's epochs between start and target (AST, Eq. 4).

    Args:
        steps: N.
        span: M, epochs of the expert.
        rule: ``floor(i N / M)``, or the code's ``i * floor(N / M)``.

    Returns:
        ``span - 1`` numbers of steps taken, for the expert's epochs 1 .. M - 1 after the start.
    """
    return tuple(each * steps // span if rule == "paper" else each * (steps // span) for each in range(1, span))


def perturbed_filters(weights: Mapping[str, Tensor], noise: Mapping[str, Tensor], alpha: float, linear: bool) -> dict:
    """Parameters with each filter moved by ``alpha`` times its norm in a random direction (AST, Eq. 5).

    Args:
        weights: parameters by name; those with four axes are moved filter by filter, along the first axis.
        noise: standard normal numbers in the same shapes.
        alpha: length of the move relative to the filter's norm.
        linear: whether rows of matrices are moved as well.
    """
    moved = {}
    for name, weight in weights.items():
        if weight.ndim == 4 or (linear and weight.ndim == 2):
            axes = tuple(range(1, weight.ndim))
            lengths = torch.linalg.vector_norm(weight, dim=axes, keepdim=True)
            drawn = torch.linalg.vector_norm(noise[name], dim=axes, keepdim=True)
            moved[name] = weight + alpha * noise[name] * (lengths / drawn)
        else:
            moved[name] = weight
    return moved


def perturbed_tensors(weights: Mapping[str, Tensor], noise: Mapping[str, Tensor], alpha: float) -> dict[str, Tensor]:
    """Parameters of convolutions multiplied by ``1 + alpha * d / |d|``, the norm over a whole tensor (AST's code).

    Args:
        weights: parameters by name.
        noise: standard normal numbers d in the same shapes.
        alpha: 1 in the code.
    """
    return {
        name: weight + alpha * (noise[name] / torch.linalg.vector_norm(noise[name])) * weight
        if weight.ndim == 4
        else weight
        for name, weight in weights.items()
    }


def dropped(weight: Tensor, chances: Tensor, probability: float) -> Tensor:
    """A tensor with entries set to zero, without gain for the others (AST, Fig. 5).

    Args:
        weight: any shape.
        chances: uniform numbers in [0, 1) of the same shape.
        probability: share that is set to zero.
    """
    return torch.where(chances < probability, torch.zeros_like(weight), weight)
