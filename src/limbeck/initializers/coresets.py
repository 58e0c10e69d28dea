"""Real images chosen by their embeddings: herding and k-center, the usual baselines."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from limbeck.core.batch import View
from limbeck.core.context import Context
from limbeck.core.contracts import Initializer, Parametrization
from limbeck.core.errors import InputError
from limbeck.ops import selection
from limbeck.training.batches import repeated
from limbeck.training.embedding import embed

__all__ = ["Herding", "KCenter"]


@dataclass(frozen=True, kw_only=True)
class Herding(Initializer):
    """Greedily keep the mean of the chosen embeddings near that of the class (Welling, 2009)."""

    references = ("welling2009herding",)

    def needs(self) -> frozenset[str]:
        """Embeddings of a network trained on the real images."""
        return frozenset({"embeddings"})

    def images(self, context: Context, parametrization: Parametrization, view: View | None) -> Tensor:
        """``parts(ipc)`` images per class in the order of choice, packed."""
        return _chosen(
            context,
            parametrization,
            view,
            "herding",
            lambda features, label, count: selection.herding(features, count),
        )


@dataclass(frozen=True, kw_only=True)
class KCenter(Initializer):
    """Greedily add the image farthest from all chosen ones (Sener and Savarese, 2018)."""

    references = ("sener2018coreset",)

    start: Literal["random", "mean"] = "random"
    """First image of a class: a random one, or the one nearest to the mean embedding."""

    def needs(self) -> frozenset[str]:
        """Embeddings of a network trained on the real images."""
        return frozenset({"embeddings"})

    def images(self, context: Context, parametrization: Parametrization, view: View | None) -> Tensor:
        """``parts(ipc)`` images per class in the order of choice, packed."""

        def choose(features: Tensor, label: int, count: int) -> Tensor:
            if self.start == "mean":
                first = int((features - features.mean(dim=0)).square().sum(dim=1).argmin())
            else:
                first = int(context.streams("k-center start", label).integers(0, len(features) - 1))
            return selection.k_center(features, count, first)

        return _chosen(context, parametrization, view, "k_center", choose)


def _chosen(
    context: Context,
    parametrization: Parametrization,
    view: View | None,
    name: str,
    choose: Callable[[Tensor, int, int], Tensor],
) -> Tensor:
    """Images that ``choose`` picks from the embeddings, label and wanted number of each class."""
    if view is None:
        raise InputError(f"initializer '{name}' needs a network; fill the slot 'pool'.")
    context.say("embedding the real images")
    wanted = parametrization.parts(context.ipc)
    classes = []
    for label in range(context.spec.classes):
        members = context.data.class_rows(label)
        picked = choose(embed(view, context.data, members), label, min(wanted, len(members)))
        rows = repeated(members[picked.cpu()], wanted)
        classes.append(parametrization.encode(context.data.images(rows), context.ipc))
    return torch.stack(classes)
