"""What sets reached, over the seeds of a method, from the evaluations beside runs: points of figures."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from limbeck.reports.entries import Entry

__all__ = ["Point", "Points", "reached"]


@dataclass(frozen=True, kw_only=True)
class Point:
    """One method at one IPC."""

    entry: Entry
    """Its first run."""
    network: str
    """By which it was judged; empty for all of the protocol."""
    bytes: int
    """Of a set's images and labels."""
    seconds: float | None
    """Wall time of distilling, mean over runs; None where no record tells it."""
    seeds: tuple[tuple[float, ...], ...]
    """Accuracies of the networks, run by run."""
    details: tuple[dict[str, Any], ...] = ()
    """Of each network confusion and calibration, where they were kept."""

    @property
    def mean(self) -> float:
        """Mean accuracy of all networks."""
        return statistics.fmean(value for seed in self.seeds for value in seed)

    @property
    def std(self) -> float | None:
        """Sample deviation of the runs' means, or of the networks of a single run; None for one network."""
        several = [statistics.fmean(seed) for seed in self.seeds] if len(self.seeds) > 1 else self.seeds[0]
        return statistics.stdev(several) if len(several) > 1 else None

    @property
    def networks(self) -> int:
        """How many networks were trained."""
        return sum(map(len, self.seeds))


@dataclass(frozen=True, kw_only=True)
class Points:
    """What may stand in one figure: judged alike, on the same data."""

    data: str
    """Name of the data that was distilled."""
    judged_on: str
    """Name of the data whose test images judged, where it is another; else empty."""
    protocol: str
    """Its name, and whether labels were soft."""
    points: tuple[Point, ...]
    """In the order of the page."""

    @property
    def title(self) -> str:
        """Data and protocol in one line."""
        return f"{self.data}{f', judged on {self.judged_on}' if self.judged_on else ''}, protocol {self.protocol}"


def reached(entries: Sequence[Entry], by_network: bool = False) -> list[Points]:
    """All evaluations of runs, those alike together.

    Args:
        entries: the runs; those that were not judged are left out.
        by_network: one point for each architecture of a protocol, in place of their mean.
    """
    figures: dict[str, dict[tuple[str, int, str], dict[int, list[dict[str, Any]]]]] = {}
    for place, entry in enumerate(entries):
        for evaluation in entry.run.evaluations:
            teacher = (evaluation.get("labels") or {}).get("teacher")
            same = [entry.distilled.spec.digest, evaluation.get("data"), evaluation["protocol"], teacher]
            figure = figures.setdefault(json.dumps(same, sort_keys=True), {})
            for network in {entry["network"]: None for entry in evaluation["networks"]} if by_network else ("",):
                runs = figure.setdefault((entry.label, entry.distilled.ipc, network), {})
                runs.setdefault(place, []).append(evaluation)
    return [_figure(entries, lines) for lines in figures.values()]


def _figure(entries: Sequence[Entry], lines: dict[tuple[str, int, str], dict[int, list[dict[str, Any]]]]) -> Points:
    points = []
    for (_, _, network), runs in lines.items():
        places = list(runs)
        records = [entries[place].run.record for place in places]
        known = [record["seconds"] for record in records if "seconds" in record]
        judged = runs[places[0]][0]
        points.append(
            Point(
                entry=entries[places[0]],
                network=network,
                bytes=entries[places[0]].distilled.bytes + judged.get("bytes_labels", 0),
                seconds=statistics.fmean(known) if known else None,
                seeds=tuple(tuple(_of_networks(evaluations, network, "accuracies")) for evaluations in runs.values()),
                details=tuple(_of_networks([one for same in runs.values() for one in same], network, "details")),
            )
        )
    entry, judged = points[0].entry, next(iter(next(iter(lines.values())).values()))[0]
    return Points(
        data=entry.distilled.spec.name,
        judged_on=judged.get("data", ""),
        protocol=judged["protocol"]["name"] + (", soft labels" if judged.get("labels") else ""),
        points=tuple(points),
    )


def _of_networks(evaluations: Sequence[dict[str, Any]], network: str, name: str) -> list[Any]:
    """What stands under a name for each network, of one architecture or of all."""
    return [
        value
        for evaluation in evaluations
        for entry in evaluation["networks"]
        if network in ("", entry["network"])
        for value in entry.get(name, ())
    ]
