"""Start from random real images, one per stored image or several packed into each."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from limbeck.core.batch import View
from limbeck.core.context import Context
from limbeck.core.contracts import Initializer, Parametrization
from limbeck.training.batches import repeated

__all__ = ["Mixed", "Real"]


@dataclass(frozen=True, kw_only=True)
class Real(Initializer):
    """Random real images of each class, without repetition, stored at full size."""

    references = ("zhao2021dsa",)

    def images(self, context: Context, parametrization: Parametrization, view: View | None) -> Tensor:
        """``ipc`` images per class."""
        return torch.stack(
            [context.data.images(_random(context, label, context.ipc)) for label in range(context.spec.classes)]
        )


@dataclass(frozen=True, kw_only=True)
class Mixed(Initializer):
    """Random real images of each class, packed as the parametrization unpacks them (IDC, section 4.2).

    With `partition` every stored image starts as f x f shrunken real images, with `plain` as one. A class with too
    few images repeats some.
    """

    references = ("kim2022idc",)

    def images(self, context: Context, parametrization: Parametrization, view: View | None) -> Tensor:
        """``parts(ipc)`` images per class, packed."""
        count = parametrization.parts(context.ipc)
        return torch.stack(
            [
                parametrization.encode(context.data.images(_random(context, label, count)), context.ipc)
                for label in range(context.spec.classes)
            ]
        )


def _random(context: Context, label: int, count: int) -> Tensor:
    """Rows of ``count`` random images of a class."""
    members = context.data.class_rows(label)
    order = context.streams("initial images", label).permutation(len(members))
    return repeated(members[order], count)
