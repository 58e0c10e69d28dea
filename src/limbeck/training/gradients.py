"""What a batch teaches a network, by labels, by probabilities or by a teacher's logits, and the gradient of that."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from limbeck.core.network import FunctionalNetwork, Weights, gradient_and_value
from limbeck.ops.distillation import soft_losses
from limbeck.training import ensemble
from limbeck.training.lessons import SoftLoss
from limbeck.training.passes import portions
from limbeck.training.settings import Mix

__all__ = ["Lesson", "added_up", "by_labels", "by_teacher", "gradient", "side_by_side"]


@dataclass(frozen=True)
class Lesson:
    """A batch as a network sees it, and what it is taught of it.

    Args:
        images: ``[B, C, H, W]`` in normalized space; of several networks ``[B, networks, C, H, W]``.
        taught: what the program is given beside them, with a row for each image.
        function: the program: gradient and value of the summed loss, and what is beside it.
        constants: of the program.
    """

    images: Tensor
    taught: tuple[Tensor, ...]
    function: Callable[..., Any]
    constants: Mapping[str, Any] = field(default_factory=dict)


def by_labels(seen: Tensor, labels: Tensor, mix: Mix | None) -> Lesson:
    """A batch that is taught by its labels.

    Args:
        seen: the batch as the network sees it, ``[B, C, H, W]``.
        labels: int64 ``[B]``, or probabilities ``[B, K]``.
        mix: how its images were mixed, which their labels are likewise.
    """
    labels = labels if labels.ndim == 1 else labels.to(seen.dtype)
    partners, own = labels, 1.0
    if mix is not None:
        partners, own = labels[mix.partner.to(labels.device)], mix.ratio(seen.shape[-2], seen.shape[-1])
    if labels.ndim == 1:
        return Lesson(seen, (labels, partners, seen.new_full((len(seen),), own)), _gradient)
    return Lesson(seen, (labels if mix is None else own * labels + (1 - own) * partners,), _likely_gradient)


def by_teacher(seen: Tensor, logits: Tensor, soft: SoftLoss) -> Lesson:
    """A batch that is taught by what a teacher says of it.

    Args:
        seen: the batch as the network sees it, ``[B, C, H, W]``.
        logits: the teacher's, ``[B, K]``.
        soft: how they are learnt from.
    """
    constants = {"temperature": soft.temperature, "square": soft.square}
    return Lesson(seen, (logits.detach().to(seen.dtype),), _soft_gradient, constants)


def side_by_side(lessons: Sequence[Lesson]) -> Lesson:
    """One lesson for several networks, each of which has its own batch; of a single network as it is."""
    if len(lessons) == 1:
        return lessons[0]
    taught = tuple(torch.stack(column, dim=1) for column in zip(*(one.taught for one in lessons), strict=True))
    return replace(lessons[0], images=torch.stack([one.images for one in lessons], dim=1), taught=taught)


def gradient(
    network: FunctionalNetwork, trained: Weights, fixed: Weights, lesson: Lesson, watched: bool
) -> tuple[Weights, Tensor, Weights, Tensor]:
    """Gradient and loss of a batch, the fixed weights with new buffers, and predicted classes if they are watched.

    Args:
        network: the architecture; its execution settings say whether weights are those of several networks.
        trained: the weights in which the gradient is taken.
        fixed: the others.
        lesson: the batch.
        watched: whether to tell the predicted classes, int64 ``[B]`` or ``[networks, B]``.
    """
    # What is watched is a program of its own, so that the usual one stays what it is.
    extra = {"watched": True} if watched else {}
    run = ensemble.program(network, lesson.function, shared=1, **lesson.constants, **extra)
    return added_up(network, run, trained, fixed, (lesson.images, *lesson.taught))


def added_up(
    network: FunctionalNetwork,
    run: Callable[..., Any],
    trained: Weights,
    fixed: Weights,
    shown: tuple[Tensor, ...],
    *shared: Tensor,
) -> tuple[Weights, Tensor, Weights, Tensor]:
    """What a program finds in a batch that is cut into parts.

    Args:
        network: the architecture.
        run: gives for trained and fixed weights, a part of what is shown, each image's share of the loss and what is
            shared: the gradient, the loss, and the fixed weights with new buffers, with predicted classes or without.
        trained: the weights in which the gradient is taken.
        fixed: the others.
        shown: images and what is taught of them.
        *shared: the same for all parts.
    """
    parts = []
    for some in portions(network.execution, *shown, whole=network.mixes_images):
        part, loss, (fixed, *guessed) = run(trained, fixed, *some, *shared)
        parts.append((part, loss, guessed))
    found = {name: functools.reduce(torch.add, [part[name] for part, *_ in parts]) for name in trained}
    loss = functools.reduce(torch.add, [loss for _, loss, _ in parts])
    guesses = [guess for *_, guessed in parts for guess in guessed]
    images = shown[0]
    if not guesses:
        return found, loss, fixed, images.new_zeros(0, dtype=torch.int64)
    # Parts may have been filled up behind the last image.
    return found, loss, fixed, torch.cat(guesses, dim=-1)[..., : len(images)]


def _gradient(
    network: FunctionalNetwork,
    trained: Weights,
    fixed: Weights,
    images: Tensor,
    labels: Tensor,
    partners: Tensor,
    own: Tensor,
    shares: Tensor,
    *,
    watched: bool = False,
) -> tuple[Weights, Tensor, tuple[Any, ...]]:
    """Gradient of ``sum(shares * (own * CE(labels) + (1 - own) * CE(partners)))``, that sum, and what is beside it.

    Beside it are the fixed weights' new buffers and, if they are watched, the predicted classes.
    """

    def loss(leaves: Weights) -> tuple[Tensor, tuple[Any, ...]]:
        after = network.fresh_buffers(fixed)
        chances = F.log_softmax(network({**after, **leaves}, images), dim=1)
        mine, theirs = (chances.gather(1, which.unsqueeze(1)).squeeze(1) for which in (labels, partners))
        total = -(shares * own * mine + shares * (1 - own) * theirs).sum()
        return total, (after, chances.argmax(dim=1)) if watched else (after,)

    return gradient_and_value(loss, trained, functional=network.execution.functional)


def _likely_gradient(
    network: FunctionalNetwork,
    trained: Weights,
    fixed: Weights,
    images: Tensor,
    chances: Tensor,
    shares: Tensor,
    *,
    watched: bool = False,
) -> tuple[Weights, Tensor, tuple[Any, ...]]:
    """Gradient of ``-sum(shares * sum_c chances_c log p_c)``, that sum, and what is beside it, as above."""

    def loss(leaves: Weights) -> tuple[Tensor, tuple[Any, ...]]:
        after = network.fresh_buffers(fixed)
        said = F.log_softmax(network({**after, **leaves}, images), dim=1)
        losses = -(chances * said).sum(dim=1)
        return (shares * losses).sum(), (after, said.argmax(dim=1)) if watched else (after,)

    return gradient_and_value(loss, trained, functional=network.execution.functional)


def _soft_gradient(
    network: FunctionalNetwork,
    trained: Weights,
    fixed: Weights,
    images: Tensor,
    logits: Tensor,
    shares: Tensor,
    *,
    temperature: float,
    square: bool,
    watched: bool = False,
) -> tuple[Weights, Tensor, tuple[Any, ...]]:
    """Gradient of ``sum(shares * KL(teacher || network))``, that sum, and what is beside it, as above."""

    def loss(leaves: Weights) -> tuple[Tensor, tuple[Any, ...]]:
        after = network.fresh_buffers(fixed)
        said = network({**after, **leaves}, images)
        losses = soft_losses(said, logits, temperature, square)
        return (shares * losses).sum(), (after, said.argmax(dim=1)) if watched else (after,)

    return gradient_and_value(loss, trained, functional=network.execution.functional)
