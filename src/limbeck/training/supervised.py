"""The one supervised loop: a pure step, its randomness drawn outside, and the epochs around it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from limbeck.core.errors import RunError
from limbeck.core.network import FunctionalNetwork, Weights
from limbeck.core.streams import Streams
from limbeck.ops import adamw
from limbeck.training.gradients import Lesson, by_labels, by_teacher, gradient, side_by_side
from limbeck.training.lessons import Lessons, Shuffled, SoftLoss
from limbeck.training.passes import as_convolved, forward
from limbeck.training.settings import BatchDraws, Mix, Training

__all__ = [
    "BatchDraws",
    "Mix",
    "Momenta",
    "Training",
    "accuracy",
    "fit",
    "move",
    "still",
    "supervised_step",
    "taught_step",
    "watched_step",
]

Momenta = dict[str, Any]
"""What an optimizer remembers between steps, from `still`; a tree that can be saved. Of SGD the velocity of each
parameter by name; of Adam the ``first`` and ``second`` moments likewise, and the number of ``steps``."""


def supervised_step(
    network: FunctionalNetwork,
    weights: Weights,
    velocity: Momenta,
    images: Tensor,
    labels: Tensor,
    training: Training,
    draws: BatchDraws,
    lr: float,
) -> Tensor:
    """One step on one batch; weights and velocity change in place.

    Args:
        network: the architecture.
        weights: its parameters and buffers.
        velocity: what the optimizer remembers, from `still`.
        images: ``[B, C, H, W]`` in normalized space.
        labels: int64 ``[B]``, or probabilities ``[B, K]``.
        training: how to train.
        draws: the batch's random numbers.
        lr: step size, which a schedule may have changed.

    Returns:
        The loss before the step, a scalar.
    """
    return _step(network, weights, velocity, images, labels, training, draws, lr, watched=False)[0]


def watched_step(
    network: FunctionalNetwork,
    weights: Weights,
    velocity: Momenta,
    images: Tensor,
    labels: Tensor,
    training: Training,
    draws: BatchDraws,
    lr: float,
) -> tuple[Tensor, Tensor]:
    """The same step, and what the network said of the batch in its forward pass, before it changed.

    Args:
        network: the architecture.
        weights: its parameters and buffers.
        velocity: what the optimizer remembers, from `still`.
        images: ``[B, C, H, W]`` in normalized space.
        labels: int64 ``[B]``.
        training: how to train.
        draws: the batch's random numbers.
        lr: step size.

    Returns:
        The loss before the step, a scalar, and the predicted class of each image as the step saw it (augmented and
        mixed, batch norm on this batch), int64 ``[B]``.
    """
    return _step(network, weights, velocity, images, labels, training, draws, lr, watched=True)


def taught_step(
    network: FunctionalNetwork,
    weights: Weights,
    velocity: Momenta,
    images: Tensor,
    logits: Tensor,
    soft: SoftLoss,
    training: Training,
    lr: float,
) -> Tensor:
    """One step towards what a teacher says of a batch; weights and velocity change in place.

    Args:
        network: the architecture.
        weights: its parameters and buffers.
        velocity: what the optimizer remembers, from `still`.
        images: the batch as the network sees it (`Training.seen`), ``[B, C, H, W]``.
        logits: the teacher's, ``[B, K]``.
        soft: how they are learnt from.
        training: how to train; images are neither augmented nor mixed any more.
        lr: step size, which a schedule may have changed.

    Returns:
        The loss before the step, a scalar.
    """
    lesson = by_teacher(images, logits, soft)
    return _descend(network, weights, velocity, lesson, training, lr, watched=False)[0]


def _step(
    network: FunctionalNetwork,
    weights: Weights,
    velocity: Momenta,
    images: Tensor,
    labels: Tensor,
    training: Training,
    draws: BatchDraws,
    lr: float,
    *,
    watched: bool,
) -> tuple[Tensor, Tensor]:
    """Loss and, if they are watched, predicted classes; else none."""
    lesson = by_labels(training.seen(images, draws), labels, draws.mix)
    return _descend(network, weights, velocity, lesson, training, lr, watched=watched)


def _descend(
    network: FunctionalNetwork,
    weights: Weights,
    velocity: Momenta,
    lesson: Lesson,
    training: Training,
    lr: float,
    *,
    watched: bool,
) -> tuple[Tensor, Tensor]:
    """A step down the gradient: loss and, if they are watched, predicted classes; else none."""
    names = list(_trained(velocity, training))
    leaves = [weights[name] for name in names]
    trained = dict(zip(names, map(as_convolved, leaves), strict=True))
    fixed = {name: tensor for name, tensor in weights.items() if name not in trained}
    found, loss, after, guesses = gradient(network, trained, fixed, lesson, watched)
    with torch.no_grad():
        for name in network.buffer_names():
            weights[name].copy_(after[name])
        stacked = network.execution.together > 1
        move(leaves, [found[name] for name in names], names, velocity, training, lr, int(stacked))
    return loss, guesses


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


def _trained(velocity: Momenta, training: Training) -> Iterable[str]:
    """Names of the parameters that a step changes."""
    return velocity if training.optimizer == "sgd" else velocity["first"]


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
    lessons: Lessons | Sequence[Lessons] | None = None,
    soft: SoftLoss | None = None,
    velocity: Momenta | None = None,
    first: int = 0,
    momentum: Callable[[int], float] | None = None,
) -> Iterator[tuple[int, Tensor]]:
    """Train a network, epoch by epoch; by default over shuffled ones, whose last, incomplete batch is used.

    Several networks are trained side by side, each as it would be alone, where the execution settings of ``network``
    say so (`limbeck.training.ensemble`).

    Args:
        network: the architecture.
        weights: its weights, changed in place; of several networks stacked.
        images: images in normalized space ``[B, C, H, W]`` for rows ``[B]``.
        labels: int64 ``[N]``, or probabilities ``[N, K]``, on the network's device.
        training: how to train.
        streams: random streams of this network's training; not read where there are lessons.
        shape: ``(C, H, W)``.
        lr: step size in a given epoch, counted from 0.
        steps: steps to take.
        forgets: whether the velocity is set to zero before a given epoch.
        watch: called after each step with the epoch, the rows ``[B]`` of its batch, and what the network said of
            them in the forward pass of the step, int64 ``[B]``; of one network.
        lessons: which batches, what is done to them, and who teaches them; shuffled epochs taught by labels by default.
            Of several networks one for each, whose batches are of one size.
        soft: how the network learns where ``lessons`` have logits.
        velocity: what the optimizer remembers of epochs before, changed in place; nothing by default.
        first: the epoch to begin with.
        momentum: momentum of SGD in a given epoch; that of the training by default.

    Yields:
        After each epoch its number and the mean of its losses, a scalar tensor, or ``[networks]``.

    Raises:
        RunError: a loss is no longer finite.
    """
    lessons = lessons or Shuffled(streams, training, shape, len(labels))
    courses = [lessons] if isinstance(lessons, Lessons) else list(lessons)
    soft = soft or SoftLoss()
    velocity = still(network, weights, training) if velocity is None else velocity
    epoch, done = first, 0
    while done < steps:
        if forgets(epoch):
            velocity.update(still(network, weights, training))
        now = training if momentum is None else replace(training, momentum=momentum(epoch))
        losses = []
        for batch, rows in enumerate(zip(*(course.order(epoch) for course in courses), strict=True)):
            if done == steps:
                break
            each = []
            for course, some in zip(courses, rows, strict=True):
                draws = course.draws(epoch, batch, some)
                seen = training.seen(images(some), draws)
                logits = course.logits(epoch, batch, seen)
                if logits is None:
                    each.append(by_labels(seen, labels[some.to(labels.device)], draws.mix))
                else:
                    each.append(by_teacher(seen, logits, soft))
            lesson = side_by_side(each)
            loss, guesses = _descend(network, weights, velocity, lesson, now, lr(epoch), watched=watch is not None)
            losses.append(loss)
            if watch is not None:
                watch(epoch, rows[0], guesses)
            done += 1
        mean = torch.stack(losses).mean(dim=0)
        finite = torch.isfinite(mean)
        if not bool(finite.all()):
            raise RunError(
                f"training of {network.name} diverged in epoch {epoch} (loss {float(mean[~finite].flatten()[0])}); "
                "lower its learning rate."
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
