"""The networks of an evaluation: one fresh network trained as a protocol says, and judged."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from limbeck.core.execution import Execution
from limbeck.core.network import FunctionalNetwork, Weights
from limbeck.core.real import DataSpec, RealSet
from limbeck.core.streams import Streams
from limbeck.evaluation.details import look
from limbeck.evaluation.labels import Labels
from limbeck.evaluation.looks import CountedImages
from limbeck.evaluation.protocol import Protocol
from limbeck.evaluation.scores import Reached
from limbeck.networks import build
from limbeck.training.lessons import Shuffled
from limbeck.training.supervised import fit

__all__ = ["RealImages", "Rows", "Source", "Student", "train", "train_and_judge"]

Fetch = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Rows:
    """Images that are there as one tensor, by row."""

    images: Tensor

    def __call__(self, rows: Tensor) -> Tensor:
        """Images ``[B, C, H, W]`` of rows ``[B]``."""
        return self.images[rows.to(self.images.device)]


@dataclass(frozen=True)
class RealImages:
    """Images of a real set in normalized space, by row."""

    data: RealSet

    def __call__(self, rows: Tensor) -> Tensor:
        """Images ``[B, C, H, W]`` of rows ``[B]``."""
        return self.data.spec.normalization.apply(self.data.images(rows))


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
    """

    images: Fetch
    labels: Tensor
    spec: DataSpec
    soft: Labels | None
    own_label_bytes: int
    lr: float

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

    Returns:
        The best look during training; None where there was none.
    """
    total, training = len(labels), protocol.training.bound(spec)
    batches = Shuffled(streams, training, spec.shape, total)
    looks = []
    for epoch, _ in fit(
        network,
        weights,
        images,
        labels,
        training,
        streams,
        spec.shape,
        lambda epoch: protocol.lr(epoch, total, lr),
        protocol.steps(total),
        protocol.forgets,
        lessons=batches if soft is None else soft.lessons(batches, protocol, spec.classes),
        soft=protocol.soft,
        momentum=None if protocol.momentum_after is None else protocol.momentum,
    ):
        if protocol.looks(epoch) and look is not None:
            looks.append(look())
    return max(looks, default=None)


def train_and_judge(source: Source, protocol: Protocol, student: Student) -> Reached:
    """Test accuracy of one fresh network. A pure function of its arguments.

    Args:
        source: what it learns from.
        protocol: how.
        student: which network.

    Raises:
        RunError: the images that judge are read more often than the protocol says.
    """
    network = build(student.network, source.spec).to(source.labels.device, torch.float32, student.execution)
    streams = Streams(student.seed)
    weights = network.initial(streams("network"))
    judges = CountedImages(student.judges, protocol.evaluations(len(source)), protocol.name)
    judge = functools.partial(look, network, weights, judges, judges.labels)
    images, labels, spec, soft = source.images, source.labels, source.spec, source.soft
    best = train(
        network, weights, images, labels, spec, protocol, student.lr, streams, soft=soft, look=lambda: judge().accuracy
    )
    details = judge()
    return Reached(details.accuracy, best, details, judges.looks)
