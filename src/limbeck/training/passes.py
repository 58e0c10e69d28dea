"""Passes over many images a few at a time, in shapes and memory layouts that compiled steps are fast on."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from limbeck.core.execution import Execution
from limbeck.core.network import FunctionalNetwork, Output, Weights

__all__ = ["as_convolved", "forward", "padded", "portions"]


def as_convolved(tensor: Tensor) -> Tensor:
    """The same numbers, with channels last in memory if there are four axes."""
    return tensor.contiguous(memory_format=torch.channels_last) if tensor.ndim == 4 else tensor


def padded(tensor: Tensor, rows: int) -> Tensor:
    """``[B, ...]`` with zeros behind up to ``rows`` rows."""
    missing = rows - len(tensor)
    return tensor if missing <= 0 else torch.cat([tensor, tensor.new_zeros(missing, *tensor.shape[1:])])


def portions(
    execution: Execution, images: Tensor, *targets: Tensor, whole: bool = False
) -> Iterator[tuple[Tensor, ...]]:
    """Parts of a batch whose losses add up to its mean loss.

    Compiled steps get parts of one shape: the last one is filled up with images that count nothing.

    Args:
        execution: how many at a time, and whether steps are compiled.
        images: ``[B, C, H, W]``.
        *targets: what they are taught, labels ``[B]`` or logits ``[B, K]``.
        whole: whether the batch must stay in one piece, because its images see one another.

    Yields:
        Images ``[b, C, H, W]``, targets ``[b, ...]`` and each image's share of the loss ``[b]``, ``1 / B`` or 0.
    """
    count = len(images)
    filled = execution.compile and not whole and execution.microbatch > 0
    size = count if whole or not execution.microbatch else min(execution.microbatch, count)
    size = execution.microbatch if filled else size
    shares = images.new_full((count,), 1 / count)
    for first in range(0, count, size):
        some, *others = (rows[first : first + size] for rows in (images, *targets, shares))
        if filled:
            some, *others = (padded(rows, size) for rows in (some, *others))
        yield as_convolved(some) if execution.compile else some, *others


@torch.no_grad()
def forward(
    network: FunctionalNetwork, weights: Weights, images: Tensor, output: Output = "logits", train: bool = False
) -> Tensor:
    """What a network says of many images, a few at a time, without a gradient.

    Args:
        network: the architecture, whose execution settings say how many at a time.
        weights: its weights.
        images: ``[B, C, H, W]`` in normalized space.
        output: ``logits`` or ``embedding``.
        train: training mode, for networks in which images do not see one another.

    Returns:
        ``[B, classes]`` or ``[B, D]``.
    """
    execution, run = network.execution, network.program(_forward, output=output, train=train)
    if not execution.compile:
        return torch.cat([run(weights, some) for some in images.split(execution.microbatch or len(images))])
    size = execution.microbatch or len(images)
    weights = {name: as_convolved(tensor.detach()) for name, tensor in weights.items()}
    pieces = [run(weights, as_convolved(padded(some, size)))[: len(some)] for some in images.split(size)]
    return torch.cat(pieces)


def _forward(network: FunctionalNetwork, weights: Weights, images: Tensor, *, output: Output, train: bool) -> Tensor:
    return network(weights, images, output, train=train)
