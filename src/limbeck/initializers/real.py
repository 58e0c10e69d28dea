"""Start from random real images, one per stored image or several packed into each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

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
    by_group: ClassVar[bool] = True

    def images(self, context: Context, parametrization: Parametrization, view: View | None) -> Tensor:
        """``ipc`` images per class; no others are read than those of the group."""
        chosen = slice(context.positions.start, context.positions.stop)
        rows = [_random(context, label, context.ipc)[chosen] for label in context.labels]
        return context.data.images(torch.stack(rows))


@dataclass(frozen=True, kw_only=True)
class Mixed(Initializer):
    """Real images of each class, packed as the parametrization unpacks them (IDC, section 4.2).

    With `partition` every stored image starts as f x f shrunken real images, with `plain` as one. A class with too
    few images repeats some.
    """

    references = ("kim2022idc",)
    added: ClassVar[Mapping[str, Any]] = {"choice": "random"}

    choice: Literal["random", "independent", "first"] = "random"
    """Which images: random ones, all different; ``ipc`` different ones for each part of the stored images, drawn
    independently of the other parts, where they may come again (IDM's code); or the first of the class in data set
    order (the code of IDC and DSDM)."""

    def images(self, context: Context, parametrization: Parametrization, view: View | None) -> Tensor:
        """``parts(ipc)`` images per class, packed."""
        count = parametrization.parts(context.ipc)
        return torch.stack(
            [
                parametrization.encode(context.data.images(self._rows(context, label, count)), context.ipc)
                for label in context.labels
            ]
        )

    def _rows(self, context: Context, label: int, count: int) -> Tensor:
        """Rows of the ``count`` images of a class."""
        match self.choice:
            case "random":
                return _random(context, label, count)
            case "independent":
                draws = range(-(-count // context.ipc))
                return torch.cat([_random(context, label, context.ipc, draw) for draw in draws])[:count]
            case "first":
                return repeated(context.data.class_rows(label), count)


def _random(context: Context, label: int, count: int, *draw: int) -> Tensor:
    """Rows of ``count`` random images of a class; which ones depends on the number of the draw, if there is one."""
    members = context.data.class_rows(label)
    order = context.streams("initial images", label, *draw).permutation(len(members))
    return repeated(members[order], count)
