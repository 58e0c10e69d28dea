"""Hard labels: the class itself."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from limbeck.core.contracts import Labeler

__all__ = ["Hard"]


@dataclass(frozen=True, kw_only=True)
class Hard(Labeler):
    """Each decoded image carries the class of its row."""

    def targets(self, label: int, decoded: int) -> Tensor:
        """``label``, repeated."""
        return torch.full((decoded,), label)
