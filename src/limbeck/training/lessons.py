"""What a network is shown in each batch of a training, and what it is taught of it."""

from __future__ import annotations

import abc
import math
from dataclasses import dataclass

import torch
from torch import Tensor

from limbeck.core.errors import InputError
from limbeck.core.focus import Focus
from limbeck.core.streams import Streams
from limbeck.training.settings import BatchDraws, Training

__all__ = ["Focused", "InTurn", "Lessons", "Shuffled", "SoftLoss"]


@dataclass(frozen=True, kw_only=True)
class SoftLoss:
    """How a network learns from a teacher's logits: KL divergence of the softened predictions, mean over the batch."""

    temperature: float = 20.0
    """What both sides' logits are divided by."""
    square: bool = False
    """Whether the loss is multiplied by the temperature squared."""

    def check(self, where: str) -> None:
        """Refuse values that cannot be.

        Args:
            where: what errors call the owner of these settings, for example ``protocol 'dwa_tiny'``.

        Raises:
            InputError: a value is out of its range.
        """
        if not 0 < self.temperature < math.inf:
            raise InputError(f"the soft labels of {where} need temperature > 0, not {self.temperature}.")


class Lessons(abc.ABC):
    """Which images stand in which batch, what is done to them, and what they are taught."""

    @abc.abstractmethod
    def order(self, epoch: int) -> list[Tensor]:
        """Rows of each batch of an epoch, int64 ``[B]`` each.

        Args:
            epoch: which epoch, from 0.
        """

    @abc.abstractmethod
    def draws(self, epoch: int, batch: int, rows: Tensor) -> BatchDraws:
        """Random numbers of a batch.

        Args:
            epoch: which epoch, from 0.
            batch: which batch of it, from 0.
            rows: its rows, int64 ``[B]``.
        """

    @abc.abstractmethod
    def logits(self, epoch: int, batch: int, images: Tensor) -> Tensor | None:
        """What a teacher says of a batch, ``[B, K]`` on the images' device, or None where labels are taught.

        Args:
            epoch: which epoch, from 0.
            batch: which batch of it, from 0.
            images: the batch as the network sees it, augmented, mixed and in normalized space, ``[B, C, H, W]``.
        """


class Shuffled(Lessons):
    """Shuffled epochs, whose last batch may be smaller, taught by labels; all randomness from keyed streams.

    Args:
        streams: random streams of this network's training.
        training: how it is trained.
        shape: ``(C, H, W)``.
        total: images.
    """

    def __init__(self, streams: Streams, training: Training, shape: tuple[int, int, int], total: int) -> None:
        self._streams = streams
        self._training = training
        self._shape = shape
        self._total = total

    def order(self, epoch: int) -> list[Tensor]:
        """All rows in a fresh order, cut into batches."""
        order = self._streams("epoch", epoch).permutation(self._total)
        return list(order.split(self._training.batch_size))

    def draws(self, epoch: int, batch: int, rows: Tensor) -> BatchDraws:
        """Numbers that depend on the position alone."""
        return self._training.draw(self._streams, self._shape, rows.numel(), epoch, batch)

    def logits(self, epoch: int, batch: int, images: Tensor) -> Tensor | None:
        """None: images are taught by their labels."""
        return None


class InTurn(Shuffled):
    """Parts of a set in turn: a part of the epochs on the first one, the next on the first two, in the end on all.

    Epochs are as long as those on all images, so that steps and schedules are the same: images of the first parts are
    seen several times in one.

    Args:
        streams: random streams of this network's training.
        training: how it is trained.
        shape: ``(C, H, W)``.
        ends: images before the end of each part; rows are in the order of parts.
        epochs: of the whole training.
    """

    def __init__(
        self, streams: Streams, training: Training, shape: tuple[int, int, int], ends: tuple[int, ...], epochs: int
    ) -> None:
        super().__init__(streams, training, shape, ends[-1])
        self._ends = ends
        self._epochs = epochs

    def order(self, epoch: int) -> list[Tensor]:
        """Rows of the parts whose turn has come, in fresh orders one after the other, cut into batches."""
        shown = self._ends[min(len(self._ends) - 1, epoch * len(self._ends) // self._epochs)]
        stream = self._streams("epoch", epoch)
        orders = [stream.permutation(shown) for _ in range(-(-self._total // shown))]
        return list(torch.cat(orders)[: self._total].split(self._training.batch_size))


class Focused(Shuffled):
    """Epochs over the real images of a focus, all classes together: each batch with its share of the others.

    An epoch shows every image of the pools once, in batches of ``B - round(mixing * B)`` of them, the last of which may
    be smaller, and beside them as many random different images of ``rest`` as the share asks for.

    Args:
        streams: random streams of this network's training.
        training: how it is trained.
        shape: ``(C, H, W)``.
        focus: which real images.
    """

    def __init__(self, streams: Streams, training: Training, shape: tuple[int, int, int], focus: Focus) -> None:
        self._pool, self._rest = torch.cat(focus.pool), torch.cat(focus.rest)
        # Where every image is in the pools, there are no others.
        self._others = min(round(focus.mixing * training.batch_size), len(self._rest), training.batch_size - 1)
        super().__init__(streams, training, shape, len(self._pool))

    def order(self, epoch: int) -> list[Tensor]:
        """The pools in a fresh order, cut into batches and mixed."""
        own = self._pool[self._streams("epoch", epoch).permutation(self._total)]
        size = self._training.batch_size - self._others
        return [self._mixed(some, size, epoch, number) for number, some in enumerate(own.split(size))]

    def _mixed(self, own: Tensor, size: int, epoch: int, number: int) -> Tensor:
        others = round(self._others * len(own) / size)
        drawn = self._streams("mixing", epoch, number).permutation(len(self._rest))[:others]
        return torch.cat([own, self._rest[drawn]])
