"""How an expert is trained whose way through the weights is imitated, and one step of it.

SGD (MTT), momentum or Adam (table 1 of AST), FTD's GSAM, and AST's smooth experts: loss times a factor that rises over
the first epochs, and a penalty on the slope of the network in its input.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from limbeck.core.errors import InputError
from limbeck.core.network import FunctionalNetwork, Weights, gradient_and_value
from limbeck.core.real import DataSpec
from limbeck.ops import sharpness
from limbeck.ops.gradient_penalty import penalties
from limbeck.training import ensemble
from limbeck.training.gradients import added_up
from limbeck.training.passes import as_convolved
from limbeck.training.settings import BatchDraws, Training
from limbeck.training.supervised import Momenta, move

__all__ = ["ExpertBatch", "ExpertTraining", "expert_step"]

Penalty = Literal["none", "sample", "channel", "true_logit", "loss"]


@dataclass(frozen=True, kw_only=True)
class ExpertTraining:
    """How an expert is trained: the defaults are MTT's, plain SGD for 50 epochs."""

    training: Training = field(
        default_factory=lambda: Training(lr=0.01, momentum=0.0, weight_decay=0.0, batch_size=256)
    )
    """Optimizer, batches and augmentation."""
    epochs: int = 50
    """Epochs over the real images."""
    drops: tuple[int, ...] = ()
    """Epochs, from 0, from which on the step size is multiplied."""
    drop_factor: float = 0.1
    """What it is multiplied by at each of them."""
    forget: bool = True
    """Whether the optimizer's memory is cleared there, as the authors' codes do."""
    clip: tuple[float, ...] = ()
    """What the cross-entropy is multiplied by in the first epochs, one number each; 1 afterwards (AST's lambda)."""
    penalty: Literal["none", "sample", "channel", "true_logit", "loss"] = "none"
    """Slope in the images as they are before augmentation that is penalized: that of the summed logits, as one norm per
    image (``sample``, AST's paper) or at each pixel over its channels (``channel``, its code), that of the logit of
    the image's class, or of its cross-entropy."""
    penalty_weight: float = 1.0
    """Weight of the penalty (AST's mu)."""
    penalty_target: float = 1.0
    """Length that slopes are drawn to (AST's K)."""
    one_sided: bool = False
    """Whether only longer slopes are penalized."""
    rho: float = 0.0
    """Step of GSAM up the loss (FTD); 0 for none."""
    surrogate: float = 1.0
    """How much GSAM lowers the surrogate gap (FTD's alpha)."""
    adaptive: bool = True
    """Whether that step is longer for large weights."""
    together: int = 1
    """Experts that one process trains at once, vectorized; more than one changes their numbers by rounding. On a CPU it
    is no faster (measured: ConvNets of width 16 and 32); several processes are."""

    def check(self, where: str) -> None:
        """Refuse values that cannot be.

        Args:
            where: what errors call the owner of these settings, for example ``pool 'experts'``.

        Raises:
            InputError: a value is out of its range.
        """
        self.training.check(where)
        if self.epochs < 1 or self.together < 1:
            raise InputError(
                f"the experts of {where} need epochs >= 1 and together >= 1, not {self.epochs} and {self.together}."
            )
        if any(epoch < 0 for epoch in self.drops) or not 0 < self.drop_factor < math.inf:
            raise InputError(
                f"the experts of {where} need drops at epochs >= 0 and drop_factor > 0, not {list(self.drops)} and "
                f"{self.drop_factor}."
            )
        if not all(0 <= factor < math.inf for factor in self.clip):
            raise InputError(f"the experts of {where} need numbers >= 0 in clip, not {list(self.clip)}.")
        values = (self.penalty_weight, self.penalty_target, self.rho, self.surrogate)
        if not all(0 <= value < math.inf for value in values):
            raise InputError(
                f"the experts of {where} need penalty_weight, penalty_target, rho and surrogate >= 0, not "
                f"{', '.join(map(str, values))}."
            )

    def bound(self, spec: DataSpec) -> ExpertTraining:
        """The same course, whose augmentation knows what it has to of the data (`Training.bound`)."""
        return replace(self, training=self.training.bound(spec))

    def lr(self, epoch: int) -> float:
        """Step size in an epoch, counted from 0."""
        return self.training.lr * self.drop_factor ** sum(epoch >= drop for drop in self.drops)

    def forgets(self, epoch: int) -> bool:
        """Whether the optimizer's memory is cleared before an epoch."""
        return self.forget and epoch in self.drops

    def factor(self, epoch: int) -> float:
        """What the cross-entropy is multiplied by in an epoch."""
        return self.clip[epoch] if epoch < len(self.clip) else 1.0

    @property
    def passes(self) -> float:
        """Forward passes that an image costs in one step; a gradient counts as two, one of a gradient as four."""
        return (3.0 + (6.0 if self.penalty != "none" else 0.0)) * (2 if self.rho else 1)


@dataclass(frozen=True)
class ExpertBatch:
    """A batch as an expert is shown it.

    Args:
        plain: the images in normalized space, ``[B, C, H, W]``.
        labels: int64 ``[B]``.
        draws: random numbers of its augmentation and mixing.
    """

    plain: Tensor
    labels: Tensor
    draws: BatchDraws


def expert_step(
    network: FunctionalNetwork,
    weights: Weights,
    velocity: Momenta,
    batches: Sequence[ExpertBatch],
    course: ExpertTraining,
    epoch: int,
) -> tuple[Tensor, Tensor]:
    """One step of an expert on a batch, or of several experts, each on its own; weights and velocity change in place.

    Args:
        network: the architecture, whose execution settings say how many experts there are.
        weights: parameters and buffers; of several experts stacked (`limbeck.training.ensemble`).
        velocity: what the optimizer remembers, from `limbeck.training.supervised.still` for these weights.
        batches: one for each expert, of one size.
        course: how to train.
        epoch: which epoch it is, from 0.

    Returns:
        The loss before the step, with its factor and penalty, ``[]`` or ``[experts]``; and the predicted class of each
        image as the expert saw it, int64 ``[B]`` or ``[experts, B]``.
    """
    names = network.parameter_names()
    leaves = [weights[name] for name in names]
    trained = dict(zip(names, map(as_convolved, leaves), strict=True))
    fixed = {name: weights[name] for name in network.buffer_names()}
    shown = _shown(batches, course.training)
    clip = torch.full((), course.factor(epoch), dtype=network.dtype, device=network.device)
    found, loss, fixed_after, guesses = _found(network, trained, fixed, shown, clip, course)
    if course.rho:
        # Running statistics are those of the weights themselves.
        sharp = ensemble.each(network, sharpness.ascend, trained, found, rho=course.rho, adaptive=course.adaptive)
        second = _found(network, sharp, fixed, shown, clip, course)[0]
        found = ensemble.each(network, sharpness.descend, found, second, alpha=course.surrogate)
    with torch.no_grad():
        for name, after in fixed_after.items():
            weights[name].copy_(after)
        gradients = [found[name] for name in names]
        stacked = network.execution.together > 1
        move(leaves, gradients, list(names), velocity, course.training, course.lr(epoch), int(stacked))
    return loss.detach(), guesses


def _shown(batches: Sequence[ExpertBatch], training: Training) -> tuple[Tensor, ...]:
    """Images as seen and as they are, labels, those of partners, and the share of the own: image first, then expert."""
    rows = []
    for batch in batches:
        seen, mix, labels = training.seen(batch.plain, batch.draws), batch.draws.mix, batch.labels
        partners = labels if mix is None else labels[mix.partner.to(labels.device)]
        ratio = 1.0 if mix is None else mix.ratio(seen.shape[-2], seen.shape[-1])
        rows.append((seen, batch.plain, labels, partners, seen.new_full((len(seen),), ratio)))
    columns = zip(*rows, strict=True)
    return tuple(torch.stack(column, dim=1) if len(rows) > 1 else column[0] for column in columns)


def _found(
    network: FunctionalNetwork,
    trained: Weights,
    fixed: Weights,
    shown: tuple[Tensor, ...],
    clip: Tensor,
    course: ExpertTraining,
) -> tuple[Weights, Tensor, Weights, Tensor]:
    """Gradient and loss of a batch, the new buffers, and predicted classes."""
    run = ensemble.program(
        network,
        _gradient,
        shared=2,
        penalty=course.penalty,
        weight=course.penalty_weight,
        target=course.penalty_target,
        one_sided=course.one_sided,
    )
    return added_up(network, run, trained, fixed, shown, clip)


def _gradient(
    network: FunctionalNetwork,
    trained: Weights,
    fixed: Weights,
    seen: Tensor,
    plain: Tensor,
    labels: Tensor,
    partners: Tensor,
    own: Tensor,
    shares: Tensor,
    clip: Tensor,
    *,
    penalty: Penalty,
    weight: float,
    target: float,
    one_sided: bool,
) -> tuple[Weights, Tensor, tuple[Weights, Tensor]]:
    """Gradient of ``clip * CE + weight * penalty``, sums over images by their shares; that sum; buffers and guesses."""
    functional = network.execution.functional

    def loss(leaves: Weights) -> tuple[Tensor, tuple[Weights, Tensor]]:
        after = network.fresh_buffers(fixed)
        chances = F.log_softmax(network({**after, **leaves}, seen), dim=1)
        mine, theirs = (chances.gather(1, which.unsqueeze(1)).squeeze(1) for which in (labels, partners))
        total = -clip * (shares * (own * mine + (1 - own) * theirs)).sum()
        if penalty != "none":
            slopes = _slopes(network, {**fixed, **leaves}, plain, labels, penalty, functional)
            far = penalties(slopes, target, channelwise=penalty == "channel", one_sided=one_sided)
            total = total + weight * (shares * far).sum()
        return total, (after, chances.argmax(dim=1))

    return gradient_and_value(loss, trained, functional=functional)


def _slopes(
    network: FunctionalNetwork, weights: Weights, images: Tensor, labels: Tensor, penalty: Penalty, functional: bool
) -> Tensor:
    """Gradient of what the network says of each image in that image, ``[B, C, H, W]``; differentiable."""

    def said(leaf: Tensor) -> tuple[Tensor, tuple[()]]:
        logits = network(network.fresh_buffers(weights), leaf)  # what it records of this pass is dropped
        if penalty == "loss":
            return F.cross_entropy(logits, labels, reduction="sum"), ()
        if penalty == "true_logit":
            logits = logits.gather(1, labels.unsqueeze(1))
        return logits.sum(), ()

    found: Tensor = gradient_and_value(said, images, functional=functional, differentiable=True)[0]
    return found
