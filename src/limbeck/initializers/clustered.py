"""Start from representative real images, taken evenly from clusters of the class (DREAM, AST)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor

from limbeck.core.batch import View
from limbeck.core.context import Context
from limbeck.core.contracts import Initializer, Parametrization, Workload
from limbeck.core.errors import InputError
from limbeck.training.batches import repeated
from limbeck.training.clustering import Clustering

__all__ = ["Clustered"]


@dataclass(frozen=True, kw_only=True)
class Clustered(Initializer):
    """The images nearest to the centres of k-means over each class, seen by the network that the pool shows it.

    As many clusters as images fit into the stored ones, packed as the parametrization unpacks them (DREAM's code), or
    at most a given number that each give several images (AST). A class with too few images repeats some.
    """

    references = ("liu2023dream",)
    added: ClassVar[Mapping[str, Any]] = {"clusters": 0}

    clusters: int = 0
    """Clusters of a class at most; the images are spread over them evenly, what is left over to the largest. 0 for as
    many as images (DREAM); AST has 10."""
    clustering: Clustering = field(default_factory=Clustering)
    """How clusters are found and images picked."""

    def needs(self) -> frozenset[str]:
        """Embeddings or logits of a network."""
        return self.clustering.needs()

    def check(self, context: Context) -> None:
        """The settings make sense."""
        self.clustering.check("initializer 'clustered'")
        if self.clusters < 0:
            raise InputError(f"initializer 'clustered' needs clusters >= 0 (0: one per image), not {self.clusters}.")

    def passes(self, context: Context, load: Workload) -> float:
        """One look at what is clustered."""
        return float(self.clustering.images(context))

    def images(self, context: Context, parametrization: Parametrization, view: View | None) -> Tensor:
        """Representatives, packed."""
        if view is None:
            raise InputError("initializer 'clustered' needs a network; fill the slot 'pool'.")
        count = parametrization.parts(context.ipc)
        context.say("clustering the classes for initial images")
        if self.clusters:
            picks = self.clustering.spread(context, view, count, self.clusters, ())
        else:
            picks = self.clustering.pick(context, view, count, 1, ())

        return torch.stack(
            [parametrization.encode(context.data.images(repeated(rows, count)), context.ipc) for rows in picks]
        )
