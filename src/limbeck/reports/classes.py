"""Section of a page: accuracy class by class, what is taken for what, and how sure the networks are."""

from __future__ import annotations

import functools
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from limbeck.reports.canvas import INK, PHONE, POINTS, Format, canvas, literal, written
from limbeck.reports.entries import Entry, Figure, numbered
from limbeck.reports.plain_table import Cell, Column, PlainTable
from limbeck.reports.points import Point, Points, reached
from limbeck.reports.tables import percent, spread

__all__ = ["classes_section", "confusion_map"]

MOST_CLASSES = 20
"""Of a confusion that is drawn."""
_NUMBERED = 10
"""Most classes at which every field has its number."""


def classes_section(entries: Sequence[Entry], colours: Mapping[str, str]) -> list[dict[str, Any]] | None:
    """Tables and confusions of all sets that were judged alike; None where no evaluation kept details."""
    found = [
        (figure, points)
        for figure in reached(entries)
        if (points := [point for point in figure.points if point.details])
    ]
    return [
        {
            "name": figure.title if len(found) > 1 else "",
            "classes": _accuracies(figure, points, numbered("classes", place, len(found))),
            "calibration": _calibration(figure, points, colours, numbered("calibration", place, len(found))),
            "confusions": [
                {
                    "title": _title(point),
                    "figure": _confusion(point, f"{numbered('confusion', place, len(found))}-{of}"),
                }
                for of, point in enumerate(points, 1)
                if point.entry.distilled.spec.classes <= MOST_CLASSES
            ],
        }
        for place, (figure, points) in enumerate(found)
    ] or None


def confusion_map(
    confusion: Sequence[Sequence[int]], names: Sequence[str], width: int = 960, form: Format = "svg"
) -> bytes:
    """Shares of the images of each class (line) by what they are taken for (column), darker for more.

    Args:
        confusion: counts, ``[K][K]``.
        names: of the classes.
        width: of the picture in CSS pixels; the map takes at most 520 of them.
        form: ``svg`` or ``png``.
    """
    shares = [[100 * count / max(1, sum(row)) for count in row] for row in confusion]
    shown = [literal(name if len(name) <= 12 else f"{name[:11]}…") for name in names]
    side = min(width, 600)
    figure, (axis,) = canvas(1, side, side - 110, [], below=48 + round(6.5 * max(map(len, shown))), titles=8)
    axis.imshow(shares, cmap="Blues", vmin=0, vmax=100, aspect="auto", interpolation="nearest")
    size = POINTS if width >= PHONE else POINTS - 2
    axis.set_xticks(range(len(shown)), shown, rotation=90, fontsize=size, color=INK)
    axis.set_yticks(range(len(shown)), shown, fontsize=size, color=INK)
    axis.tick_params(length=0)
    axis.set_xlabel("taken for", fontsize=POINTS)
    longest = max(map(len, shown))
    box = axis.get_position()
    room = min(0.22, 0.02 + longest * 6.5 / side)
    axis.set_position((room, box.y0, 0.98 - room, box.height))
    for spine in axis.spines.values():
        spine.set_visible(False)
    for line, row in enumerate(shares if len(shares) <= _NUMBERED else ()):
        for column, share in enumerate(row):
            ink = "white" if share > 55 else INK
            axis.text(column, line, f"{share:.0f}", ha="center", va="center", fontsize=size, color=ink)
    return written(figure, form)


def _accuracies(figure: Points, points: Sequence[Point], name: str) -> PlainTable:
    """A line for each class, a column for each set, means over networks; the worst class of a set is bold."""
    by_set = [list(zip(*(one["class_accuracies"] for one in point.details), strict=True)) for point in points]
    means = [[statistics.fmean(known) if (known := _known(found)) else None for found in of] for of in by_set]
    worst = [min((mean for mean in of if mean is not None), default=None) for of in means]
    rows: list[list[Cell | str | int]] = [
        [
            class_name,
            *(
                Cell(spread(_known(of[label])), mean[label] == least, exact=(mean[label],))
                for of, mean, least in zip(by_set, means, worst, strict=True)
            ),
        ]
        for label, class_name in enumerate(points[0].entry.distilled.spec.class_names)
    ]
    columns = [Column("Class", "head"), *(Column(f"{_title(point)}, %", exact=(_title(point),)) for point in points)]
    return PlainTable(name, f"Accuracy of each class: {figure.title}.", columns, rows)


def _calibration(figure: Points, points: Sequence[Point], colours: Mapping[str, str], name: str) -> PlainTable:
    """How far what networks are sure of is right, over all test images."""
    rows: list[list[Cell | str | int]] = []
    for point in points:
        errors, likelihoods, briers = (
            [one[of] for one in point.details if of in one]
            for of in ("expected_calibration_error", "negative_log_likelihood", "brier_score")
        )
        label = point.entry.label
        rows.append(
            [
                point.entry.distilled.ipc,
                Cell(label, colour=colours[label]),
                percent(point.mean, point.std or 0.0, point.networks),
                spread(errors),
                _mean(likelihoods),
                _mean(briers),
                len(point.details),
            ]
        )
    headings = ("Accuracy, %", "Calibration error, %", "Negative log-likelihood", "Brier score", "Networks")
    columns = [Column("IPC"), Column("Method", "head"), *map(Column, headings)]
    return PlainTable(name, f"Calibration: {figure.title}.", columns, rows)


def _confusion(point: Point, name: str) -> Figure:
    """Of all networks together."""
    names = point.entry.distilled.spec.class_names
    counts = [
        [sum(values) for values in zip(*rows, strict=True)]
        for rows in zip(*(one["confusion"] for one in point.details), strict=True)
    ]
    wrong = sorted(
        (
            (row[other] / max(1, sum(row)), label, other)
            for label, row in enumerate(counts)
            for other in range(len(row))
        ),
        reverse=True,
    )
    taken = [
        f"{names[label]} for {names[other]} in {100 * share:.0f} %" for share, label, other in wrong if label != other
    ]
    spoken = f"Confusion of {_title(point)}. Most often taken for another: {'; '.join(taken[:3])}."
    return Figure(spoken, functools.partial(confusion_map, counts, names), name=name)


def _title(point: Point) -> str:
    return f"{point.entry.label}, IPC {point.entry.distilled.ipc}"


def _known(values: Sequence[float | None]) -> list[float]:
    return [value for value in values if value is not None]


def _mean(values: Sequence[float]) -> str:
    if not values:
        return "–"
    mean = f"{statistics.fmean(values):.3f}"
    return f"{mean} ± {statistics.stdev(values):.3f}" if len(values) > 1 else mean
