"""What one matching step sees: a position in the run, and the tensors of a block of classes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from limbeck.core.network import FunctionalNetwork, Weights

__all__ = ["Block", "ClassBatch", "Draws", "Moment", "Trajectory", "View"]

Draws = dict[str, Tensor]
"""Random numbers of one use of an augmentation, drawn outside the step, by operation."""


@dataclass(frozen=True)
class Moment:
    """A position in a run.

    Args:
        iteration: outer iteration, from 0: one life of a matching network.
        step: inner step within it, from 0: one round of matching over all classes.
        steps: inner steps of each outer iteration.
        progress: share of all inner steps that were taken before this one, in [0, 1), for schedules.
    """

    iteration: int
    step: int
    steps: int
    progress: float = 0.0

    @property
    def ordinal(self) -> int:
        """Inner steps taken before this one, over the whole run."""
        return self.iteration * self.steps + self.step

    @property
    def last(self) -> bool:
        """Whether this is the last inner step of its outer iteration."""
        return self.step == self.steps - 1


@dataclass(frozen=True)
class Trajectory:
    """A piece of the way that an expert went while it was trained on the real images (MTT).

    Args:
        weights: its parameters after the epochs ``start``, ``start + 1``, ... in order; after epoch 0 they are the
            initial ones.
        start: epoch of the first.
        starts: epochs that pieces may begin with are ``0 .. starts - 1``.
    """

    weights: tuple[Weights, ...]
    start: int
    starts: int


@dataclass(frozen=True)
class View:
    """The network that looks at both sides in this step.

    Args:
        network: the architecture, called with weights.
        weights: parameters and buffers of this network.
        train: whether batch norm uses the statistics of the batch that it sees.
        accuracy: running accuracy of this network on the images it is trained on, in percent, 0 to 100; None where
            the pool does not measure it (see the fact "training accuracy").
        original: weights of the network before the pool moved it for these images; None if it did not.
        left: gradient in the images that are shown, which the pool's own passes left, ``[N, C, H, W]``; it belongs to
            the next gradient (see the fact "gradients left over"). None for none.
        collect: takes the loss's gradient in the weights, by name, at every step; None if nobody wants it.
        trajectory: where an expert went from these weights on (see the fact "expert trajectories"); None if the pool
            has no experts.
    """

    network: FunctionalNetwork
    weights: Weights
    train: bool = True
    accuracy: float | None = None
    original: Weights | None = None
    left: Tensor | None = None
    collect: Callable[[Weights], None] | None = None
    trajectory: Trajectory | None = None


@dataclass(frozen=True)
class ClassBatch:
    """What one class shows in one step.

    Args:
        label: the class.
        stored: stored synthetic pixels at its turn, ``[n, C, H, W]``.
        targets: what the decoded images are taught as, and after them those beside, int64 ``[m]``.
        real: real images in [0, 1], ``[B, C, H, W]``.
        draws: the augmentation's random numbers.
        chosen: decoded images that take part, int64 ``[limit]``, or None for all.
        memory: the objective's state.
        beside: finished images that are shown as well, decoded in normalized space ``[b, C, H, W]``; None for none.
    """

    label: int
    stored: Tensor
    targets: Tensor
    real: Tensor
    draws: Draws
    chosen: Tensor | None = None
    memory: dict[str, Any] = field(default_factory=dict)
    beside: Tensor | None = None


@dataclass(frozen=True)
class Block:
    """The same for a block of K classes, in tensors with a leading class axis.

    Args:
        labels: the classes.
        stored: stored synthetic pixels, ``[K, n, C, H, W]``.
        targets: int64 ``[K, m]``.
        real: real images in [0, 1], ``[K, B, C, H, W]``; rows past the count of a class are padding.
        counts: valid real images of each class.
        draws: one set of random numbers per class.
        chosen: int64 ``[K, limit]``, or None for all.
        memory: the objective's state, of all classes.
        beside: ``[K, b, C, H, W]``, or None for none.
    """

    labels: tuple[int, ...]
    stored: Tensor
    targets: Tensor
    real: Tensor
    counts: tuple[int, ...]
    draws: tuple[Draws, ...]
    chosen: Tensor | None = None
    memory: dict[str, Any] = field(default_factory=dict)
    beside: Tensor | None = None

    def one(self, position: int) -> ClassBatch:
        """The class at ``position``, without padding."""
        return ClassBatch(
            label=self.labels[position],
            stored=self.stored[position],
            targets=self.targets[position],
            real=self.real[position, : self.counts[position]],
            draws=self.draws[position],
            chosen=None if self.chosen is None else self.chosen[position],
            memory=self.memory,
            beside=None if self.beside is None else self.beside[position],
        )
