"""How accuracy grew: curves over inner steps and over seconds, from the judged snapshots of runs."""

from __future__ import annotations

import functools
import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from limbeck.reports.canvas import INK, PHONE, POINTS, Format, accuracy_line, canvas, images_per_class, plain, written
from limbeck.reports.curves import MeanAccuracy, accuracy_cell, judged_on, limited, named, over_seeds, protocol_of
from limbeck.reports.entries import Entry, Figure, numbered
from limbeck.reports.plain_table import Cell, Column, PlainTable
from limbeck.reports.runs import Run
from limbeck.reports.tables import human_seconds

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Growth", "GrowthPoint", "accuracy_curves", "growth_section", "growths"]

Over = Literal["step", "seconds"]


@dataclass(frozen=True, kw_only=True)
class GrowthPoint(MeanAccuracy):
    """Accuracy at one step, over the seeds of a method."""

    step: int
    """Inner steps done."""
    seconds: float
    """Seconds of distilling until then, mean over seeds."""


@dataclass(frozen=True)
class Growth:
    """How accuracy grew with one method at one IPC under one protocol.

    Args:
        label: what the method is called.
        ipc: stored images per class.
        data: what was distilled, and on what it was judged if that is something else.
        protocol: name of the protocol, and whether labels were soft.
        runs: how many runs were made; one per seed.
        points: by step; the last is the end of the run.
    """

    label: str
    ipc: int
    data: str
    protocol: str
    runs: int
    points: tuple[GrowthPoint, ...]


def growths(runs: Sequence[Run], labels: Sequence[str]) -> list[list[Growth]]:
    """The curves of runs, one list for each data set, protocol and teacher: what may stand in one figure.

    Args:
        runs: finished runs; those without judged snapshots are left out.
        labels: the method of each; runs with equal labels, IPC and steps are seeds of one curve.
    """
    figures: dict[str, dict[tuple[str, int, tuple[int, ...]], dict[int, list[dict[str, Any]]]]] = {}
    for index, (run, label) in enumerate(zip(runs, labels, strict=True)):
        for curve in run.curves:
            same = [run.distilled.spec.digest, curve.get("data"), curve["protocol"], curve.get("labels")]
            figure = json.dumps(same, sort_keys=True)
            steps = tuple(point["step"] for point in curve["points"])
            seeds = figures.setdefault(figure, {}).setdefault((label, run.distilled.ipc, steps), {})
            seeds.setdefault(index, []).append(curve)
    return [
        [_growth(label, runs[next(iter(seeds))], list(seeds.values())) for (label, _, _), seeds in lines.items()]
        for lines in figures.values()
    ]


def accuracy_curves(
    curves: Sequence[Growth],
    colours: Mapping[str, str] | None = None,
    width: int = 960,
    form: Format = "svg",
) -> bytes:
    """Mean test accuracy in percent against inner step and against seconds of distilling, one line per method.

    Whiskers are one standard deviation (`GrowthPoint.std`) to each side. The two axes stand beside each other, one
    pair per IPC; on phones all stand below each other.

    Args:
        curves: of one data set and protocol, at least one.
        colours: by method; `limbeck.reports.figures.method_colours` by default.
        width: of the picture in CSS pixels.
        form: ``svg`` or ``png``.

    Raises:
        ValueError: there are no curves.
    """
    colours, legend = named((curve.label for curve in curves), colours)
    panels: list[tuple[int, Over]] = [
        (ipc, over) for ipc in sorted({curve.ipc for curve in curves}) for over in ("step", "seconds")
    ]
    across = 2 if width >= PHONE else 1
    figure, axes = canvas(len(panels) // across, width, 250, legend, below=58, across=across, titles=24)
    for place, (axis, (ipc, over)) in enumerate(zip(axes, panels, strict=True)):
        shown = [curve for curve in curves if curve.ipc == ipc]
        for index, curve in enumerate(shown):
            places = [getattr(point, over) for point in curve.points]
            beside = (index, len(shown)) if over == "step" else (0, 1)
            reached = [(point.mean, point.std) for point in curve.points]
            accuracy_line(axis, places, reached, colours[curve.label], beside)
        axis.set_title(images_per_class(ipc), loc="left", fontsize=POINTS, color=INK, pad=7)
        axis.set_xlabel("inner step" if over == "step" else "seconds of distilling")
        if place % across == 0:
            axis.set_ylabel("test accuracy, %")
        _limit(axis, shown, over)
        plain(axis)
    return written(figure, form)


def growth_section(entries: Sequence[Entry], colours: Mapping[str, str]) -> list[dict[str, Any]] | None:
    """One figure and table per data set and protocol, of runs whose snapshots were judged; None for none."""
    figures = []
    found = growths([entry.run for entry in entries], [entry.label for entry in entries])
    for place, curves in enumerate(found):
        name = numbered("growth", place, len(found))
        title = f"{curves[0].data}, protocol {curves[0].protocol}"
        spoken = "; ".join(map(_spoken, curves))
        figure = Figure(
            f"Test accuracy in percent against inner step and against seconds of distilling: {title}. {spoken}.",
            functools.partial(accuracy_curves, curves, colours),
            name=name,
        )
        columns = [
            Column("IPC"),
            Column("Method", "head"),
            Column("Result, %", exact=("accuracy", "accuracy_std")),
            Column("Initial images, %", exact=("initial_accuracy", "initial_accuracy_std")),
            Column("Inner steps", exact=("inner_steps",)),
            Column("Distil", exact=("distil_seconds",)),
            Column("Runs"),
        ]
        rows: list[list[Cell | str | int]] = [
            [
                curve.ipc,
                Cell(curve.label, colour=colours[curve.label]),
                accuracy_cell(curve.points[-1]),
                accuracy_cell(curve.points[0]),
                Cell(f"{curve.points[-1].step:,}", exact=(curve.points[-1].step,)),
                Cell(human_seconds(curve.points[-1].seconds), exact=(curve.points[-1].seconds,)),
                curve.runs,
            ]
            for curve in curves
        ]
        table = PlainTable(name, f"Accuracy of the initial images and of the result: {title}.", columns, rows)
        figures.append({"name": title if len(found) > 1 else "", "table": table, "figure": figure})
    return figures or None


def _spoken(curve: Growth) -> str:
    reached = ", ".join(f"{100 * point.mean:.1f} at step {point.step:,}" for point in curve.points)
    return f"{curve.label}, IPC {curve.ipc}: {reached} ({human_seconds(curve.points[-1].seconds)})"


def _growth(label: str, run: Run, seeds: Sequence[Sequence[dict[str, Any]]]) -> Growth:
    """One curve; each seed may have been judged several times, by networks of other seeds."""
    judged = seeds[0][0]
    return Growth(
        label=label,
        ipc=run.distilled.ipc,
        data=judged_on(run, judged),
        protocol=protocol_of(judged),
        runs=len(seeds),
        points=tuple(
            _point([[curve["points"][index] for curve in curves] for curves in seeds])
            for index in range(len(judged["points"]))
        ),
    )


def _point(seeds: Sequence[Sequence[dict[str, Any]]]) -> GrowthPoint:
    """One point, seed by seed as it was judged."""
    seconds = statistics.fmean(points[0]["seconds"] for points in seeds)
    return GrowthPoint(step=seeds[0][0]["step"], seconds=seconds, **over_seeds(seeds))


def _limit(axis: Axes, shown: Sequence[Growth], over: Over) -> None:
    """The axis across begins at zero."""
    points = [point for curve in shown for point in curve.points]
    across, accuracies = [getattr(point, over) for point in points], [(point.mean, point.std) for point in points]
    limited(axis, across, accuracies, whole=over == "step")
