"""Section of a page: accuracy against the bytes of a set and against the seconds that it took to distil."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from limbeck.reports.canvas import GRID, PHONE, Format, canvas, legend_line, plain, written
from limbeck.reports.entries import Entry, Figure, numbered
from limbeck.reports.figures import method_colours
from limbeck.reports.points import Point, reached
from limbeck.reports.tables import human_bytes, human_seconds, percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["tradeoff_curves", "tradeoff_section"]

Over = Literal["bytes", "seconds"]
_LABELS: dict[Over, str] = {"bytes": "bytes of images and labels", "seconds": "seconds of distilling"}


def tradeoff_section(entries: Sequence[Entry], colours: Mapping[str, str]) -> list[dict[str, Any]] | None:
    """One figure for all sets that were judged alike, where there are at least two; None for none."""
    found = [figure for figure in reached(entries) if len(figure.points) > 1]
    return [
        {
            "name": figure.title if len(found) > 1 else "",
            "figure": Figure(
                f"Test accuracy in percent against bytes and against seconds of distilling: {figure.title}. "
                + "; ".join(map(_spoken, figure.points))
                + ".",
                functools.partial(tradeoff_curves, figure.points, colours),
                name=numbered("tradeoff", place, len(found)),
            ),
        }
        for place, figure in enumerate(found)
    ] or None


def tradeoff_curves(
    points: Sequence[Point], colours: Mapping[str, str] | None = None, width: int = 960, form: Format = "svg"
) -> bytes:
    """Mean test accuracy in percent against bytes and against seconds, a line through the IPCs of each method.

    Whiskers are one standard deviation (`Point.std`) to each side. An axis across is logarithmic when its largest value
    is more than 5 times the smallest. Points without a known time stand on the left alone.

    Args:
        points: judged alike, at least one.
        colours: by method; `method_colours` by default.
        width: of the picture in CSS pixels.
        form: ``svg`` or ``png``.

    Raises:
        ValueError: there are no points.
    """
    if not points:
        raise ValueError("there are no points to draw")
    labels = list(dict.fromkeys(point.entry.label for point in points))
    colours = {**method_colours(labels), **(colours or {})}
    panels: tuple[Over, ...] = ("bytes", "seconds") if any(point.seconds for point in points) else ("bytes",)
    across = len(panels) if width >= PHONE else 1
    legend = [legend_line(label, colours[label]) for label in labels]
    figure, axes = canvas(len(panels) // across, width, 250, legend, below=58, across=across)
    for place, (axis, over) in enumerate(zip(axes, panels, strict=True)):
        for label in labels:
            _draw(axis, [point for point in points if point.entry.label == label], over, colours[label])
        values = [value for point in points if (value := getattr(point, over))]
        if max(values) > 5 * min(values):
            axis.set_xscale("log")
            axis.grid(True, axis="x", color=GRID, linewidth=0.6)
        axis.margins(0.06)
        axis.set_xlabel(_LABELS[over])
        if place % across == 0:
            axis.set_ylabel("test accuracy, %")
        plain(axis)
    return written(figure, form)


def _draw(axis: Axes, points: Sequence[Point], over: Over, colour: str) -> None:
    known = sorted((point for point in points if getattr(point, over)), key=lambda point: getattr(point, over))
    across = [getattr(point, over) for point in known]
    means = [100 * point.mean for point in known]
    deviations = [100 * (point.std or 0.0) for point in known]
    axis.errorbar(
        across,
        means,
        yerr=deviations if any(deviations) else None,
        color=colour,
        linewidth=1.3,
        elinewidth=1.0,
        capsize=2.5,
        capthick=1.0,
        marker="o",
        markersize=5,
        zorder=3,
    )


def _spoken(point: Point) -> str:
    seconds = "" if point.seconds is None else f", {human_seconds(point.seconds)}"
    accuracy = percent(point.mean, point.std or 0.0, point.networks)
    return f"{point.entry.label}, IPC {point.entry.distilled.ipc}: {accuracy}, {human_bytes(point.bytes)}{seconds}"
