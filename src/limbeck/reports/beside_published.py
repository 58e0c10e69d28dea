"""Section of a page: what sets reached here, beside what papers print for the same method, data and IPC."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from limbeck.core.recipe import Recipe
from limbeck.reports.canvas import GRID, INK, POINTS, Format, canvas, literal, plain, written
from limbeck.reports.entries import Entry, Figure
from limbeck.reports.figures import method_colours
from limbeck.reports.plain_table import Cell, Column, PlainTable
from limbeck.reports.points import Point, reached
from limbeck.reports.published import Published, network_family, published
from limbeck.reports.tables import percent

__all__ = ["Pair", "pairs", "published_dots", "published_section"]

_LINE = 44
"""CSS pixels of one line of the figure."""


@dataclass(frozen=True)
class Pair:
    """What was reached here and in a paper.

    Args:
        ours: by one architecture.
        protocol: by which it was judged here.
        printed: of the same method, data and IPC, by a network of the same family.
    """

    ours: Point
    protocol: str
    printed: Published

    @property
    def title(self) -> str:
        """Method, data, IPC and network in one line."""
        distilled = self.ours.entry.distilled
        return f"{self.ours.entry.label}, {distilled.spec.name}, IPC {distilled.ipc}, {self.ours.network}"


def pairs(entries: Sequence[Entry]) -> list[Pair]:
    """Everything that was judged on data of its own, with the figures of papers that belong to it."""
    return [
        Pair(point, figure.protocol, printed)
        for figure in reached(entries, by_network=True)
        if not figure.judged_on
        for point in figure.points
        for printed in published(_name(point.entry.distilled.recipe), figure.data, point.entry.distilled.ipc)
        if printed.network == network_family(point.network)
    ]


def published_section(entries: Sequence[Entry], colours: Mapping[str, str]) -> dict[str, Any] | None:
    """A figure and a table; None where no paper tells of any of the sets."""
    found = pairs(entries)
    if not found:
        return None
    spoken = "; ".join(f"{pair.title}: {_ours(pair)} here, {_theirs(pair)} published" for pair in found)
    columns = [
        Column("IPC"),
        Column("Method", "head"),
        Column("Data", "name"),
        Column("Here, %", exact=("accuracy", "accuracy_std")),
        Column("Published, %", exact=("published_accuracy", "published_std")),
        Column("Network here", "name"),
        Column("Protocol here", "name"),
        Column("Published in", "text"),
        Column("Remark", "text"),
    ]
    rows: list[list[Cell | str | int]] = [
        [
            pair.ours.entry.distilled.ipc,
            Cell(pair.ours.entry.label, colour=colours[pair.ours.entry.label]),
            pair.ours.entry.distilled.spec.name,
            Cell(_ours(pair), exact=(pair.ours.mean, pair.ours.std)),
            Cell(_theirs(pair), exact=(pair.printed.accuracy, pair.printed.std)),
            pair.ours.network,
            pair.protocol,
            pair.printed.source,
            pair.printed.note or "–",
        ]
        for pair in found
    ]
    return {
        "figure": Figure(
            f"Test accuracy in percent here and as published under other protocols. {spoken}.",
            functools.partial(published_dots, found, colours),
            name="published",
        ),
        "table": PlainTable("published", "Accuracies here beside published ones.", columns, rows),
    }


def published_dots(
    found: Sequence[Pair], colours: Mapping[str, str] | None = None, width: int = 960, form: Format = "svg"
) -> bytes:
    """Accuracy here as a dot and the published one as a hollow diamond, a line for each set and architecture.

    Whiskers are one standard deviation to each side, where there is one.

    Args:
        found: of `pairs`, at least one.
        colours: by method; `method_colours` by default.
        width: of the picture in CSS pixels.
        form: ``svg`` or ``png``.

    Raises:
        ValueError: there are no pairs.
    """
    if not found:
        raise ValueError("there are no published values to draw")
    colours = {**method_colours(pair.ours.entry.label for pair in found), **(colours or {})}
    legend = [_mark("here", "o", INK, INK), _mark("published, other protocol", "D", INK, "white")]
    figure, (axis,) = canvas(1, width, _LINE * len(found) + 10, legend, below=46)
    for line, pair in enumerate(found):
        colour = colours[pair.ours.entry.label]
        _dot(axis, line + 0.02, pair.ours.mean, pair.ours.std, "o", colour, colour)
        _dot(axis, line + 0.24, pair.printed.accuracy, pair.printed.std, "D", colour, "white")
        axis.text(
            0.0,
            line - 0.28,
            literal(pair.title),
            transform=axis.get_yaxis_transform(),
            fontsize=POINTS - 1.5,
            color=INK,
            va="center",
        )
    axis.set_ylim(len(found) - 0.5, -0.5)
    axis.set_yticks([])
    axis.set_xlabel("test accuracy, %")
    plain(axis)
    axis.grid(True, axis="x", color=GRID, linewidth=0.8)
    return written(figure, form)


def _dot(axis: Any, line: float, mean: float, std: float | None, marker: str, colour: str, face: str) -> None:
    axis.errorbar(
        100 * mean,
        line,
        xerr=None if std is None else 100 * std,
        fmt=marker,
        color=colour,
        markerfacecolor=face,
        markersize=6,
        elinewidth=1.1,
        capsize=2.5,
        zorder=3,
    )


def _mark(name: str, marker: str, colour: str, face: str) -> Any:
    from matplotlib.lines import Line2D

    return Line2D([], [], linestyle="none", marker=marker, color=colour, markerfacecolor=face, markersize=6, label=name)


def _name(recipe: Recipe) -> str:
    """What papers call the method: IDC with one training image in each stored one is IDC-I."""
    return "idc-i" if recipe.name == "idc" and recipe.parametrization.parts(1) == 1 else recipe.name


def _ours(pair: Pair) -> str:
    return percent(pair.ours.mean, pair.ours.std or 0.0, pair.ours.networks)


def _theirs(pair: Pair) -> str:
    return percent(pair.printed.accuracy, pair.printed.std or 0.0, 1 if pair.printed.std is None else 2)
