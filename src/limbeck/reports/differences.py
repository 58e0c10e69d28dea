"""By how much methods beat random images and the best coreset, seed by seed: a table, and a section of a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from limbeck.reports.comparison import Comparison, Difference, Row, differences
from limbeck.reports.plain_table import Cell, Column, PlainTable
from limbeck.reports.tables import listing

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["certainty", "difference_table", "differences_section", "points"]


def difference_table(comparison: Comparison) -> Table | None:
    """Differences with confidence intervals for the terminal; None where there is no coreset to beat.

    Args:
        comparison: what `limbeck.reports.compare.compare` returned.
    """
    found = [
        (row.ipc, row.method, row.label_kind, points(random), points(best), best.other.method if best else "")
        for row, (random, best) in zip(comparison.rows, differences(comparison.rows), strict=True)
        if random or best
    ]
    title = f"differences in percentage points, paired by seed; {certainty(comparison.rows)}"
    columns = ("IPC", "method", "labels", "to random", "to the best coreset", "which is")
    return listing(columns, found, title) if found else None


def differences_section(rows: Sequence[Row], colours: Mapping[str, str]) -> dict[str, Any] | None:
    """Differences with confidence intervals; None where there is no coreset to beat.

    Args:
        rows: of a comparison, as they are called.
        colours: by method.
    """
    columns = [
        Column("IPC"),
        Column("Method", "head"),
        Column("To random", exact=_exact("to_random")),
        Column("To the best coreset", exact=_exact("to_best")),
        Column("Best coreset", "name"),
    ]
    cells: list[list[Cell | str | int]] = [
        [
            row.ipc,
            Cell(row.method, colour=colours[row.method]),
            _cell(to_random),
            _cell(to_best),
            to_best.other.method if to_best is not None else "–",
        ]
        for row, (to_random, to_best) in zip(rows, differences(rows), strict=True)
        if to_random or to_best
    ]
    caption = f"Differences of test accuracy in percentage points; {certainty(rows)}."
    return (
        {"table": PlainTable("differences", caption, columns, cells), "certainty": certainty(rows)} if cells else None
    )


def _exact(name: str) -> tuple[str, ...]:
    return (name, f"{name}_low", f"{name}_high")


def _cell(difference: Difference | None) -> Cell:
    if difference is None:
        return Cell(points(None))
    found = difference.interval
    return Cell(points(difference), exact=(found.mean, found.low, found.high))


def points(difference: Difference | None) -> str:
    """A difference in percentage points with its interval, where it has one: ``+3.1 [1.2, 5.0]``; a dash for none."""
    if difference is None:
        return "–"
    found = difference.interval
    if found.low is None or found.high is None:
        return f"{100 * found.mean:+.1f}"
    return f"{100 * found.mean:+.1f} [{100 * found.low:.1f}, {100 * found.high:.1f}]"


def certainty(rows: Sequence[Row]) -> str:
    """What stands in brackets behind a difference."""
    seeds = max((len(row.seeds) for row in rows), default=0)
    if seeds < 2:
        return "one seed, so no confidence interval"
    return f"in brackets the 95 % confidence interval (Student's t over {seeds} seeds)"
