"""What a run lends to its parts: data, random streams, networks, device."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch

from limbeck.core.execution import Execution
from limbeck.core.executor import Executor, InProcess
from limbeck.core.focus import Company, Focus, Taught
from limbeck.core.network import FunctionalNetwork, Weights
from limbeck.core.real import DataSpec, RealSet
from limbeck.core.streams import Streams

__all__ = ["Context", "Group", "Pieces"]


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


def _go_on() -> None:
    """Nobody asks to stop; by name, because contexts travel to other processes."""


@dataclass(frozen=True)
class Pieces:
    """Which pieces of trajectories a segment of images imitates, where its pool has experts.

    Args:
        experts: experts of the segment's own, which go on from networks of the bank and learn what the focus shows;
            0 for those of the whole run.
        epochs: for how many epochs these are trained.
        starts: epochs that a piece of these may begin with, from 0.
        place: where the window of epochs lies that a piece of the whole run's experts may begin with: 0 for the
            earliest, 1 for the latest.
        width: share of these epochs that the window takes.
    """

    experts: int = 0
    epochs: int = 0
    starts: int = 0
    place: float = 0.0
    width: float = 1.0

    def window(self, starts: int) -> range:
        """Epochs that a piece may begin with, of ``starts`` that there are."""
        size = max(1, round(self.width * starts))
        first = round(self.place * (starts - size))
        return range(first, first + size)


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
        focus: what initializer and sampler are shown of the real images, if not all.
        bank: weights of networks that were trained before, which matching may begin with.
        recall: probability that it does, in the place of fresh weights.
        pieces: which trajectories a segment imitates; None for all of the pool's.
        company: finished images that objectives show beside those that are learnt; None for none.
        taught: what networks are trained on between matchings, if not on all real images.
        scratch: folder of the run where long preparations are kept on their way; None keeps none.
        pause: called between two pieces of a long preparation; raises `Interrupted` where somebody asked to stop.
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
    focus: Focus | None = None
    bank: tuple[Weights, ...] = ()
    recall: float = 0.0
    pieces: Pieces | None = None
    company: Company | None = None
    taught: Taught | None = None
    scratch: Path | None = None
    pause: Callable[[], None] = _go_on
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
    def shown(self) -> int:
        """Stored images of a class that objectives show together: those that are learnt, and their company."""
        return self.ipc + (self.company.stored if self.company is not None else 0)

    @property
    def stored_shape(self) -> tuple[int, int, int, int, int]:
        """``(K, n, C, H, W)`` of the stored images that are worked on."""
        return (len(self.labels), len(self.positions), *self.spec.shape)

    def network(self, name: str) -> FunctionalNetwork:
        """The architecture of this name for this data, on the run's device and dtype."""
        if name not in self._networks:
            self._networks[name] = self.build(name, self.spec).to(self.device, self.dtype, self.execution)
        return self._networks[name]

    def initial(self, network: FunctionalNetwork, name: str, *key: int) -> Weights:
        """What a network begins with: fresh weights of the stream of this name and key, or some of the bank.

        Without a bank they are those that ``network.initial(streams(name, *key))`` gives, to the bit.

        Args:
            network: the architecture.
            name: name of the stream.
            *key: where in the run they are drawn.
        """
        recalled = self.recalled(name, *key)
        return network.initial(self.streams(name, *key)) if recalled is None else recalled

    def recalled(self, name: str, *key: int) -> Weights | None:
        """A copy of a random entry of the bank, with probability ``recall``; else None.

        Args:
            name: name of the stream of what may be drawn instead.
            *key: where in the run it is drawn.
        """
        if not self.bank:
            return None
        stream = self.streams(f"{name} of the bank", *key)
        if float(stream.uniform()) >= self.recall:
            return None
        chosen = self.bank[int(stream.integers(0, len(self.bank) - 1))]
        return {name: tensor.clone() for name, tensor in chosen.items()}
