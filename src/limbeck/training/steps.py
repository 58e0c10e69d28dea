"""One step of supervised training on one batch, with all randomness drawn outside: by classes, chances or a teacher."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from limbeck.core.network import FunctionalNetwork, Weights, gradient_and_value
from limbeck.ops.distillation import soft_losses
from limbeck.training.descent import Momenta, move, moved
from limbeck.training.lessons import SoftLoss
from limbeck.training.passes import as_convolved, portions
from limbeck.training.settings import BatchDraws, Mix, Training

__all__ = ["Lesson", "by_labels", "by_logits", "descend", "supervised_step", "taught_step", "watched_step"]


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
    lesson = by_labels(training.seen(images, draws), labels, draws.mix)
    return descend(network, weights, velocity, lesson, training, lr)[0]


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
    lesson = by_labels(training.seen(images, draws), labels, draws.mix)
    return descend(network, weights, velocity, lesson, training, lr, watched=True)


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
    return descend(network, weights, velocity, by_logits(images, logits, soft), training, lr)[0]


@dataclass(frozen=True)
class Hard:
    """A batch as the network sees it, its labels, those of its partners, and the share of its own."""

    images: Tensor
    labels: Tensor
    partners: Tensor
    ratio: float


@dataclass(frozen=True)
class Likely:
    """A batch as the network sees it, and the probabilities of its classes, mixed as the images are."""

    images: Tensor
    chances: Tensor


@dataclass(frozen=True)
class Soft:
    """A batch as the network sees it, and what the teacher says of it."""

    images: Tensor
    logits: Tensor
    soft: SoftLoss


Lesson = Hard | Likely | Soft
"""What a batch is taught."""


def by_labels(seen: Tensor, labels: Tensor, mix: Mix | None) -> Hard | Likely:
    """What a batch is taught by its labels.

    Args:
        seen: the batch as the network sees it (`Training.seen`), ``[B, C, H, W]``.
        labels: int64 ``[B]``, or probabilities ``[B, K]``.
        mix: how its images were mixed, if they were.
    """
    labels = labels if labels.ndim == 1 else labels.to(seen.dtype)
    partners, own = labels, 1.0
    if mix is not None:
        partners, own = labels[mix.partner.to(labels.device)], mix.ratio(seen.shape[-2], seen.shape[-1])
    if labels.ndim == 1:
        return Hard(seen, labels, partners, own)
    return Likely(seen, labels if mix is None else own * labels + (1 - own) * partners)


def by_logits(seen: Tensor, logits: Tensor, soft: SoftLoss) -> Soft:
    """What a batch is taught by a teacher.

    Args:
        seen: the batch as the network sees it (`Training.seen`), ``[B, C, H, W]``.
        logits: the teacher's, ``[B, K]``.
        soft: how they are learnt from.
    """
    return Soft(seen, logits.detach(), soft)


def descend(
    network: FunctionalNetwork,
    weights: Weights,
    velocity: Momenta,
    lesson: Lesson,
    training: Training,
    lr: float,
    *,
    watched: bool = False,
) -> tuple[Tensor, Tensor]:
    """One step of what a batch is taught; weights and velocity change in place.

    Args:
        network: the architecture.
        weights: its parameters and buffers.
        velocity: what the optimizer remembers, from `still`.
        lesson: the batch, from `by_labels` or `by_logits`.
        training: how to train.
        lr: step size.
        watched: whether predicted classes are told.

    Returns:
        The loss before the step, a scalar, and the predicted classes ``[B]``; none unless they are watched.
    """
    names = list(moved(velocity, training))
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
    network: FunctionalNetwork, trained: Weights, fixed: Weights, lesson: Lesson, watched: bool
) -> tuple[Weights, Tensor, Weights, list[Tensor]]:
    """Gradient and loss of a batch, the fixed weights with new buffers, and predicted classes if they are watched."""
    # What is watched is a program of its own, so that the usual one stays what it is.
    extra, parts, images = {"watched": True} if watched else {}, [], lesson.images
    taught: tuple[Tensor, ...]
    if isinstance(lesson, Hard):
        gradient = network.program(_gradient, **extra)
        own = torch.full((), lesson.ratio, dtype=images.dtype, device=images.device)
        taught = (lesson.labels, lesson.partners)
    elif isinstance(lesson, Likely):
        gradient, taught = network.program(_likely_gradient, **extra), (lesson.chances,)
    else:
        soft = lesson.soft
        gradient = network.program(_soft_gradient, temperature=soft.temperature, square=soft.square, **extra)
        taught = (lesson.logits.to(images.dtype),)
    for some, *what, share in portions(network.execution, images, *taught, whole=network.mixes_images):
        shares = (share * own, share * (1 - own)) if isinstance(lesson, Hard) else (share,)
        part, loss, (fixed, *guessed) = gradient(trained, fixed, some, *what, *shares)
        parts.append((part, loss, guessed))
    found = {name: functools.reduce(torch.add, [part[name] for part, *_ in parts]) for name in trained}
    loss = functools.reduce(torch.add, [loss for _, loss, _ in parts])
    return found, loss, fixed, [guess for *_, guessed in parts for guess in guessed]


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
