"""Matrices across architectures: distilled on one network, trained on another; a table, and a section of a page."""

from __future__ import annotations

import csv
import io
import re
import statistics
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from limbeck.reports.comparison import Comparison, Row
from limbeck.reports.plain_table import Cell, Column, PlainTable
from limbeck.reports.tables import listing, spread

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["MATRIX", "as_csv", "cells", "matrix_section", "matrix_table", "on_network"]


MATRIX = "matrix.csv"


def on_network(method: str, network: str) -> str:
    """Name of a method that distils on a network, which is good for a folder: ``dm@convnet3-width=32``."""
    return f"{method}@{re.sub('[^A-Za-z0-9_.=,-]+', '-', network)}"


def cells(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """One flat entry for each set and network that was trained on it, as lines of a CSV file have it.

    Args:
        rows: of a comparison; all real images are left out.
    """
    return [
        {
            "method": row.method.partition("@")[0],
            "ipc": row.ipc,
            "label_kind": row.label_kind,
            "distilled_on": row.distilled_on,
            "trained_on": one.network,
            "mean": statistics.fmean(one.accuracies),
            "networks": len(one.accuracies),
            "step_sizes": " ".join(f"{rate:g}" for rate in one.rates),
        }
        for row in rows
        if row.ipc
        for one in row.trained_on
    ]


def as_csv(rows: Sequence[Row]) -> str | None:
    """`cells` as the text of a CSV file; None where all sets were distilled on one network."""
    if _matrix(rows) is None:
        return None
    lines, text = cells(rows), io.StringIO()
    writer = csv.DictWriter(text, lines[0], lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return text.getvalue()


def matrix_table(comparison: Comparison) -> Table | None:
    """Test accuracy in percent by what was distilled on and what was trained; None for sets of one network.

    Args:
        comparison: what `limbeck.reports.compare.compare` returned.
    """
    found = _matrix(comparison.rows)
    if found is None:
        return None
    columns = ("IPC", "method", "labels", "distilled on", *found["trained"])
    rows = [(row["ipc"], row["method"], row["labels"], row["distilled"], *row["cells"]) for row in found["rows"]]
    return listing(columns, rows, f"accuracy, %, of networks (columns) trained on each set. {found['note']}")


def matrix_section(rows: Sequence[Row], colours: Mapping[str, str]) -> dict[str, Any] | None:
    """The same for a page.

    Args:
        rows: of a comparison, as they are called.
        colours: by method.
    """
    found = _matrix(rows)
    if found is None:
        return None
    columns = [Column("IPC"), Column("Method", "head"), Column("Distilled on", "name"), *map(Column, found["trained"])]
    table = [
        [row["ipc"], Cell(row["method"], colour=colours[row["name"]]), row["distilled"], *row["cells"]]
        for row in found["rows"]
    ]
    caption = "Test accuracy in percent of networks (columns) trained on sets distilled on networks (rows)."
    return {"table": PlainTable("matrix", caption, columns, table), "note": found["note"]}


def _matrix(rows: Sequence[Row]) -> dict[str, Any] | None:
    """Names of columns, rows, and a note on how networks were trained; None where all were distilled on one."""
    learnt = [row for row in rows if row.ipc]
    if len({row.distilled_on for row in learnt if row.distilled_on}) < 2:
        return None
    trained = list(dict.fromkeys(one.network for row in learnt for one in row.trained_on))
    rates: dict[str, dict[float, None]] = {name: {} for name in trained}
    table = []
    for row in learnt:
        reached = {one.network: one for one in row.trained_on}
        for name, one in reached.items():
            rates[name] |= dict.fromkeys(one.rates)
        table.append(
            {
                "ipc": row.ipc,
                "name": row.method,
                "method": row.method.partition("@")[0],
                "labels": row.label_kind,
                "distilled": row.distilled_on or "–",
                "cells": [spread(reached[name].accuracies) if name in reached else "–" for name in trained],
            }
        )
    said = ", ".join(f"{name} {' and '.join(f'{rate:g}' for rate in sorted(rates[name]))}" for name in trained)
    note = f"Step sizes: {said}; all else of a training is the protocol's for every network"
    return {"trained": trained, "rows": table, "note": note}
