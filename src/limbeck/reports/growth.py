"""How accuracy grew: curves over inner steps and over seconds, from the judged snapshots of runs."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from limbeck.reports.canvas import INK, PHONE, POINTS, Format, canvas, images_per_class, legend_line, plain, written
from limbeck.reports.figures import method_colours
from limbeck.reports.runs import Run

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Growth", "GrowthPoint", "accuracy_curves", "growths"]

Over = Literal["step", "seconds"]


@dataclass(frozen=True)
class GrowthPoint:
    """Accuracy at one step, over the seeds of a method.

    Args:
        step: inner steps done.
        seconds: of distilling until then, mean over seeds.
        mean: mean accuracy.
        std: sample standard deviation of the seeds' means, or of the networks when there is one seed; 0 for one.
        networks: how many networks were judged.
    """

    step: int
    seconds: float
    mean: float
    std: float
    networks: int


@dataclass(frozen=True)
class Growth:
    """How accuracy grew with one method at one IPC under one protocol.

    Args:
        label: what the method is called.
        ipc: stored images per class.
        data: what was distilled, and on what it was judged if that is something else.
        protocol: name of the protocol.
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
    """The curves of runs, one list for each data set and protocol: what may stand in one figure.

    Args:
        runs: finished runs; those without judged snapshots are left out.
        labels: the method of each; runs with equal labels, IPC and steps are seeds of one curve.
    """
    figures: dict[str, dict[tuple[str, int, tuple[int, ...]], dict[int, list[dict[str, Any]]]]] = {}
    for index, (run, label) in enumerate(zip(runs, labels, strict=True)):
        for curve in run.curves:
            figure = json.dumps([run.distilled.spec.digest, curve.get("data"), curve["protocol"]], sort_keys=True)
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

    The band is one standard deviation (`GrowthPoint.std`) to each side. The two axes stand beside each other, one
    pair per IPC; on phones all stand below each other.

    Args:
        curves: of one data set and protocol, at least one.
        colours: by method; `method_colours` by default.
        width: of the picture in CSS pixels.
        form: ``svg`` or ``png``.

    Raises:
        ValueError: there are no curves.
    """
    if not curves:
        raise ValueError("there are no curves to draw")
    colours = {**method_colours(curve.label for curve in curves), **(colours or {})}
    labels = dict.fromkeys(curve.label for curve in curves)
    panels: list[tuple[int, Over]] = [
        (ipc, over) for ipc in sorted({curve.ipc for curve in curves}) for over in ("step", "seconds")
    ]
    across = 2 if width >= PHONE else 1
    legend = [legend_line(label, colours[label]) for label in labels]
    figure, axes = canvas(len(panels) // across, width, 250, legend, below=58, across=across, titles=24)
    for place, (axis, (ipc, over)) in enumerate(zip(axes, panels, strict=True)):
        for curve in curves:
            if curve.ipc == ipc:
                _draw(axis, curve, over, colours[curve.label])
        axis.set_title(images_per_class(ipc), loc="left", fontsize=POINTS, color=INK, pad=7)
        axis.set_xlabel("inner step" if over == "step" else "seconds of distilling")
        if place % across == 0:
            axis.set_ylabel("test accuracy, %")
        _from_zero(axis, over)
        plain(axis)
    return written(figure, form)


def _growth(label: str, run: Run, seeds: Sequence[Sequence[dict[str, Any]]]) -> Growth:
    """One curve; each seed may have been judged several times, by networks of other seeds."""
    judged = seeds[0][0]
    name = run.distilled.spec.name
    return Growth(
        label=label,
        ipc=run.distilled.ipc,
        data=f"{name}, judged on {judged['data']}" if "data" in judged else name,
        protocol=judged["protocol"]["name"],
        runs=len(seeds),
        points=tuple(
            _point([[curve["points"][index] for curve in curves] for curves in seeds])
            for index in range(len(judged["points"]))
        ),
    )


def _point(seeds: Sequence[Sequence[dict[str, Any]]]) -> GrowthPoint:
    """One point, seed by seed as it was judged."""
    reached = [
        [value for point in points for network in point["networks"] for value in network["accuracies"]]
        for points in seeds
    ]
    per_seed = [statistics.fmean(values) for values in reached]
    several = per_seed if len(per_seed) > 1 else reached[0]
    return GrowthPoint(
        step=seeds[0][0]["step"],
        seconds=statistics.fmean(points[0]["seconds"] for points in seeds),
        mean=statistics.fmean(per_seed),
        std=statistics.stdev(several) if len(several) > 1 else 0.0,
        networks=sum(map(len, reached)),
    )


def _draw(axis: Axes, curve: Growth, over: Over, colour: str) -> None:
    across = [getattr(point, over) for point in curve.points]
    means = [100 * point.mean for point in curve.points]
    if any(point.std for point in curve.points):
        lower = [100 * (point.mean - point.std) for point in curve.points]
        upper = [100 * (point.mean + point.std) for point in curve.points]
        axis.fill_between(across, lower, upper, color=colour, alpha=0.14, linewidth=0, zorder=2)
    axis.plot(across, means, color=colour, linewidth=1.6, marker="o", markersize=4.2, zorder=3)


def _from_zero(axis: Axes, over: Over) -> None:
    """Both axes begin at zero, with room for the marks at the ends."""
    from matplotlib.ticker import MaxNLocator

    _, right = axis.dataLim.intervalx
    axis.set_xlim(-0.03 * right, 1.03 * right)
    axis.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=over == "step"))
