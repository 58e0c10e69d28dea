"""What a run lends to its parts: data, random streams, networks, device."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch

from limbeck.core.execution import Execution
from limbeck.core.executor import Executor, InProcess
from limbeck.core.network import FunctionalNetwork
from limbeck.core.real import DataSpec, RealSet
from limbeck.core.streams import Streams

__all__ = ["Context", "Group"]


@dataclass(frozen=True)
class Group:
    """Stored images that are learnt apart from all others: whatever else is learnt, they come out the same.

    Args:
        number: which group, from 0.
        labels: classes of its images.
        images: positions of its images among those of their class.
    """

    number: int
    labels: range
    images: range


@dataclass(frozen=True)
class Context:
    """The surroundings of one run, the same for all parts and never changed by them.

    Args:
        data: the real training images, arriving on ``device`` as ``dtype``.
        ipc: stored synthetic images per class.
        streams: random numbers by key.
        build: makes an architecture for this data from its name.
        device: where tensors live.
        dtype: floating point type of images and weights.
        executor: where tasks run that do not depend on one another.
        execution: how steps are computed.
        say: reports what is being prepared, for the progress line.
        cache: folder where networks that were trained before a run are kept for other runs; None keeps none.
        group: the stored images that are worked on, if not all.
    """

    data: RealSet
    ipc: int
    streams: Streams
    build: Callable[[str, DataSpec], FunctionalNetwork]
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    dtype: torch.dtype = torch.float32
    executor: Executor = field(default_factory=InProcess)
    execution: Execution = field(default_factory=Execution)
    say: Callable[[str], None] = lambda message: None
    cache: Path | None = None
    group: Group | None = None
    _networks: dict[str, FunctionalNetwork] = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def spec(self) -> DataSpec:
        """Shape, classes and normalization of the data."""
        return self.data.spec

    @property
    def labels(self) -> range:
        """Classes that are worked on."""
        return range(self.spec.classes) if self.group is None else self.group.labels

    @property
    def positions(self) -> range:
        """Stored images of each class that are worked on."""
        return range(self.ipc) if self.group is None else self.group.images

    @property
    def stored_shape(self) -> tuple[int, int, int, int, int]:
        """``(K, n, C, H, W)`` of the stored images that are worked on."""
        return (len(self.labels), len(self.positions), *self.spec.shape)

    def network(self, name: str) -> FunctionalNetwork:
        """The architecture of this name for this data, on the run's device and dtype."""
        if name not in self._networks:
            self._networks[name] = self.build(name, self.spec).to(self.device, self.dtype, self.execution)
        return self._networks[name]
