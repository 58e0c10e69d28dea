"""Networks trained on a synthetic set, and how hard real images are for them."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from limbeck.core.batch import View
from limbeck.core.context import Context
from limbeck.core.network import FunctionalNetwork, Weights
from limbeck.core.streams import Streams
from limbeck.training.embedding import embed
from limbeck.training.settings import Training
from limbeck.training.supervised import fit

__all__ = ["CHECKPOINTS", "difficulty", "scorers"]

CHECKPOINTS = (0.1, 0.25, 0.5, 1.0)
"""Shares of a training after which its network is kept."""


@dataclass(frozen=True)
class _Lesson:
    """What all scorers are trained on, and how."""

    network: FunctionalNetwork
    images: Tensor
    targets: Tensor
    training: Training
    epochs: int
    shape: tuple[int, int, int]
    streams: Streams

    def lr(self, epoch: int) -> float:
        """Step size in an epoch: a fifth after two thirds of them, and again after five sixths."""
        drops = (2 * self.epochs // 3, 5 * self.epochs // 6)
        return self.training.lr * 0.2 ** sum(epoch >= drop for drop in drops)


def scorers(
    context: Context,
    network: FunctionalNetwork,
    images: Tensor,
    targets: Tensor,
    training: Training,
    epochs: int,
    count: int,
) -> list[list[Weights]]:
    """Fresh networks trained on a synthetic set, each as it was after a tenth, a quarter, a half and all of its epochs.

    Every network is an independent task of the run's executor. The step size is divided by 5 after two thirds of the
    epochs and again after five sixths, as in IDC's evaluation.

    Args:
        context: the run.
        network: architecture.
        images: of the set, in normalized space ``[N, C, H, W]``.
        targets: their labels, int64 ``[N]``.
        training: how networks are trained.
        epochs: for how long, at least 1.
        count: how many networks.

    Returns:
        For each network the weights in the order of `CHECKPOINTS`.

    Raises:
        RunError: a loss is no longer finite.
    """
    training = training.bound(context.spec)
    lesson = _Lesson(network, images, targets, training, epochs, context.spec.shape, context.streams)
    return list(context.executor.map(functools.partial(_train, lesson), range(count)))


def _train(lesson: _Lesson, number: int) -> list[Weights]:
    """One scorer at all its checkpoints."""
    network, epochs = lesson.network, lesson.epochs
    weights = network.initial(lesson.streams("scorer", number))
    due = [max(1, round(part * epochs)) for part in CHECKPOINTS]
    kept: list[Weights] = []
    for epoch, _ in fit(
        network,
        weights,
        lambda rows: lesson.images[rows.to(lesson.images.device)],
        lesson.targets,
        lesson.training,
        Streams(lesson.streams("scorer training", number).seed),
        lesson.shape,
        lesson.lr,
        epochs * -(-len(lesson.images) // lesson.training.batch_size),
    ):
        kept += [{name: tensor.clone() for name, tensor in weights.items()} for at in due if at == epoch + 1]
    return kept


@torch.no_grad()
def difficulty(context: Context, network: FunctionalNetwork, judges: Sequence[Weights]) -> Tensor:
    """How hard every real image is: its cross-entropy in evaluation mode, the mean over networks.

    Args:
        context: the run, with all real images.
        network: architecture of the networks.
        judges: their weights.

    Returns:
        float64 ``[N]`` on the CPU, in the order of rows.
    """
    data = context.data
    rows, total = torch.arange(len(data)), torch.zeros(len(data), dtype=torch.float64)
    for weights in judges:
        logits = embed(View(network, weights, train=False), data, rows, features="logits").cpu().double()
        total += F.cross_entropy(logits, data.labels, reduction="none")
    return total / len(judges)
