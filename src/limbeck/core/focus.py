"""Real images of which some are looked at more than others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from limbeck.core.real import RealSet
from limbeck.core.streams import Stream

__all__ = ["Company", "Focus", "Narrowed", "Taught"]


class Narrowed(RealSet):
    """A set of which classes show certain rows only; rows keep their numbers, and all else is that of the whole set.

    Args:
        whole: the set.
        rows: what ``class_rows`` gives of each class, int64 ``[n]`` on the CPU.
    """

    def __init__(self, whole: RealSet, rows: Sequence[Tensor]) -> None:
        self.spec = whole.spec
        self._whole, self._rows = whole, tuple(rows)

    @property
    def labels(self) -> Tensor:
        """Labels of the whole set, int64 ``[N]``."""
        return self._whole.labels

    def class_rows(self, label: int) -> Tensor:
        """The rows that the class shows."""
        return self._rows[label]

    def class_counts(self) -> list[int]:
        """How many these are, class by class."""
        return [len(rows) for rows in self._rows]

    def images(self, rows: Tensor | Sequence[int]) -> Tensor:
        """Images of any rows of the whole set."""
        return self._whole.images(rows)

    def to(self, device: torch.device, dtype: torch.dtype) -> Narrowed:
        """The same rows of the set there."""
        return Narrowed(self._whole.to(device, dtype), self._rows)


@dataclass(frozen=True)
class Focus:
    """What initializer and sampler are shown of the real images, class by class; int64 rows on the CPU.

    Args:
        pool: rows that real batches are made of.
        rest: rows that a share of each batch is exchanged for.
        initial: rows that synthetic images may begin with.
        mixing: that share, in [0, 1].
    """

    pool: tuple[Tensor, ...]
    rest: tuple[Tensor, ...]
    initial: tuple[Tensor, ...]
    mixing: float = 0.0

    def sampled(self, data: RealSet) -> Narrowed:
        """The real images as the sampler sees them."""
        return Narrowed(data, self.pool)

    def begun_with(self, data: RealSet) -> Narrowed:
        """The real images as the initializer sees them."""
        return Narrowed(data, self.initial)

    def mixed(self, rows: Tensor, label: int, stream: Stream) -> Tensor:
        """A real batch with ``round(mixing * B)`` of its rows exchanged for random ones of ``rest``, all different.

        Which ones is random as well. Among the rows that stay may be some of those that come in. Where ``rest`` has too
        few, so many are exchanged.

        Args:
            rows: what the sampler has chosen, int64 ``[B]``.
            label: of which class.
            stream: source of randomness.
        """
        others = self.rest[label]
        count = min(round(self.mixing * len(rows)), len(others))
        if not count:
            return rows
        places, drawn = stream.permutation(len(rows))[:count], stream.permutation(len(others))[:count]
        mixed = rows.clone()
        mixed[places] = others[drawn]
        return mixed


@dataclass(frozen=True)
class Company:
    """Finished images that stand beside those that are learnt, wherever an objective compares these with real ones.

    Args:
        images: decoded, in normalized space, ``[K, m, C, H, W]``.
        stored: how many stored images of a class they are.
    """

    images: Tensor
    stored: int

    def some(self, label: int, count: int, stream: Stream) -> Tensor:
        """``count`` different ones of a class at random, ``[count, C, H, W]``; all of them where there are no more.

        Args:
            label: the class.
            count: how many.
            stream: source of randomness.
        """
        own = self.images[label]
        return own if count >= len(own) else own[stream.permutation(len(own))[:count].to(own.device)]


@dataclass(frozen=True)
class Taught:
    """What a pool's networks are trained on between matchings where these are not all real images.

    Args:
        rows: of the real images, int64 ``[n]`` on the CPU.
        images: further ones in normalized space, ``[m, C, H, W]``.
        labels: of these, int64 ``[m]``.
    """

    rows: Tensor
    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        """How many there are."""
        return len(self.rows) + len(self.labels)

    def batch(self, data: RealSet, places: Tensor) -> tuple[Tensor, Tensor]:
        """Images in normalized space ``[B, C, H, W]`` and their labels ``[B]``, real ones first.

        Args:
            data: the real images.
            places: which ones, int64 ``[B]``: below ``n`` real ones, from there on the others.
        """
        rows, others = self.rows[places[places < len(self.rows)]], places[places >= len(self.rows)] - len(self.rows)
        others = others.to(self.images.device)
        real = data.spec.normalization.apply(data.images(rows))
        labels = torch.cat([data.labels[rows].to(self.labels.device), self.labels[others]])
        return torch.cat([real, self.images[others]]), labels
