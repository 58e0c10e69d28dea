"""Representative real batches: one image per cluster of the class, as the current network sees it (DREAM)."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from limbeck.core.batch import Moment, View
from limbeck.core.context import Context
from limbeck.core.contracts import Sampler, State, Workload
from limbeck.core.errors import InputError
from limbeck.training.clustering import Clustering

__all__ = ["Representative"]


@dataclass(frozen=True, kw_only=True)
class Representative(Sampler):
    """The images nearest to the centres of k-means over the embeddings of a whole class (DREAM, section 3.2).

    Clustering happens at inner steps 0, I, 2I, ... of every outer iteration, with the network as it is then; its
    picks are the real batch until the next one. Where an outer iteration has one step only, as in distribution
    matching, it happens at iterations 0, I, 2I, ...
    """

    references = ("liu2023dream",)

    batch_size: int = 128
    """Real images per class and step; K = batch_size / per_cluster clusters. All of a class that has fewer."""
    per_cluster: int = 1
    """Images taken from each cluster; n of table 5."""
    interval: int = 10
    """Inner steps between clusterings; I_int of section 3.2."""
    clustering: Clustering = field(default_factory=Clustering)
    """How clusters are found and images picked."""

    def needs(self) -> frozenset[str]:
        """Embeddings of the matching network, or its logits."""
        return self.clustering.needs()

    def check(self, context: Context) -> None:
        """Sizes make sense."""
        self.clustering.check("sampler 'representative'")
        smallest = min(context.data.class_counts())
        if self.per_cluster > smallest:
            raise InputError(
                f"sampler 'representative' cannot take {self.per_cluster} images of a cluster from a class of "
                f"{smallest}; lower per_cluster."
            )
        if self.interval < 1 or self.per_cluster < 1 or self.batch_size < self.per_cluster:
            raise InputError(
                "sampler 'representative' needs interval >= 1 and batch_size >= per_cluster >= 1, not "
                f"interval {self.interval}, batch_size {self.batch_size}, per_cluster {self.per_cluster}."
            )

    def refresh(self, state: State, context: Context, moment: Moment, view: View) -> State:
        """Cluster every class anew when the interval is over."""
        position = moment.step if moment.steps > 1 else moment.iteration
        if state and position % self.interval:
            return state
        picks = self.clustering.pick(
            context,
            view,
            self.batch_size // self.per_cluster,
            self.per_cluster,
            (moment.iteration, moment.step),
            [rows[rows >= 0] for rows in state["rows"]] if state else None,
        )
        width = max(len(rows) for rows in picks)
        padded = torch.full((len(picks), width), -1)
        for label, rows in enumerate(picks):
            padded[label, : len(rows)] = rows
        return {"rows": padded}

    def rows(self, state: State, context: Context, moment: Moment, label: int) -> Tensor:
        """The representatives of the class."""
        rows = state["rows"][label]
        return rows[rows >= 0]

    def size(self, context: Context) -> int:
        """The batch size, or the largest class."""
        return min(self.batch_size, max(context.data.class_counts()))

    def passes(self, context: Context, load: Workload) -> float:
        """Embeddings of what is clustered."""
        rounds = load.iterations * -(-load.steps // self.interval)
        if load.steps == 1:
            rounds = -(-load.iterations // self.interval)
        return float(self.clustering.images(context) * rounds)
