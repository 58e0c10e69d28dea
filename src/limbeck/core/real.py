"""The nouns of real data: what a data set looks like, and how parts of a recipe reach its images."""

from __future__ import annotations

import abc
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from limbeck.core.errors import InputError
from limbeck.core.sound import Sound
from limbeck.core.whitening import Whitening

__all__ = ["DataSpec", "Normalization", "RealSet"]


@dataclass(frozen=True)
class Normalization:
    """How networks see images in [0, 1]: by the mean and standard deviation of each channel, or whitened.

    Args:
        mean: one number per channel; 0 of whitened images.
        std: one number per channel, above zero; 1 of whitened images.
        source: where the numbers come from: ``measured``, ``published``, ``idc`` or ``zca``.
        whitening: what is done to whole images in place of channels, or None.

    Raises:
        InputError: channels are to be changed as well as whitened.
    """

    added: ClassVar[Mapping[str, Any]] = {"whitening": None}

    mean: tuple[float, ...]
    std: tuple[float, ...]
    source: str = "measured"
    whitening: Whitening | None = None

    def __post_init__(self) -> None:
        """Whitening takes the place of everything else."""
        if self.whitening is not None and (any(self.mean) or any(std != 1 for std in self.std)):
            raise InputError(
                f"whitened images have mean 0 and std 1 in each channel, not {self.mean} and {self.std}; choose one "
                "normalization."
            )

    @property
    def key(self) -> list[Any]:
        """What tells it apart in the names of files: mean, std and, of whitened images, the whitening's digest."""
        return [self.mean, self.std] if self.whitening is None else [self.mean, self.std, self.whitening.digest]

    def whitened_otherwise(self, other: Normalization) -> str:
        """How the whitening of another normalization differs, in words; empty where both do the same, or none is."""
        if self.whitening is None or other.whitening is None:
            if self.whitening is other.whitening:
                return ""
            ours, theirs = ("whitened" if one.whitening else f"normalized ({one.source})" for one in (self, other))
            return f"{ours} and {theirs}"
        return self.whitening.difference(other.whitening)

    def _columns(self, images: Tensor) -> tuple[Tensor, Tensor]:
        mean = torch.tensor(self.mean, dtype=images.dtype, device=images.device)
        std = torch.tensor(self.std, dtype=images.dtype, device=images.device)
        return mean.view(-1, 1, 1), std.view(-1, 1, 1)

    def apply(self, images: Tensor) -> Tensor:
        """``(images - mean) / std`` for images ``[..., C, H, W]``, or whitened images; differentiable."""
        if self.whitening is not None:
            return self.whitening.apply(images)
        mean, std = self._columns(images)
        return (images - mean) / std

    def invert(self, images: Tensor) -> Tensor:
        """The images in [0, 1] again, where they came from there: ``images * std + mean``, or whitening inverted."""
        if self.whitening is not None:
            return self.whitening.invert(images)
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
