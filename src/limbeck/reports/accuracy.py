"""Section of a page: accuracies of a comparison, by architecture, and of every network that was judged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from limbeck.core.plain import encode
from limbeck.reports.canvas import images_per_class
from limbeck.reports.comparison import Comparison, Row
from limbeck.reports.entries import Entry, Figure
from limbeck.reports.figures import FULL, accuracy_bars
from limbeck.reports.plain_table import Cell, Column, PlainTable
from limbeck.reports.tables import (
    best_rows,
    human_bytes,
    human_seconds,
    label_size,
    limits,
    percent,
    spread,
    steps_taken,
)
from limbeck.reports.wording import teacher_in_words

__all__ = ["accuracy_section", "findings"]

_SELECTED = "Best look, % (selected on test data)"
"""Heading of figures that no fair comparison may use."""


def accuracy_section(
    entries: Sequence[Entry], colours: Mapping[str, str], comparison: Comparison | None, rows: Sequence[Row]
) -> dict[str, Any] | None:
    """What was reached; None where nothing was judged.

    Args:
        entries: the runs.
        colours: by method.
        comparison: what they belong to, if anything.
        rows: its rows as they are called.
    """
    compared = _comparison(comparison, rows, colours) if comparison is not None and rows else None
    evaluations = _evaluations(entries)
    if not (compared or evaluations):
        return None
    return {
        "comparison": compared,
        "architectures": _architectures(entries, colours, comparison),
        "evaluations": evaluations,
    }


def findings(rows: Sequence[Row]) -> list[dict[str, str]]:
    """The best accuracy of every IPC, and that of all real images."""
    found = []
    for row in best_rows([row for row in rows if row.method != FULL]):
        found.append(
            {
                "value": percent(row.mean, row.std, len(row.accuracies)),
                "name": row.method,
                "note": f"best at {images_per_class(row.ipc)}, {human_bytes(row.bytes)}{_beside(row)}",
            }
        )
    for row in rows:
        if row.method == FULL:
            value = percent(row.mean, row.std, len(row.accuracies))
            note = f"{row.training_images:,} real images, {human_bytes(row.bytes)}{_beside(row)}"
            found.append({"value": value, "name": "all real images", "note": note})
    return found


def _beside(row: Row) -> str:
    """Soft labels beside the images."""
    return "" if row.label_kind == "hard" else f" and labels ({label_size(row.label_kind, row.bytes_labels)})"


def _comparison(comparison: Comparison, rows: Sequence[Row], colours: Mapping[str, str]) -> dict[str, Any]:
    best, several = best_rows(rows), any(row.selected_on_test for row in rows)
    columns = [
        Column("IPC"),
        Column("Method", "head"),
        Column("Accuracy, %", exact=("accuracy", "accuracy_std")),
        Column("Networks"),
        Column("Size", exact=("bytes",)),
        Column("Labels", exact=("bytes_labels",)),
        Column("Training images", exact=("training_images",)),
        Column("Distil", exact=("distil_seconds",)),
        Column("Evaluate", exact=("evaluation_seconds",)),
        *([Column(_SELECTED)] if several else []),
    ]
    cells: list[list[Cell | str | int]] = [
        [
            str(row.ipc) if row.ipc else "–",
            Cell("all real images" if row.method == FULL else row.method, row in best, colours[row.method]),
            Cell(percent(row.mean, row.std, len(row.accuracies)), row in best, exact=(row.mean, _std(row))),
            len(row.accuracies),
            Cell(human_bytes(row.bytes), exact=(row.bytes,)),
            Cell(label_size(row.label_kind, row.bytes_labels), exact=(row.bytes_labels,)),
            Cell(f"{row.training_images:,}", exact=(row.training_images,)),
            Cell(_distil(row), exact=(row.seconds,)) if row.ipc else "–",
            Cell(human_seconds(row.evaluation_seconds), exact=(row.evaluation_seconds,)),
            *([spread(row.selected_on_test) if row.selected_on_test else "–"] if several else []),
        ]
        for row in rows
    ]
    rules = [index for index, row in enumerate(rows) if not index or row.ipc != rows[index - 1].ipc]
    caption = f"Test accuracy on {comparison.data}, protocol {comparison.protocol.name}."
    table = PlainTable("accuracy", caption, columns, cells, rules)
    spoken = "; ".join(
        f"{'all real images' if row.method == FULL else f'{row.method}, IPC {row.ipc}'}: "
        f"{percent(row.mean, row.std, len(row.accuracies))}"
        for row in rows
    )
    figure = Figure(
        f"Test accuracy in percent. {spoken}.",
        lambda width, form: accuracy_bars(rows, colours, width, form),
        name="accuracy",
    )
    return {
        "table": table,
        "figure": figure,
        "about": "; ".join(limits(comparison)),
        "teacher": teacher_in_words(comparison.teacher, comparison.brought_by),
    }


def _distil(row: Row) -> str:
    """Seconds of distilling, and how far that came where it was cut."""
    taken = steps_taken(row)
    return human_seconds(row.seconds) + (f", cut at {taken} of the steps" if taken else "")


def _architectures(
    entries: Sequence[Entry], colours: Mapping[str, str], comparison: Comparison | None
) -> PlainTable | None:
    """Accuracy by architecture over all seeds, where the protocol of the comparison has more than one."""
    if comparison is None or len(comparison.protocol.networks) < 2:
        return None
    protocol, names = encode(comparison.protocol), comparison.protocol.networks
    found: dict[tuple[int, str], dict[str, list[float]]] = {}
    for entry in entries:
        for evaluation in entry.run.evaluations:
            taught = (evaluation.get("labels") or {}).get("teacher")
            if evaluation["protocol"] == protocol and taught == comparison.teacher and _live(evaluation):
                cells = found.setdefault((entry.distilled.ipc, entry.label), {})
                for network in evaluation["networks"]:
                    cells.setdefault(network["network"], []).extend(network["accuracies"])
    rows: list[list[Cell | str | int]] = [
        [ipc, Cell(label, colour=colours[label]), *(spread(cells.get(name, [])) for name in names)]
        for (ipc, label), cells in found.items()
    ]
    columns = [Column("IPC"), Column("Method", "head"), *map(Column, names)]
    return PlainTable("architectures", "Test accuracy in percent by architecture.", columns, rows) if rows else None


def _live(evaluation: Mapping[str, Any]) -> bool:
    """Whether labels were not read from a store, as they never are in a comparison."""
    return evaluation.get("label_kind", "hard") != "stored"


def _evaluations(entries: Sequence[Entry]) -> PlainTable | None:
    """Every accuracy that was measured."""
    judged = [
        (entry, evaluation, network)
        for entry in entries
        for evaluation in entry.run.evaluations
        for network in evaluation["networks"]
    ]
    several = any(network.get("selected_on_test") for _, _, network in judged)
    columns = [
        Column("IPC"),
        Column("Method", "head"),
        Column("Seed"),
        Column("Accuracy, %", exact=("accuracy", "accuracy_std")),
        Column("Protocol", "name"),
        Column("Network", "name"),
        Column("Labels"),
        Column("Step size"),
        Column("Each network, %", "text"),
        *([Column(_SELECTED)] if several else []),
    ]
    rows: list[list[Cell | str | int]] = [
        [
            entry.distilled.ipc,
            entry.label,
            entry.distilled.seed,
            Cell(
                percent(network["mean"], network["std"], len(network["accuracies"])),
                exact=(network["mean"], network["std"] if len(network["accuracies"]) > 1 else None),
            ),
            evaluation["protocol"]["name"] + (f" on {evaluation['data']}" if "data" in evaluation else ""),
            network["network"],
            label_size(evaluation.get("label_kind", "hard"), evaluation.get("bytes_labels", 0)),
            f"{network['lr']:g}",
            ", ".join(f"{100 * value:.2f}" for value in network["accuracies"]),
            *([spread(network["selected_on_test"]) if network.get("selected_on_test") else "–"] if several else []),
        ]
        for entry, evaluation, network in judged
    ]
    return PlainTable("evaluations", "Every evaluation.", columns, rows) if rows else None


def _std(row: Row) -> float | None:
    return row.std if len(row.accuracies) > 1 else None
