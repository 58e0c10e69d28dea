"""Accuracy over the number of classes seen, when classes come in steps: what it was, drawn and as a table."""

from __future__ import annotations

import functools
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from limbeck.core.plain import encode
from limbeck.evaluation.protocol import Protocol
from limbeck.reports.canvas import Format, accuracy_line, canvas, plain, written
from limbeck.reports.curves import limited, named
from limbeck.reports.entries import Figure
from limbeck.reports.figures import method_colours
from limbeck.reports.plain_table import Cell, Column, PlainTable
from limbeck.reports.tables import human_seconds, listing, percent

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["LearningCurve", "Stage", "Stages", "continual_section", "continual_table", "learning_curves"]


@dataclass(frozen=True)
class Stage:
    """What networks reach that are trained on everything kept so far, judged on all classes seen so far.

    Args:
        classes: how many classes have been seen.
        accuracies: test accuracies in [0, 1] of the networks, one tuple for each order of the classes.
        bytes: what the sets of these classes take, images and labels.
        seconds: of distilling the newest classes, mean over the orders.
    """

    classes: int
    accuracies: tuple[tuple[float, ...], ...]
    bytes: int
    seconds: float

    @property
    def every(self) -> list[float]:
        """Accuracies of all networks of all orders."""
        return [value for order in self.accuracies for value in order]

    @property
    def mean(self) -> float:
        """Mean over all networks of all orders."""
        return statistics.fmean(self.every)

    @property
    def std(self) -> float:
        """Sample standard deviation over all networks of all orders, as in DM's paper; 0 for one."""
        return statistics.stdev(self.every) if len(self.every) > 1 else 0.0


@dataclass(frozen=True)
class LearningCurve:
    """One method over all steps.

    Args:
        method: its name; ``full`` for all real images of the classes seen, which nobody could keep.
        stages: one after each step.
    """

    method: str
    stages: tuple[Stage, ...]

    @property
    def average(self) -> float:
        """Mean over the steps of the mean accuracy (average incremental accuracy)."""
        return statistics.fmean(stage.mean for stage in self.stages)


@dataclass(frozen=True)
class Stages:
    """Result of continual learning.

    Args:
        data: name of the data set.
        protocol: how networks were trained on what was kept.
        ipc: stored images of each class.
        orders: names of the classes in the order in which they came, step by step, for each order.
        curves: one per method.
    """

    data: str
    protocol: Protocol
    ipc: int
    orders: tuple[tuple[tuple[str, ...], ...], ...]
    curves: tuple[LearningCurve, ...]

    def as_plain(self) -> dict[str, Any]:
        """The same as plain data, with means and deviations."""
        return {
            "data": self.data,
            "protocol": encode(self.protocol),
            "ipc": self.ipc,
            "orders": [[list(step) for step in order] for order in self.orders],
            "methods": [
                {
                    "method": curve.method,
                    "average": curve.average,
                    "stages": [{**vars(stage), "mean": stage.mean, "std": stage.std} for stage in curve.stages],
                }
                for curve in self.curves
            ],
        }


def continual_table(found: Stages) -> Table:
    """Accuracy in percent after each step, and the mean over the steps.

    Args:
        found: what came out.
    """
    table = _table(found, method_colours(curve.method for curve in found.curves))
    rows = [[cell.text for cell in row] for row in table.rows]
    return listing([column.name for column in table.columns], rows, table.caption)


def continual_section(found: Stages | None, colours: Mapping[str, str]) -> dict[str, Any] | None:
    """The curve over the classes seen, the table, and in which order the classes came; None for nothing.

    Args:
        found: what came out, if classes came in steps.
        colours: by method.
    """
    if found is None:
        return None
    spoken = "; ".join(
        f"{curve.method} {', '.join(f'{100 * stage.mean:.1f} with {stage.classes}' for stage in curve.stages)}"
        for curve in found.curves
    )
    return {
        "figure": Figure(
            f"Test accuracy in percent against the number of classes seen: {spoken}.",
            functools.partial(learning_curves, found.curves, colours),
            name="continual",
        ),
        "table": _table(found, colours),
        "orders": [" | ".join(", ".join(step) for step in order) for order in found.orders],
    }


def _table(found: Stages, colours: Mapping[str, str]) -> PlainTable:
    orders = len(found.orders)
    stages = [
        Column(f"{stage.classes} classes", exact=(f"accuracy_{stage.classes}", f"accuracy_std_{stage.classes}"))
        for stage in found.curves[0].stages
    ]
    columns = [Column("method", "head"), *stages, Column("average", exact=("average",)), Column("distil")]
    rows: list[list[Cell | str | int]] = []
    for curve in found.curves:
        spent = sum(stage.seconds for stage in curve.stages)
        reached = [
            Cell(percent(stage.mean, stage.std, len(stage.every)), exact=(stage.mean, stage.std))
            for stage in curve.stages
        ]
        average = Cell(f"{100 * curve.average:.1f}", exact=(curve.average,))
        name = Cell(curve.method, colour=colours[curve.method])
        rows.append([name, *reached, average, human_seconds(spent) if spent else "–"])
    caption = (
        f"{found.data}, {found.ipc} images per class, protocol {found.protocol.name}, {orders} "
        f"order{'' if orders == 1 else 's'} of the classes"
    )
    return PlainTable("continual", caption, columns, rows)


def learning_curves(
    curves: Sequence[LearningCurve],
    colours: Mapping[str, str] | None = None,
    width: int = 960,
    form: Format = "svg",
) -> bytes:
    """Mean test accuracy in percent on all classes seen against their number, one line per method.

    Whiskers are one standard deviation over all networks of all orders to each side.

    Args:
        curves: at least one.
        colours: by method; `method_colours` by default.
        width: of the picture in CSS pixels.
        form: ``svg`` or ``png``.

    Raises:
        ValueError: there are no curves.
    """
    colours, legend = named((curve.method for curve in curves), colours)
    figure, (axis,) = canvas(1, width, 320, legend, below=58)
    for index, curve in enumerate(curves):
        across = [stage.classes for stage in curve.stages]
        reached = [(stage.mean, stage.std) for stage in curve.stages]
        accuracy_line(axis, across, reached, colours[curve.method], (index, len(curves)))
    stages = [stage for curve in curves for stage in curve.stages]
    limited(axis, [stage.classes for stage in stages], [(stage.mean, stage.std) for stage in stages], whole=True)
    axis.set_xticks([stage.classes for stage in curves[0].stages])
    axis.set_xlabel("classes seen")
    axis.set_ylabel("test accuracy, %")
    plain(axis)
    return written(figure, form)
