"""The networks of an evaluation: fresh networks trained as a protocol says, alone or side by side, and judged."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from limbeck.core.execution import Execution
from limbeck.core.network import FunctionalNetwork, Weights
from limbeck.core.real import DataSpec, RealSet
from limbeck.core.streams import Streams
from limbeck.evaluation.details import Details, look
from limbeck.evaluation.images import Fetch
from limbeck.evaluation.labels import Labels
from limbeck.evaluation.looks import CountedImages
from limbeck.evaluation.protocol import Protocol
from limbeck.evaluation.scores import Reached
from limbeck.networks import build
from limbeck.training.ensemble import side_by_side, split, stack
from limbeck.training.lessons import InTurn, Shuffled
from limbeck.training.supervised import fit

__all__ = ["Source", "Student", "train", "train_and_judge", "train_together", "trained_students"]


@dataclass(frozen=True)
class Source:
    """Labelled training images in normalized space.

    Args:
        images: those of some rows.
        labels: int64 ``[N]``, or probabilities ``[N, K]``.
        spec: shape, classes and normalization.
        soft: a teacher's labels, where the protocol teaches by them.
        own_label_bytes: bytes of soft labels that the set carries; 0 for hard ones.
        lr: step size that networks begin with where none is chosen.
        ends: images before the end of each segment, where these are shown in turn; rows are in their order.
    """

    images: Fetch
    labels: Tensor
    spec: DataSpec
    soft: Labels | None
    own_label_bytes: int
    lr: float
    ends: tuple[int, ...] = ()

    def __len__(self) -> int:
        """Images."""
        return len(self.labels)


@dataclass(frozen=True)
class Student:
    """One network to train and judge.

    Args:
        network: its architecture.
        seed: of its streams.
        lr: step size at the beginning.
        judges: images that it is judged by.
        execution: how its steps are computed.
    """

    network: str
    seed: int
    lr: float
    judges: RealSet
    execution: Execution


def train(
    network: FunctionalNetwork,
    weights: Weights,
    images: Fetch,
    labels: Tensor,
    spec: DataSpec,
    protocol: Protocol,
    lr: float,
    streams: Streams,
    *,
    soft: Labels | None = None,
    look: Callable[[], float] | None = None,
    ends: tuple[int, ...] = (),
) -> float | None:
    """Train one network as a protocol says, whatever number format it has.

    Args:
        network: the architecture.
        weights: its weights, changed in place.
        images: training images in normalized space ``[B, C, H, W]`` for rows ``[B]``.
        labels: int64 ``[N]``, or probabilities ``[N, K]``, on the network's device.
        spec: shape, classes and normalization of the images.
        protocol: how.
        lr: step size at the beginning.
        streams: random streams of this network.
        soft: a teacher's labels, where the protocol teaches by them.
        look: gives the test accuracy of the network as it is; needed where the protocol looks during training.
        ends: images before the end of each segment, where these are shown in turn.

    Returns:
        The best look during training; None where there was none.
    """
    source = Source(images, labels, spec, soft, 0, lr, ends)
    epochs = train_together(network, weights, source, protocol, lr, [streams])
    return max((look() for epoch in epochs if look is not None and protocol.looks(epoch)), default=None)


def train_together(
    network: FunctionalNetwork,
    weights: Weights,
    source: Source,
    protocol: Protocol,
    lr: float,
    streams: Sequence[Streams],
) -> Iterator[int]:
    """Train several networks side by side, each as it would be alone.

    Args:
        network: the architecture for so many networks (`limbeck.training.ensemble.side_by_side`).
        weights: theirs, stacked; changed in place.
        source: what they learn from.
        protocol: how.
        lr: step size at the beginning.
        streams: random streams of each.

    Yields:
        Each epoch, when it is over.
    """
    total, training = len(source), protocol.training.bound(source.spec)
    lessons = []
    for own in streams:
        batches = Shuffled(own, training, source.spec.shape, total)
        if source.ends:
            batches = InTurn(own, training, source.spec.shape, source.ends, protocol.epochs(total))
        lessons.append(batches if source.soft is None else source.soft.lessons(batches, protocol, source.spec.classes))
    for epoch, _ in fit(
        network,
        weights,
        source.images,
        source.labels,
        training,
        streams[0],
        source.spec.shape,
        lambda epoch: protocol.lr(epoch, total, lr),
        protocol.steps(total),
        protocol.forgets,
        lessons=lessons,
        soft=protocol.soft,
        momentum=None if protocol.momentum_after is None else protocol.momentum,
    ):
        yield epoch


def train_and_judge(source: Source, protocol: Protocol, students: Sequence[Student]) -> tuple[Reached, ...]:
    """Test accuracy of fresh networks that are trained side by side, or of one. A pure function of its arguments.

    Args:
        source: what they learn from.
        protocol: how.
        students: which networks, alike but for their seeds.

    Raises:
        RunError: the images that judge are read more often for a network than the protocol says.
    """
    budget = protocol.evaluations(len(source))
    judges = [CountedImages(student.judges, budget, protocol.name) for student in students]

    def looks(alone: FunctionalNetwork, trained: Sequence[Weights]) -> tuple[Details, ...]:
        return tuple(look(alone, own, images, images.labels) for own, images in zip(trained, judges, strict=True))

    during: list[tuple[float, ...]] = []
    for epoch, alone, trained in trained_students(source, protocol, students):
        if protocol.looks(epoch):
            during.append(tuple(one.accuracy for one in looks(alone, trained)))
    best: list[float | None] = [max(own, default=None) for own in zip(*during, strict=True)] or [None] * len(students)
    last = looks(alone, trained)
    return tuple(
        Reached(details.accuracy, most, details, images.looks)
        for details, most, images in zip(last, best, judges, strict=True)
    )


def trained_students(
    source: Source, protocol: Protocol, students: Sequence[Student]
) -> Iterator[tuple[int, FunctionalNetwork, Sequence[Weights]]]:
    """Fresh networks in training, side by side.

    Args:
        source: what they learn from.
        protocol: how.
        students: which networks, alike but for their seeds.

    Yields:
        After each epoch its number, the architecture, and the weights of each network as they are then.
    """
    first = students[0]
    alone = build(first.network, source.spec).to(source.labels.device, torch.float32, first.execution)
    alone, network = (side_by_side(alone, count) for count in (1, len(students)))
    streams = [Streams(student.seed) for student in students]
    weights = stack([alone.initial(own("network")) for own in streams])
    for epoch in train_together(network, weights, source, protocol, first.lr, streams):
        yield epoch, alone, split(network, weights)
