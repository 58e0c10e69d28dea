"""Images that judge a network, which count how often they are looked at, and refuse to be looked at once too often."""

from __future__ import annotations

import torch
from torch import Tensor

from limbeck.core.errors import RunError
from limbeck.core.real import RealSet

__all__ = ["CountedImages"]


class CountedImages:
    """Images of a real set in normalized space, by row, for one network; each may be read so and so often.

    Args:
        data: the images that judge.
        budget: how often each may be read: once after the last epoch, and once for every look before that the protocol
            takes.
        protocol: its name, for errors.
    """

    def __init__(self, data: RealSet, budget: int, protocol: str) -> None:
        self.data = data
        self._budget, self._protocol = budget, protocol
        self._read = torch.zeros(len(data), dtype=torch.int64)

    @property
    def labels(self) -> Tensor:
        """Labels of all, int64 ``[N]``."""
        return self.data.labels

    @property
    def looks(self) -> int:
        """How often the image that was read most often has been read."""
        return int(self._read.max())

    def __call__(self, rows: Tensor) -> Tensor:
        """Images ``[B, C, H, W]`` of rows ``[B]``.

        Raises:
            RunError: one of them has been read as often as may be.
        """
        self._read.index_add_(0, rows.cpu(), torch.ones(len(rows), dtype=torch.int64))
        if self.looks > self._budget:
            often = "once" if self._budget == 1 else f"{self._budget} times"
            raise RunError(
                f"protocol '{self._protocol}' reads the images that judge {often} for each network, and was asked for "
                "them again; whatever is to be chosen is chosen on validation images."
            )
        return self.data.spec.normalization.apply(self.data.images(rows))
