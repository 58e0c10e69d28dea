"""What a comparison found: a row for each method, and by how much rows differ."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from limbeck.core.plain import encode
from limbeck.evaluation.labels import LabelKind
from limbeck.evaluation.protocols import Protocol
from limbeck.evaluation.scores import Selection
from limbeck.ops.statistics import Interval, paired_difference

__all__ = ["COMPARISON", "RANDOM", "Comparison", "Difference", "Row", "TrainedOn", "differences", "told_apart"]

COMPARISON = "comparison.json"
RANDOM = "random"
"""The coreset that every method must beat."""


@dataclass(frozen=True)
class TrainedOn:
    """What networks of one architecture reached.

    Args:
        network: its name.
        accuracies: test accuracy of every network, seed by seed.
        rates: step sizes that they were trained with, each once.
    """

    network: str
    accuracies: tuple[float, ...]
    rates: tuple[float, ...]


@dataclass(frozen=True)
class Row:
    """One method at one IPC, over all seeds.

    Args:
        method: its name; ``full`` is training on all real images.
        ipc: stored images per class; 0 for ``full``.
        bytes: of the stored pixels.
        training_images: images that a network was trained on, after decoding.
        accuracies: test accuracy of every network, seed by seed.
        seconds: wall time of distilling, mean over seeds.
        evaluation_seconds: wall time of training and judging the networks of one seed, mean over seeds.
        seeds: seeds of the runs.
        bytes_labels: bytes of labels: 0 for hard ones, else of those that the set carries, of the teacher's weights or
            of stored files.
        label_kind: ``hard``, ``own`` (soft ones that the set carries), ``teacher`` or ``stored``.
        selected_on_test: best look at the test images of every network, where the protocol looks during training; no
            fair figure.
        test_evaluations: looks at the test images for each network.
        selection: what was chosen by looking at the outcome.
        coreset: the recipe's name, of a set that was picked and not learnt; empty otherwise.
        budget: bytes that images and labels may have, where the IPC follows from them; 0 where it was given.
        cut: inner steps done and planned, of every run that was cut after a time.
        distilled_on: the network that looked at the images while they were learnt; empty for what was picked.
        trained_on: networks that were trained on the set, each once.
    """

    method: str
    ipc: int
    bytes: int
    training_images: int
    accuracies: tuple[float, ...]
    seconds: float
    evaluation_seconds: float
    seeds: tuple[int, ...]
    bytes_labels: int = 0
    label_kind: LabelKind = "hard"
    selected_on_test: tuple[float, ...] = ()
    test_evaluations: int = 1
    selection: Selection = "none"
    coreset: str = ""
    budget: int = 0
    cut: tuple[tuple[int, int], ...] = ()
    distilled_on: str = ""
    trained_on: tuple[TrainedOn, ...] = ()

    @property
    def beside(self) -> tuple[int, bool, LabelKind]:
        """What rows have in common that stand beside one another: IPC or budget, and the kind of labels."""
        return self.budget or self.ipc, bool(self.budget), self.label_kind

    @property
    def mean(self) -> float:
        """Mean accuracy."""
        return statistics.fmean(self.accuracies)

    @property
    def best(self) -> float | None:
        """Mean of the best looks at the test images; None where the protocol looks once."""
        return statistics.fmean(self.selected_on_test) if self.selected_on_test else None

    @property
    def seed_means(self) -> tuple[float, ...]:
        """Mean accuracy of the networks of each seed."""
        count = max(1, len(self.accuracies) // len(self.seeds))
        return tuple(
            statistics.fmean(self.accuracies[start : start + count]) for start in range(0, len(self.accuracies), count)
        )

    @property
    def std(self) -> float:
        """Sample standard deviation of the seeds' means, or of the networks when there is one seed; 0 for one network.

        Networks that were trained on the same set are no independent repetitions of a method; seeds are.
        """
        several = self.seed_means if len(self.seeds) > 1 else self.accuracies
        return statistics.stdev(several) if len(several) > 1 else 0.0


@dataclass(frozen=True)
class Difference:
    """How much better a row is than another of the same IPC or budget and the same kind of labels, seed by seed.

    Args:
        row: the one.
        other: the other, a coreset.
        interval: of the accuracy of ``row`` less that of ``other``, both the mean over the networks of a seed.
    """

    row: Row
    other: Row
    interval: Interval

    def as_plain(self) -> dict[str, Any]:
        """As plain data."""
        return {
            **{name: getattr(self.row, name) for name in ("method", "ipc", "label_kind")},
            "other": self.other.method,
            "other_ipc": self.other.ipc,
            **encode(self.interval),
        }


@dataclass(frozen=True)
class Comparison:
    """A table of methods.

    Args:
        data: name of the data set.
        protocol: how all were judged.
        rows: by IPC, then in the order asked for.
        teacher: whose soft labels the sets had, all of them the same; None without soft labels.
        brought_by: the recipe whose teacher that is; empty where it was named.
        cut_after: seconds after which distilling was cut; None where all steps were taken.
    """

    data: str
    protocol: Protocol
    rows: tuple[Row, ...]
    teacher: dict[str, Any] | None = None
    brought_by: str = ""
    cut_after: float | None = None

    def as_plain(self) -> dict[str, Any]:
        """As plain data; means, deviations and differences included."""
        rows = [
            {**encode(row), "mean": row.mean, "std": row.std, "last": row.mean, "best": row.best} for row in self.rows
        ]
        taught = {"teacher": self.teacher, "brought_by": self.brought_by} if self.teacher else {}
        cut = {} if self.cut_after is None else {"cut_after": self.cut_after}
        apart = [difference.as_plain() for pair in differences(self.rows) for difference in pair if difference]
        return {
            "data": self.data,
            "protocol": encode(self.protocol),
            **taught,
            **cut,
            "rows": rows,
            "differences": apart,
        }


def told_apart(rows: Sequence[Row]) -> list[Row]:
    """The rows with the kind of their labels in their names, where there is more than one kind; for pictures."""
    if len({row.label_kind for row in rows}) < 2:
        return list(rows)
    kinds = {"hard": "hard labels", "own": "own soft labels", "teacher": "soft labels", "stored": "stored labels"}
    return [row if not row.ipc else replace(row, method=f"{row.method} ({kinds[row.label_kind]})") for row in rows]


def differences(rows: Sequence[Row]) -> list[tuple[Difference | None, Difference | None]]:
    """Of every row how much better it is than random images, and than the best coreset beside it.

    The best coreset is the one with the highest mean accuracy in these rows, so that chance makes it look better rather
    than worse. A coreset is compared with random images alone, and a row with nothing that is not there.

    Args:
        rows: of a comparison.
    """
    found = []
    for row in rows:
        picked = [other for other in rows if other.coreset and other.beside == row.beside and other.seeds == row.seeds]
        random = next((other for other in picked if other.coreset == RANDOM and other is not row), None)
        best = max(picked, key=lambda other: other.mean, default=None) if row.ipc and not row.coreset else None
        found.append((_difference(row, random), _difference(row, best)))
    return found


def _difference(row: Row, other: Row | None) -> Difference | None:
    if other is None:
        return None
    return Difference(row, other, paired_difference(row.seed_means, other.seed_means))
