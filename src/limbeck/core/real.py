"""The nouns of real data: what a data set looks like, and how parts of a recipe reach its images."""

from __future__ import annotations

import abc
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from limbeck.core.sound import Sound

__all__ = ["DataSpec", "Normalization", "RealSet"]


@dataclass(frozen=True)
class Normalization:
    """Per-channel mean and standard deviation of images in [0, 1].

    Args:
        mean: one number per channel.
        std: one number per channel, above zero.
        source: where the numbers come from: ``measured``, ``published`` or ``idc``.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    source: str = "measured"

    def _columns(self, images: Tensor) -> tuple[Tensor, Tensor]:
        mean = torch.tensor(self.mean, dtype=images.dtype, device=images.device)
        std = torch.tensor(self.std, dtype=images.dtype, device=images.device)
        return mean.view(-1, 1, 1), std.view(-1, 1, 1)

    def apply(self, images: Tensor) -> Tensor:
        """``(images - mean) / std`` for images ``[..., C, H, W]``."""
        mean, std = self._columns(images)
        return (images - mean) / std

    def invert(self, images: Tensor) -> Tensor:
        """``images * std + mean`` for images ``[..., C, H, W]``."""
        mean, std = self._columns(images)
        return images * std + mean


@dataclass(frozen=True)
class DataSpec:
    """What a labelled image set looks like.

    Args:
        name: a short name, for example ``digits``; presets are found by it.
        channels: channels per image.
        height: rows per image.
        width: columns per image.
        class_names: one name per class, in label order.
        normalization: statistics that networks see images through.
        digest: hash of the training images and labels, which identifies the data in run records.
        sound: what the images sound like where they are spectrograms; None for pictures.
    """

    name: str
    channels: int
    height: int
    width: int
    class_names: tuple[str, ...]
    normalization: Normalization
    digest: str
    sound: Sound | None = None

    @property
    def classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)

    @property
    def shape(self) -> tuple[int, int, int]:
        """``(C, H, W)`` of one image."""
        return (self.channels, self.height, self.width)


class RealSet(abc.ABC):
    """Labelled real images, reachable by row and by class."""

    spec: DataSpec

    @property
    @abc.abstractmethod
    def labels(self) -> Tensor:
        """Labels, int64 ``[N]`` on the CPU."""

    @abc.abstractmethod
    def class_rows(self, label: int) -> Tensor:
        """Rows of one class in data set order, int64 ``[n]`` on the CPU."""

    @abc.abstractmethod
    def images(self, rows: Tensor | Sequence[int]) -> Tensor:
        """Images of the given rows, any shape of rows, in [0, 1]: ``[*rows.shape, C, H, W]``.

        Spectrograms that were not trained on may leave [0, 1].
        """

    @abc.abstractmethod
    def to(self, device: torch.device, dtype: torch.dtype) -> RealSet:
        """The same set whose images arrive on ``device`` as ``dtype``; storage stays uint8, or float32 of sound."""

    def __len__(self) -> int:
        """Number of images."""
        return int(self.labels.numel())

    def class_counts(self) -> list[int]:
        """Number of images of each class."""
        return torch.bincount(self.labels, minlength=self.spec.classes).tolist()
