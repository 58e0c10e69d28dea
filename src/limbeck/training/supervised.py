"""The one supervised loop: a pure step, its randomness drawn outside, and the epochs around it."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from limbeck.core.batch import Draws
from limbeck.core.contracts import Augmentation
from limbeck.core.errors import InputError, RunError
from limbeck.core.network import FunctionalNetwork, Weights, gradient_and_value
from limbeck.core.streams import Streams
from limbeck.ops import cutmix
from limbeck.training.passes import as_convolved, forward, portions

__all__ = ["BatchDraws", "Mix", "Training", "accuracy", "fit", "still", "supervised_step", "watched_step"]


@dataclass(frozen=True, kw_only=True)
class Training:
    """How a network is trained on a batch of labelled images: SGD on the mean cross-entropy."""

    added: ClassVar[Mapping[str, Any]] = {"nesterov": False}

    lr: float = 0.01
    """Step size."""
    momentum: float = 0.9
    """Heavy-ball momentum."""
    nesterov: bool = False
    """Whether a step looks ahead along the momentum (Nesterov): gradient + momentum * velocity."""
    weight_decay: float = 5e-4
    """Added to the gradient as ``weight_decay * weight``."""
    batch_size: int = 64
    """Images per step."""
    augmentation: Augmentation | None = None
    """Transformation with its own random numbers for every image."""
    cutmix: float = 0.0
    """Probability that a batch is cut and mixed, after the augmentation."""

    def check(self, where: str) -> None:
        """Refuse values that cannot be.

        Args:
            where: what errors call the owner of these settings, for example ``pool 'pretrained'``.

        Raises:
            InputError: a value is out of its range.
        """
        if self.nesterov and self.momentum == 0:
            raise InputError(f"training of {where} has no momentum to look ahead with; set momentum or leave nesterov.")
        fine = 0 < self.lr < math.inf and 0 <= self.momentum < 1 and 0 <= self.weight_decay < math.inf
        if not (fine and self.batch_size >= 1 and 0 <= self.cutmix <= 1):
            raise InputError(
                f"training of {where} needs lr > 0, 0 <= momentum < 1, weight_decay >= 0, batch_size >= 1 and "
                f"0 <= cutmix <= 1, not {self.lr}, {self.momentum}, {self.weight_decay}, {self.batch_size} and "
                f"{self.cutmix}."
            )

    def draw(self, streams: Streams, shape: tuple[int, int, int], batch: int, *key: int) -> BatchDraws:
        """Random numbers for one batch.

        Args:
            streams: the run's streams.
            shape: ``(C, H, W)``.
            batch: images in this batch.
            *key: where in the run it is.
        """
        draws: Draws = {}
        if self.augmentation is not None:
            draws = self.augmentation.draw(streams("training augmentation", *key), shape, batch)
        if self.cutmix == 0:
            return BatchDraws(draws, None)
        stream = streams("cutmix", *key)
        if float(stream.uniform()) >= self.cutmix:
            return BatchDraws(draws, None)
        lam, partner = stream.beta(1.0), stream.permutation(batch)
        centre = (int(stream.integers(0, shape[1] - 1)), int(stream.integers(0, shape[2] - 1)))
        return BatchDraws(draws, Mix(partner, cutmix.box(lam, *centre, shape[1], shape[2])))


@dataclass(frozen=True)
class Mix:
    """CutMix of one batch.

    Args:
        partner: which image fills the box of each, int64 ``[B]``.
        box: first and past-the-last row, first and past-the-last column.
    """

    partner: Tensor
    box: tuple[int, int, int, int]


@dataclass(frozen=True)
class BatchDraws:
    """All randomness of one training batch.

    Args:
        augmentation: the augmentation's numbers.
        mix: CutMix, or None.
    """

    augmentation: Draws
    mix: Mix | None


def supervised_step(
    network: FunctionalNetwork,
    weights: Weights,
    velocity: Weights,
    images: Tensor,
    labels: Tensor,
    training: Training,
    draws: BatchDraws,
    lr: float,
) -> Tensor:
    """One SGD step on one batch; weights and velocity change in place.

    Args:
        network: the architecture.
        weights: its parameters and buffers.
        velocity: momentum of the parameters, by name.
        images: ``[B, C, H, W]`` in normalized space.
        labels: int64 ``[B]``.
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
    velocity: Weights,
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
        velocity: momentum of the parameters, by name.
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


def _step(
    network: FunctionalNetwork,
    weights: Weights,
    velocity: Weights,
    images: Tensor,
    labels: Tensor,
    training: Training,
    draws: BatchDraws,
    lr: float,
    *,
    watched: bool,
) -> tuple[Tensor, Tensor]:
    """Loss and, if they are watched, predicted classes; else none."""
    if training.augmentation is not None:
        images = training.augmentation.apply(images, draws.augmentation)
    partner, ratio = labels, 1.0
    if draws.mix is not None:
        order = draws.mix.partner.to(images.device)
        images, partner = cutmix.mix(images, order, draws.mix.box), labels[order]
        ratio = cutmix.ratio(draws.mix.box, images.shape[-2], images.shape[-1])
    names = list(velocity)
    leaves = [weights[name] for name in names]
    trained = dict(zip(names, map(as_convolved, leaves), strict=True))
    fixed = {name: tensor for name, tensor in weights.items() if name not in velocity}
    # What is watched is a program of its own, so that the usual one stays what it is.
    gradient, parts = network.program(_gradient, **({"watched": True} if watched else {})), []
    own = torch.full((), ratio, dtype=images.dtype, device=images.device)
    for some, which, other, share in portions(network.execution, images, labels, partner, whole=network.mixes_images):
        found, loss, (fixed, *guessed) = gradient(trained, fixed, some, which, other, share * own, share * (1 - own))
        parts.append((found, loss, guessed))
    found = {name: functools.reduce(torch.add, [part[name] for part, *_ in parts]) for name in names}
    loss = functools.reduce(torch.add, [loss for _, loss, _ in parts])
    guesses = [guess for *_, guessed in parts for guess in guessed]
    gradients, buffers = [found[name] for name in names], [velocity[name] for name in names]
    with torch.no_grad():
        for name in network.buffer_names():
            weights[name].copy_(fixed[name])
        torch._foreach_add_(gradients, leaves, alpha=training.weight_decay)
        torch._foreach_mul_(buffers, training.momentum)
        torch._foreach_add_(buffers, gradients)
        if training.nesterov:
            torch._foreach_add_(gradients, buffers, alpha=training.momentum)
        torch._foreach_add_(leaves, gradients if training.nesterov else buffers, alpha=-lr)
    # Parts may have been filled up behind the last image.
    return loss, torch.cat(guesses)[: len(labels)] if guesses else labels[:0]


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


def still(network: FunctionalNetwork, weights: Weights) -> Weights:
    """A velocity of zero for every parameter."""
    return {name: torch.zeros_like(weights[name]) for name in network.parameter_names()}


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
) -> Iterator[tuple[int, Tensor]]:
    """Train a network over shuffled epochs; the last, incomplete batch of an epoch is used.

    Args:
        network: the architecture.
        weights: its weights, changed in place.
        images: images in normalized space ``[B, C, H, W]`` for rows ``[B]``.
        labels: int64 ``[N]``, on the network's device.
        training: how to train.
        streams: random streams of this network's training.
        shape: ``(C, H, W)``.
        lr: step size in a given epoch, counted from 0.
        steps: steps in total.
        forgets: whether the velocity is set to zero before a given epoch.
        watch: called after each step with the epoch, the rows ``[B]`` of its batch, and what the network said of
            them in the forward pass of the step, int64 ``[B]``.

    Yields:
        After each epoch its number and the mean of its losses, a scalar tensor.

    Raises:
        RunError: the loss is no longer finite.
    """
    velocity = still(network, weights)
    epoch, done, total = 0, 0, labels.numel()
    while done < steps:
        if forgets(epoch):
            velocity = still(network, weights)
        order, losses = streams("epoch", epoch).permutation(total), []
        for batch, rows in enumerate(order.split(training.batch_size)):
            if done == steps:
                break
            draws = training.draw(streams, shape, rows.numel(), epoch, batch)
            chosen = labels[rows.to(labels.device)]
            batch_of = (network, weights, velocity, images(rows), chosen, training, draws, lr(epoch))
            if watch is None:
                losses.append(supervised_step(*batch_of))
            else:
                loss, guesses = watched_step(*batch_of)
                losses.append(loss)
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
