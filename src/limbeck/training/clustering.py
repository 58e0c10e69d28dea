"""Representatives of each class: k-means over embeddings, and the images nearest to the centres (DREAM, AST)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple

import torch
from torch import Tensor

from limbeck.core.batch import View
from limbeck.core.context import Context
from limbeck.core.errors import InputError
from limbeck.ops import kmeans
from limbeck.training.embedding import embed

__all__ = ["Clustering"]

_ROWS = 50_000
"""Embeddings that are in the memory of a GPU at once."""


class _Share(NamedTuple):
    """What is picked from one class."""

    clusters: int
    per_cluster: int
    further: int
    """Clusters, the largest first, that give one image more."""


@dataclass(frozen=True, kw_only=True)
class Clustering:
    """How clusters of a class are found and images picked (DREAM, section 3.2).

    The defaults mend what the authors' code does with repeated start rows and empty clusters; `official` restores it.
    """

    added: ClassVar[Mapping[str, Any]] = {"features": "embedding"}

    candidates: int = 0
    """Random images of a class that are clustered and picked from, a fresh draw each time; 0 for all, as published."""
    max_sweeps: int = 100
    """Most sweeps of Lloyd's algorithm."""
    tolerance: float = 1e-4
    """Stop when the squared movement of all centres together is at most this."""
    normalize: bool = True
    """Whether embeddings are taken of normalized images; the authors' code takes raw ones."""
    repeated_starts: bool = False
    """Whether start rows may repeat, as in the authors' code."""
    empty: Literal["reseed", "zero"] = "reseed"
    """An empty cluster restarts at the point farthest from its centre, or (authors' code) at zero."""
    distinct: bool = True
    """Whether an image is picked at most once; the authors' code keeps duplicates."""
    features: Literal["embedding", "logits"] = "embedding"
    """What of the network is clustered: what its classifier reads (DREAM; AST as printed) or its logits (AST's
    code)."""

    warm_sweeps: int = 0
    """Above 0: a clustering starts from the representatives of the one before, and takes at most so many sweeps; as
    published every one starts from random images."""

    @classmethod
    def official(cls) -> Clustering:
        """As in the authors' code."""
        return cls(normalize=False, repeated_starts=True, empty="zero", distinct=False)

    def check(self, where: str) -> None:
        """Refuse values that cannot be.

        Args:
            where: what errors call the part that clusters, for example ``sampler 'representative'``.

        Raises:
            InputError: a value is out of its range.
        """
        if self.candidates < 0 or self.max_sweeps < 1 or not self.tolerance >= 0:
            raise InputError(
                f"clustering of {where} needs candidates >= 0, max_sweeps >= 1 and tolerance >= 0, not "
                f"{self.candidates}, {self.max_sweeps} and {self.tolerance}."
            )
        if self.warm_sweeps < 0 or (self.warm_sweeps and self.candidates):
            raise InputError(
                f"clustering of {where} needs warm_sweeps >= 0, and candidates 0 (all) if it is above 0: earlier "
                f"representatives must be among the images; not {self.warm_sweeps} and {self.candidates}."
            )

    def needs(self) -> frozenset[str]:
        """What the network must show, as a fact of the slot that fills it."""
        return frozenset({"embeddings" if self.features == "embedding" else "networks"})

    def images(self, context: Context) -> int:
        """Images that one clustering of all classes looks at."""
        counts = context.data.class_counts()
        return sum(min(self.candidates or count, count) for count in counts)

    def pick(
        self,
        context: Context,
        view: View,
        clusters: int,
        per_cluster: int,
        key: tuple[int, ...],
        earlier: list[Tensor] | None = None,
    ) -> list[Tensor]:
        """Representatives of every class, in cluster order.

        Args:
            context: the run.
            view: the network whose embeddings are clustered.
            clusters: clusters per class; fewer in a class with fewer than ``clusters * per_cluster`` images.
            per_cluster: images per cluster.
            key: where in the run this happens; start rows are drawn by it.
            earlier: what the clustering before picked, to start from if that is asked for.

        Returns:
            One tensor of data set rows per class, int64 ``[min(clusters, n // per_cluster) * per_cluster]``.
        """
        members = self._members(context, key, clusters * per_cluster)
        shares = [_Share(max(1, min(clusters, len(rows) // per_cluster)), per_cluster, 0) for rows in members]
        return self._picked(context, view, members, shares, key, earlier)

    def spread(self, context: Context, view: View, images: int, clusters: int, key: tuple[int, ...]) -> list[Tensor]:
        """Representatives of every class, so many images from at most so many clusters (AST, section 4.2).

        The images are spread evenly, for each cluster those nearest to its centre; what is left over goes to the
        clusters with the most members, one image each, among equally large ones to the first.

        Args:
            context: the run.
            view: the network whose features are clustered.
            images: images of each class; all of a class that has fewer.
            clusters: clusters of each class at most; no more than images.
            key: where in the run this happens; start rows are drawn by it.

        Returns:
            One tensor of data set rows per class, int64 ``[min(images, n)]``; the images left over come last.
        """
        members = self._members(context, key, images)
        shares = []
        for rows in members:
            count = min(images, len(rows))
            number = min(clusters, count)
            shares.append(_Share(number, *divmod(count, number)))
        return self._picked(context, view, members, shares, key, None)

    def _picked(
        self,
        context: Context,
        view: View,
        members: list[Tensor],
        shares: list[_Share],
        key: tuple[int, ...],
        earlier: list[Tensor] | None,
    ) -> list[Tensor]:
        """Data set rows of every class."""
        picks: list[Tensor | None] = [None] * len(members)
        # Classes with equally many clusters are one batched problem, as far as their embeddings fit into memory.
        for share in sorted(set(shares)):
            alike = [label for label, other in enumerate(shares) if other == share]
            for labels in _groups(context, alike, members):
                first = [
                    self._first(context, label, members[label], share.clusters, share.per_cluster, key, earlier)
                    for label in labels
                ]
                chosen = self._pick_together(context, view, labels, members, torch.stack(first), share, earlier)
                for label, rows in zip(labels, chosen, strict=True):
                    picks[label] = members[label][rows]
        return [rows for rows in picks if rows is not None]

    def _pick_together(
        self,
        context: Context,
        view: View,
        labels: list[int],
        members: list[Tensor],
        start: Tensor,
        share: _Share,
        earlier: list[Tensor] | None,
    ) -> list[Tensor]:
        """Positions within each class, one batched clustering over the given classes."""
        embeddings = [
            embed(view, context.data, members[label], self.normalize, features=self.features) for label in labels
        ]
        counts = torch.tensor([len(rows) for rows in embeddings])
        features = torch.nn.utils.rnn.pad_sequence(embeddings, batch_first=True)
        del embeddings
        counts, start = counts.to(features.device), start.to(features.device)
        sweeps = self.warm_sweeps if self.warm_sweeps and earlier is not None else self.max_sweeps
        found = kmeans.kmeans(features, counts, start, max_sweeps=sweeps, tolerance=self.tolerance, empty=self.empty)
        further = kmeans.largest(found.labels, share.clusters, share.further) if share.further else None
        rows = kmeans.nearest_rows(
            features, counts, found.centroids, share.per_cluster, distinct=self.distinct, further=further
        )
        return list(rows.cpu())

    def _members(self, context: Context, key: tuple[int, ...], least: int) -> list[Tensor]:
        """Rows of every class that take part."""
        return [self._candidates(context, label, key, least) for label in range(context.spec.classes)]

    def _candidates(self, context: Context, label: int, key: tuple[int, ...], least: int) -> Tensor:
        """Rows of a class that take part, in data set order, at least as many as are picked."""
        rows = context.data.class_rows(label)
        count = max(self.candidates, least)
        if not self.candidates or count >= len(rows):
            return rows
        order = context.streams("cluster candidates", *key, label).permutation(len(rows))
        return rows[order[:count].sort().values]

    def _first(
        self,
        context: Context,
        label: int,
        members: Tensor,
        clusters: int,
        per_cluster: int,
        key: tuple[int, ...],
        earlier: list[Tensor] | None,
    ) -> Tensor:
        """Positions of the images that the clusters of a class start from."""
        if self.warm_sweeps and earlier is not None:
            return torch.searchsorted(members, earlier[label][::per_cluster].contiguous())
        stream = context.streams("cluster starts", *key, label)
        if self.repeated_starts:
            return stream.integers(0, len(members) - 1, clusters)
        return stream.permutation(len(members))[:clusters]


def _groups(context: Context, labels: list[int], members: list[Tensor]) -> Iterator[list[int]]:
    """Classes that are clustered together: one by one on a CPU, which gains nothing by more."""
    group: list[int] = []
    limit = 0 if context.device.type == "cpu" else _ROWS
    for label in labels:
        if group and sum(len(members[other]) for other in [*group, label]) > limit:
            yield group
            group = []
        group.append(label)
    if group:
        yield group
