"""Start from representative real images, one per cluster of the class (DREAM)."""

from __future__ import annotations

from dataclasses import dataclass, field

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
    """The images nearest to the centres of k-means over each class, seen by the first network of the pool.

    As many clusters as images fit into the stored ones, packed as the parametrization unpacks them (DREAM's code).
    A class with too few images repeats some.
    """

    references = ("liu2023dream",)

    clustering: Clustering = field(default_factory=Clustering)
    """How clusters are found and images picked."""

    def needs(self) -> frozenset[str]:
        """Embeddings of the first network."""
        return frozenset({"embeddings"})

    def check(self, context: Context) -> None:
        """The clustering's settings make sense."""
        self.clustering.check("initializer 'clustered'")

    def passes(self, context: Context, load: Workload) -> float:
        """Embeddings of what is clustered, once."""
        return float(self.clustering.images(context))

    def images(self, context: Context, parametrization: Parametrization, view: View | None) -> Tensor:
        """Representatives, packed."""
        if view is None:
            raise InputError("initializer 'clustered' needs a network; fill the slot 'pool'.")
        count = parametrization.parts(context.ipc)
        context.say("clustering the classes for initial images")
        picks = self.clustering.pick(context, view, count, 1, ())

        return torch.stack(
            [parametrization.encode(context.data.images(repeated(rows, count)), context.ipc) for rows in picks]
        )
