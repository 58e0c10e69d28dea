"""Accuracy over images per class from one run: the judged prefixes of sets that were learnt segment by segment."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from limbeck.reports.canvas import Format, accuracy_line, canvas, plain, written
from limbeck.reports.curves import MeanAccuracy, accuracy_cell, judged_on, limited, named, over_seeds, protocol_of
from limbeck.reports.entries import Entry, Figure, numbered
from limbeck.reports.plain_table import Cell, Column, PlainTable
from limbeck.reports.runs import Run
from limbeck.reports.tables import human_bytes

__all__ = ["PrefixPoint", "Prefixes", "prefix_curves", "prefixes", "prefixes_section"]


@dataclass(frozen=True, kw_only=True)
class PrefixPoint(MeanAccuracy):
    """Accuracy of a prefix, over the seeds of a method."""

    ipc: int
    """Its stored images per class."""
    bytes: int
    """Bytes of its stored pixels."""


@dataclass(frozen=True)
class Prefixes:
    """Accuracy of every prefix of the sets of one method under one protocol.

    Args:
        label: what the method is called.
        data: what was distilled, and on what it was judged if that is something else.
        protocol: name of the protocol, and whether labels were soft.
        runs: how many runs were made; one per seed.
        points: by images per class; the last is the whole set.
    """

    label: str
    data: str
    protocol: str
    runs: int
    points: tuple[PrefixPoint, ...]


def prefixes(runs: Sequence[Run], labels: Sequence[str]) -> list[list[Prefixes]]:
    """The curves of runs, one list for each data set, protocol and teacher: what may stand in one figure.

    Args:
        runs: finished runs; those whose prefixes have not been judged are left out.
        labels: the method of each; runs with equal labels and segments are seeds of one curve.
    """
    figures: dict[str, dict[tuple[Any, ...], dict[int, list[dict[str, Any]]]]] = {}
    for index, (run, label) in enumerate(zip(runs, labels, strict=True)):
        for judged in run.prefixes:
            same = [run.distilled.spec.digest, judged.get("data"), judged["protocol"], judged.get("labels")]
            line = (label, *(point["ipc"] for point in judged["points"]))
            seeds = figures.setdefault(json.dumps(same, sort_keys=True), {}).setdefault(line, {})
            seeds.setdefault(index, []).append(judged)
    return [
        [_curve(line[0], runs[next(iter(seeds))], list(seeds.values())) for line, seeds in lines.items()]
        for lines in figures.values()
    ]


def _curve(label: str, run: Run, seeds: Sequence[Sequence[dict[str, Any]]]) -> Prefixes:
    """One curve; each seed may have been judged several times, by networks of other seeds."""
    first = seeds[0][0]
    points = []
    for place, point in enumerate(first["points"]):
        figures = over_seeds([[judged["points"][place] for judged in of_seed] for of_seed in seeds])
        points.append(PrefixPoint(ipc=point["ipc"], bytes=point["bytes"], **figures))
    return Prefixes(label, judged_on(run, first), protocol_of(first), len(seeds), tuple(points))


def prefix_curves(
    curves: Sequence[Prefixes], colours: Mapping[str, str] | None = None, width: int = 960, form: Format = "svg"
) -> bytes:
    """Mean test accuracy in percent against stored images per class, one line per method.

    Whiskers are one standard deviation (`PrefixPoint.std`) to each side.

    Args:
        curves: of one data set and protocol, at least one.
        colours: by method; `limbeck.reports.figures.method_colours` by default.
        width: of the picture in CSS pixels.
        form: ``svg`` or ``png``.

    Raises:
        ValueError: there are no curves.
    """
    colours, legend = named((curve.label for curve in curves), colours)
    figure, (axis,) = canvas(1, width, 280, legend, below=58)
    for index, curve in enumerate(curves):
        accuracies = [(point.mean, point.std) for point in curve.points]
        places = [point.ipc for point in curve.points]
        accuracy_line(axis, places, accuracies, colours[curve.label], (index, len(curves)))
    axis.set_xlabel("stored images per class")
    axis.set_ylabel("test accuracy, %")
    points = [point for curve in curves for point in curve.points]
    limited(axis, [point.ipc for point in points], [(point.mean, point.std) for point in points], whole=True)
    plain(axis)
    return written(figure, form)


def prefixes_section(entries: Sequence[Entry], colours: Mapping[str, str]) -> list[dict[str, Any]] | None:
    """One figure and table per data set and protocol, of runs whose prefixes were judged; None for none."""
    found = prefixes([entry.run for entry in entries], [entry.label for entry in entries])
    figures = []
    for place, curves in enumerate(found):
        name = numbered("prefixes", place, len(found))
        title = f"{curves[0].data}, protocol {curves[0].protocol}"
        spoken = "; ".join(
            f"{curve.label}: " + ", ".join(f"{100 * point.mean:.1f} at IPC {point.ipc}" for point in curve.points)
            for curve in curves
        )
        figure = Figure(
            f"Test accuracy in percent against stored images per class: {title}. {spoken}.",
            functools.partial(prefix_curves, curves, colours),
            name=name,
        )
        columns = [
            Column("Method", "head"),
            Column("IPC"),
            Column("Accuracy, %", exact=("accuracy", "accuracy_std")),
            Column("Networks"),
            Column("Size", exact=("bytes",)),
            Column("Runs"),
        ]
        rows: list[list[Cell | str | int]] = [
            [
                Cell(curve.label, colour=colours[curve.label]),
                point.ipc,
                accuracy_cell(point),
                point.networks,
                Cell(human_bytes(point.bytes), exact=(point.bytes,)),
                curve.runs,
            ]
            for curve in curves
            for point in curve.points
        ]
        table = PlainTable(name, f"Accuracy of every prefix: {title}.", columns, rows)
        figures.append({"name": title if len(found) > 1 else "", "table": table, "figure": figure})
    return figures or None
