"""The one supervised loop: a pure step, its randomness drawn outside, and the epochs around it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from limbeck.core.errors import RunError
from limbeck.core.network import FunctionalNetwork, Weights, gradient_and_value
from limbeck.core.streams import Streams
from limbeck.ops import adamw
from limbeck.ops.distillation import soft_losses
from limbeck.training.lessons import Lessons, Shuffled, SoftLoss
from limbeck.training.passes import as_convolved, forward, portions
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
    lesson = _Soft(images, logits.detach(), soft)
    return _descend(network, weights, velocity, lesson, training, lr, watched=False)[0]


@dataclass(frozen=True)
class _Hard:
    """A batch as the network sees it, its labels, those of its partners, and the share of its own."""

    images: Tensor
    labels: Tensor
    partners: Tensor
    ratio: float


@dataclass(frozen=True)
class _Likely:
    """A batch as the network sees it, and the probabilities of its classes, mixed as the images are."""

    images: Tensor
    chances: Tensor


@dataclass(frozen=True)
class _Soft:
    """A batch as the network sees it, and what the teacher says of it."""

    images: Tensor
    logits: Tensor
    soft: SoftLoss


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
    lesson = _by_labels(training.seen(images, draws), labels, draws.mix)
    return _descend(network, weights, velocity, lesson, training, lr, watched=watched)


def _by_labels(seen: Tensor, labels: Tensor, mix: Mix | None) -> _Hard | _Likely:
    """What a batch is taught by its labels, classes or probabilities."""
    labels = labels if labels.ndim == 1 else labels.to(seen.dtype)
    partners, own = labels, 1.0
    if mix is not None:
        partners, own = labels[mix.partner.to(labels.device)], mix.ratio(seen.shape[-2], seen.shape[-1])
    if labels.ndim == 1:
        return _Hard(seen, labels, partners, own)
    return _Likely(seen, labels if mix is None else own * labels + (1 - own) * partners)


def _descend(
    network: FunctionalNetwork,
    weights: Weights,
    velocity: Momenta,
    lesson: _Hard | _Likely | _Soft,
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
    found, loss, after, guesses = _found(network, trained, fixed, lesson, watched)
    with torch.no_grad():
        for name in network.buffer_names():
            weights[name].copy_(after[name])
        move(leaves, [found[name] for name in names], names, velocity, training, lr)
    # Parts may have been filled up behind the last image.
    return loss, torch.cat(guesses)[: len(lesson.images)] if guesses else lesson.images.new_zeros(0, dtype=torch.int64)


def _found(
    network: FunctionalNetwork, trained: Weights, fixed: Weights, lesson: _Hard | _Likely | _Soft, watched: bool
) -> tuple[Weights, Tensor, Weights, list[Tensor]]:
    """Gradient and loss of a batch, the fixed weights with new buffers, and predicted classes if they are watched."""
    # What is watched is a program of its own, so that the usual one stays what it is.
    extra, parts, images = {"watched": True} if watched else {}, [], lesson.images
    taught: tuple[Tensor, ...]
    if isinstance(lesson, _Hard):
        gradient = network.program(_gradient, **extra)
        own = torch.full((), lesson.ratio, dtype=images.dtype, device=images.device)
        taught = (lesson.labels, lesson.partners)
    elif isinstance(lesson, _Likely):
        gradient, taught = network.program(_likely_gradient, **extra), (lesson.chances,)
    else:
        soft = lesson.soft
        gradient = network.program(_soft_gradient, temperature=soft.temperature, square=soft.square, **extra)
        taught = (lesson.logits.to(images.dtype),)
    for some, *what, share in portions(network.execution, images, *taught, whole=network.mixes_images):
        shares = (share * own, share * (1 - own)) if isinstance(lesson, _Hard) else (share,)
        part, loss, (fixed, *guessed) = gradient(trained, fixed, some, *what, *shares)
        parts.append((part, loss, guessed))
    found = {name: functools.reduce(torch.add, [part[name] for part, *_ in parts]) for name in trained}
    loss = functools.reduce(torch.add, [loss for _, loss, _ in parts])
    return found, loss, fixed, [guess for *_, guessed in parts for guess in guessed]


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


def _gradient(
    network: FunctionalNetwork,
    trained: Weights,
    fixed: Weights,
    images: Tensor,
    labels: Tensor,
    partners: Tensor,
    share: Tensor,
    rest: Tensor,
    *,
    watched: bool = False,
) -> tuple[Weights, Tensor, tuple[Any, ...]]:
    """Gradient of ``sum(share * CE(labels) + rest * CE(partners))``, that sum, and what is beside it.

    Beside it are the fixed weights' new buffers and, if they are watched, the predicted classes.
    """

    def loss(leaves: Weights) -> tuple[Tensor, tuple[Any, ...]]:
        after = network.fresh_buffers(fixed)
        chances = F.log_softmax(network({**after, **leaves}, images), dim=1)
        own, other = (chances.gather(1, which.unsqueeze(1)).squeeze(1) for which in (labels, partners))
        return -(share * own + rest * other).sum(), (after, chances.argmax(dim=1)) if watched else (after,)

    return gradient_and_value(loss, trained, functional=network.execution.functional)


def _likely_gradient(
    network: FunctionalNetwork,
    trained: Weights,
    fixed: Weights,
    images: Tensor,
    chances: Tensor,
    share: Tensor,
    *,
    watched: bool = False,
) -> tuple[Weights, Tensor, tuple[Any, ...]]:
    """Gradient of ``-sum(share * sum_c chances_c log p_c)``, that sum, and what is beside it, as above."""

    def loss(leaves: Weights) -> tuple[Tensor, tuple[Any, ...]]:
        after = network.fresh_buffers(fixed)
        said = F.log_softmax(network({**after, **leaves}, images), dim=1)
        losses = -(chances * said).sum(dim=1)
        return (share * losses).sum(), (after, said.argmax(dim=1)) if watched else (after,)

    return gradient_and_value(loss, trained, functional=network.execution.functional)


def _soft_gradient(
    network: FunctionalNetwork,
    trained: Weights,
    fixed: Weights,
    images: Tensor,
    logits: Tensor,
    share: Tensor,
    *,
    temperature: float,
    square: bool,
    watched: bool = False,
) -> tuple[Weights, Tensor, tuple[Any, ...]]:
    """Gradient of ``sum(share * KL(teacher || network))``, that sum, and what is beside it, as above."""

    def loss(leaves: Weights) -> tuple[Tensor, tuple[Any, ...]]:
        after = network.fresh_buffers(fixed)
        said = network({**after, **leaves}, images)
        losses = soft_losses(said, logits, temperature, square)
        return (share * losses).sum(), (after, said.argmax(dim=1)) if watched else (after,)

    return gradient_and_value(loss, trained, functional=network.execution.functional)


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
            lesson: _Hard | _Likely | _Soft
            if logits is None:
                lesson = _by_labels(seen, labels[rows.to(labels.device)], draws.mix)
            else:
                lesson = _Soft(seen, logits.detach(), soft)
            loss, guesses = _descend(network, weights, velocity, lesson, now, lr(epoch), watched=watch is not None)
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
