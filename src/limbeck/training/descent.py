"""How weights go down a gradient: what an optimizer remembers, and one step of it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from limbeck.core.network import FunctionalNetwork, Weights
from limbeck.ops import adamw
from limbeck.training.settings import Training

__all__ = ["Momenta", "move", "moved", "still"]

Momenta = dict[str, Any]
"""What an optimizer remembers between steps, from `still`; a tree that can be saved. Of SGD the velocity of each
parameter by name; of Adam the ``first`` and ``second`` moments likewise, and the number of ``steps``."""


def still(network: FunctionalNetwork, weights: Weights, training: Training) -> Momenta:
    """What the optimizer remembers before the first step: nothing but zeros.

    Args:
        network: the architecture.
        weights: its weights.
        training: which optimizer.
    """

    def zeros() -> Weights:
        return {name: torch.zeros_like(weights[name]) for name in network.parameter_names()}

    return {"first": zeros(), "second": zeros(), "steps": 0} if training.optimizer != "sgd" else zeros()


def moved(velocity: Momenta, training: Training) -> Iterable[str]:
    """Names of the parameters that a step changes, by what the optimizer remembers of them."""
    return velocity if training.optimizer == "sgd" else velocity["first"]


def move(
    leaves: list[Tensor],
    gradients: list[Tensor],
    names: list[str],
    velocity: Momenta,
    training: Training,
    lr: float,
    axes: int = 0,
) -> None:
    """Take one step; leaves and what the optimizer remembers change in place, gradients may.

    Args:
        leaves: what is trained.
        gradients: of each.
        names: of each.
        velocity: what the optimizer remembers, from `still`.
        training: which optimizer, and its weight decay.
        lr: step size.
        axes: leading axes of each leaf that stand for several networks.
    """
    everything = training.decay == "all"
    chosen = [place for place, leaf in enumerate(leaves) if everything or leaf.ndim - axes > 1]
    decayed = [leaves[place] for place in chosen]
    if decayed and training.optimizer != "adamw":
        torch._foreach_add_([gradients[place] for place in chosen], decayed, alpha=training.weight_decay)
    if training.optimizer != "sgd":
        velocity["steps"] += 1
        first, second = ([velocity[moment][name] for name in names] for moment in ("first", "second"))
        number, betas = velocity["steps"], training.betas
        decoupled = training.weight_decay if training.optimizer == "adamw" else 0.0
        adamw.step(leaves, gradients, first, second, decayed, number, lr, betas, decoupled)
        return
    buffers = [velocity[name] for name in names]
    torch._foreach_mul_(buffers, training.momentum)
    torch._foreach_add_(buffers, gradients)
    if training.nesterov:
        torch._foreach_add_(gradients, buffers, alpha=training.momentum)
    torch._foreach_add_(leaves, gradients if training.nesterov else buffers, alpha=-lr)
