"""Section of a page: accuracies of a comparison, by architecture, and of every network that was judged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from limbeck.core.plain import encode
from limbeck.reports.canvas import images_per_class
from limbeck.reports.comparison import Comparison, Row
from limbeck.reports.entries import Entry, Figure
from limbeck.reports.figures import FULL, accuracy_bars
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
        "architectures": _architectures(entries, comparison),
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
    best = best_rows(rows)
    table, previous = [], None
    for row in rows:
        table.append(
            {
                "ipc": str(row.ipc) if row.ipc else "–",
                "first": row.ipc != previous,
                "method": "all real images" if row.method == FULL else row.method,
                "colour": colours[row.method],
                "bytes": human_bytes(row.bytes),
                "labels": label_size(row.label_kind, row.bytes_labels),
                "images": f"{row.training_images:,}",
                "accuracy": percent(row.mean, row.std, len(row.accuracies)),
                "networks": len(row.accuracies),
                "distil": human_seconds(row.seconds) if row.ipc else "–",
                "taken": steps_taken(row),
                "evaluate": human_seconds(row.evaluation_seconds),
                "best": row in best,
                "selected": spread(row.selected_on_test) if row.selected_on_test else "",
            }
        )
        previous = row.ipc
    spoken = "; ".join(
        f"{'all real images' if row.method == FULL else f'{row.method}, IPC {row.ipc}'}: "
        f"{percent(row.mean, row.std, len(row.accuracies))}"
        for row in rows
    )
    figure = Figure(
        f"Test accuracy in percent. {spoken}.", lambda width, form: accuracy_bars(rows, colours, width, form)
    )
    about = "; ".join(limits(comparison))
    return {
        "rows": table,
        "figure": figure,
        "about": about,
        "teacher": teacher_in_words(comparison.teacher, comparison.brought_by),
    }


def _architectures(entries: Sequence[Entry], comparison: Comparison | None) -> dict[str, Any] | None:
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
    table = [
        {"ipc": ipc, "method": label, "cells": [spread(cells.get(name, [])) for name in names]}
        for (ipc, label), cells in found.items()
    ]
    return {"names": names, "rows": table} if table else None


def _live(evaluation: Mapping[str, Any]) -> bool:
    """Whether labels were not read from a store, as they never are in a comparison."""
    return evaluation.get("label_kind", "hard") != "stored"


def _evaluations(entries: Sequence[Entry]) -> list[dict[str, Any]]:
    """Every accuracy that was measured."""
    return [
        {
            "method": entry.label,
            "ipc": entry.distilled.ipc,
            "seed": entry.distilled.seed,
            "protocol": evaluation["protocol"]["name"] + (f" on {evaluation['data']}" if "data" in evaluation else ""),
            "network": network["network"],
            "labels": label_size(evaluation.get("label_kind", "hard"), evaluation.get("bytes_labels", 0)),
            "lr": f"{network['lr']:g}",
            "accuracy": percent(network["mean"], network["std"], len(network["accuracies"])),
            "each": ", ".join(f"{100 * value:.2f}" for value in network["accuracies"]),
            "selected": spread(network.get("selected_on_test", ())) if network.get("selected_on_test") else "",
        }
        for entry in entries
        for evaluation in entry.run.evaluations
        for network in evaluation["networks"]
    ]
