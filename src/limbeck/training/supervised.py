"""The one supervised loop: epochs of steps, and how many images a network gets right."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import torch
from torch import Tensor

from limbeck.core.errors import RunError
from limbeck.core.network import FunctionalNetwork, Weights
from limbeck.core.streams import Streams
from limbeck.training.descent import Momenta, still
from limbeck.training.lessons import Lessons, Shuffled, SoftLoss
from limbeck.training.passes import forward
from limbeck.training.settings import BatchDraws, Mix, Training
from limbeck.training.steps import Lesson, by_labels, by_logits, descend

__all__ = ["BatchDraws", "Mix", "Training", "accuracy", "fit"]


def fit(
    network: FunctionalNetwork,
    weights: Weights,
    images: Callable[[Tensor], Tensor],
    labels: Tensor,
    training: Training,
    streams: Streams,
    shape: tuple[int, int, int],
    lr: Callable[[int], float],
    steps: int,
    forgets: Callable[[int], bool] = lambda epoch: False,
    watch: Callable[[int, Tensor, Tensor], None] | None = None,
    lessons: Lessons | None = None,
    soft: SoftLoss | None = None,
    velocity: Momenta | None = None,
    first: int = 0,
    momentum: Callable[[int], float] | None = None,
) -> Iterator[tuple[int, Tensor]]:
    """Train a network, epoch by epoch; by default over shuffled ones, whose last, incomplete batch is used.

    Args:
        network: the architecture.
        weights: its weights, changed in place.
        images: images in normalized space ``[B, C, H, W]`` for rows ``[B]``.
        labels: int64 ``[N]``, or probabilities ``[N, K]``, on the network's device.
        training: how to train.
        streams: random streams of this network's training.
        shape: ``(C, H, W)``.
        lr: step size in a given epoch, counted from 0.
        steps: steps to take.
        forgets: whether the velocity is set to zero before a given epoch.
        watch: called after each step with the epoch, the rows ``[B]`` of its batch, and what the network said of
            them in the forward pass of the step, int64 ``[B]``.
        lessons: which batches, what is done to them, and who teaches them; shuffled epochs taught by labels by default.
        soft: how the network learns where ``lessons`` have logits.
        velocity: what the optimizer remembers of epochs before, changed in place; nothing by default.
        first: the epoch to begin with.
        momentum: momentum of SGD in a given epoch; that of the training by default.

    Yields:
        After each epoch its number and the mean of its losses, a scalar tensor.

    Raises:
        RunError: the loss is no longer finite.
    """
    lessons = lessons or Shuffled(streams, training, shape, len(labels))
    soft = soft or SoftLoss()
    velocity = still(network, weights, training) if velocity is None else velocity
    epoch, done = first, 0
    while done < steps:
        if forgets(epoch):
            velocity.update(still(network, weights, training))
        now = training if momentum is None else replace(training, momentum=momentum(epoch))
        losses = []
        for batch, rows in enumerate(lessons.order(epoch)):
            if done == steps:
                break
            draws = lessons.draws(epoch, batch, rows)
            seen = training.seen(images(rows), draws)
            logits = lessons.logits(epoch, batch, seen)
            lesson: Lesson
            if logits is None:
                lesson = by_labels(seen, labels[rows.to(labels.device)], draws.mix)
            else:
                lesson = by_logits(seen, logits, soft)
            loss, guesses = descend(network, weights, velocity, lesson, now, lr(epoch), watched=watch is not None)
            losses.append(loss)
            if watch is not None:
                watch(epoch, rows, guesses)
            done += 1
        mean = torch.stack(losses).mean()
        if not bool(torch.isfinite(mean)):
            raise RunError(
                f"training of {network.name} diverged in epoch {epoch} (loss {float(mean)}); lower its learning rate."
            )
        yield epoch, mean
        epoch += 1


@torch.no_grad()
def accuracy(
    network: FunctionalNetwork,
    weights: Weights,
    images: Callable[[Tensor], Tensor],
    labels: Tensor,
    chunk: int = 512,
) -> float:
    """Fraction of images whose largest logit is their label's.

    Args:
        network: the architecture.
        weights: its weights.
        images: images in normalized space ``[B, C, H, W]`` for rows ``[B]``.
        labels: int64 ``[N]``.
        chunk: images per forward pass.
    """
    right = torch.zeros((), dtype=torch.int64)
    for rows in torch.arange(labels.numel()).split(chunk):
        logits = forward(network, weights, images(rows))
        right += (logits.argmax(dim=1).cpu() == labels[rows.to(labels.device)].cpu()).sum()
    return int(right) / labels.numel()
