"""Training images of an evaluation, row by row, as networks see them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from limbeck.core.distilled import Distilled
from limbeck.core.real import Normalization, RealSet

__all__ = ["Fetch", "Levels", "RealImages", "Rows", "images_of"]

Fetch = Callable[[Tensor], Tensor]
"""Images ``[B, C, H, W]`` in normalized space of rows ``[B]``."""


@dataclass(frozen=True)
class Rows:
    """Images that are there as one tensor, by row."""

    images: Tensor

    def __call__(self, rows: Tensor) -> Tensor:
        """Images ``[B, C, H, W]`` of rows ``[B]``."""
        return self.images[rows.to(self.images.device)]


@dataclass(frozen=True)
class Levels:
    """Images that are there as 256 levels, uint8 ``[N, C, H, W]``; a quarter of the memory, numbers batch by batch."""

    images: Tensor
    normalization: Normalization

    def __call__(self, rows: Tensor) -> Tensor:
        """Images ``[B, C, H, W]``, float32, of rows ``[B]``."""
        return self.normalization.apply(self.images[rows.to(self.images.device)].float() / 255)


@dataclass(frozen=True)
class RealImages:
    """Images of a real set in normalized space, by row."""

    data: RealSet

    def __call__(self, rows: Tensor) -> Tensor:
        """Images ``[B, C, H, W]`` of rows ``[B]``."""
        return self.data.spec.normalization.apply(self.data.images(rows))


def images_of(distilled: Distilled, device: torch.device) -> Rows | Levels:
    """Training images of a set in the order of its classes.

    Args:
        distilled: the set; one that is kept in 8 bits stays so where its stored images are what is trained on, unless
            it is whitened, which is too dear to be repeated for every batch.
        device: where they are to be.
    """
    normalization = distilled.spec.normalization
    levels = distilled.levels()
    if levels is not None and normalization.whitening is None:
        return Levels(levels.detach().to(device), normalization)
    return Rows(normalization.apply(distilled.decoded()[0].detach().to(device, torch.float32)))
