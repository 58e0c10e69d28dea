"""What networks trained on a set reached."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field
from typing import Literal

from limbeck.core.execution import Execution, Precision
from limbeck.evaluation.details import Details
from limbeck.evaluation.labels import LabelKind, Labels
from limbeck.evaluation.protocol import Protocol

__all__ = ["NetworkScores", "Reached", "Scores", "Selection"]

Selection = Literal["none", "validation step size", "best look on test data"]
"""What was chosen by looking at the outcome, and on which images; "best look on test data" is no fair figure."""


@dataclass(frozen=True)
class Reached:
    """What a network reached.

    Args:
        last: test accuracy after the last epoch.
        best: the best of its looks before, if there were any.
        details: the last look, class by class.
        looks: how often the test images were looked at.
    """

    last: float
    best: float | None = None
    details: Details | None = None
    looks: int = 1


@dataclass(frozen=True)
class NetworkScores:
    """Accuracies of one architecture.

    Args:
        network: its name.
        accuracies: test accuracy of each network in [0, 1], after the last epoch.
        seeds: seed of each network's streams.
        lr: step size used: that of the set or the protocol, or chosen on the validation part if there was a choice.
        execution: how training steps were computed.
        best: the best test accuracy of each network over the looks of its training, which is selected on test data and
            no fair figure; empty where the protocol looks once (`Protocol.checked_every`).
        details: of each network after the last epoch, class by class; empty where nobody kept them.
        looks: how often the test images were looked at for each network.
    """

    network: str
    accuracies: tuple[float, ...]
    seeds: tuple[int, ...]
    lr: float
    execution: Execution = field(default_factory=Execution)
    best: tuple[float, ...] = ()
    details: tuple[Details, ...] = ()
    looks: int = 1

    @property
    def mean(self) -> float:
        """Mean accuracy."""
        return statistics.fmean(self.accuracies)

    @property
    def std(self) -> float:
        """Sample standard deviation of the accuracies; 0 for one network."""
        return statistics.stdev(self.accuracies) if len(self.accuracies) > 1 else 0.0


@dataclass(frozen=True)
class Scores:
    """Result of an evaluation.

    Args:
        protocol: how it was done.
        networks: one entry per architecture.
        images: training images after decoding.
        test_images: size of the test set.
        seed: seed of the evaluation.
        seconds: wall time.
        labels: where soft labels came from; None for the labels of the set.
        own_label_bytes: bytes of soft labels that the set carries; 0 for hard ones.
    """

    protocol: Protocol
    networks: tuple[NetworkScores, ...]
    images: int
    test_images: int
    seed: int
    seconds: float
    labels: Labels | None = None
    own_label_bytes: int = 0

    @property
    def precision(self) -> Precision:
        """Number format of convolutions."""
        return self.networks[0].execution.precision

    @property
    def label_kind(self) -> LabelKind:
        """``hard``, ``own`` (soft ones of the set), ``teacher`` (every batch labelled by a teacher) or ``stored``."""
        if self.labels is None:
            return "own" if self.own_label_bytes else "hard"
        return self.labels.kind

    @property
    def label_bytes(self) -> int:
        """Bytes of labels: 0 for hard ones, which the order implies; else of the set's, of files, or of a teacher."""
        return self.own_label_bytes if self.labels is None else self.labels.bytes

    @property
    def mean(self) -> float:
        """Mean accuracy over all networks of all architectures."""
        return statistics.fmean(value for entry in self.networks for value in entry.accuracies)

    @property
    def std(self) -> float:
        """Sample standard deviation over all networks; 0 for one."""
        every = [value for entry in self.networks for value in entry.accuracies]
        return statistics.stdev(every) if len(every) > 1 else 0.0

    @property
    def selected_on_test(self) -> float | None:
        """Mean over all networks of their best look at the test images; None where the protocol looks once."""
        every = [value for entry in self.networks for value in entry.best]
        return statistics.fmean(every) if every else None

    @property
    def test_evaluations(self) -> int:
        """How often the test images were looked at for each network, at most."""
        return max(entry.looks for entry in self.networks)

    @property
    def selection(self) -> Selection:
        """What was chosen by looking at the outcome; the accuracy after the last epoch is never chosen on test data."""
        if self.protocol.checked_every:
            return "best look on test data"
        return "validation step size" if self.protocol.learning_rates else "none"
