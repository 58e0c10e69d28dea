"""Section of a page: what distilling cost, and on what it was computed."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from limbeck.reports.entries import Entry
from limbeck.reports.plain_table import Cell, Column, PlainTable
from limbeck.reports.runs import Run
from limbeck.reports.tables import human_bytes, human_seconds
from limbeck.reports.wording import machine_in_words, steps_in_words

__all__ = ["cost_section"]


def cost_section(entries: Sequence[Entry], colours: Mapping[str, str]) -> dict[str, Any] | None:
    """Times and memory by method, hardware and versions, each once; None where nothing is known of them."""
    section = {
        "costs": _costs(entries, colours),
        "machines": _distinct(machine_in_words(entry.run.record.get("hardware", {})) for entry in entries),
        "steps": _distinct(steps_in_words(entry.run.record.get("execution", {})) for entry in entries),
        "versions": _distinct(_versions(entry) for entry in entries),
    }
    return section if any(section.values()) else None


def _costs(entries: Sequence[Entry], colours: Mapping[str, str]) -> PlainTable | None:
    """What distilling cost, by IPC and method; only runs that have a record."""
    grouped: dict[tuple[int, str], list[Run]] = {}
    for entry in entries:
        if entry.run.record:
            grouped.setdefault((entry.distilled.ipc, entry.label), []).append(entry.run)
    rows: list[list[Cell | str | int]] = []
    for (ipc, label), runs in grouped.items():
        records = [run.record for run in runs]
        steps = sorted({record["steps"] for record in records})
        losses = [record["final_loss"] for record in records if record["final_loss"] is not None]
        seconds = statistics.fmean(record["seconds"] for record in records)
        memory = max(record["peak_memory_bytes"] for record in records)
        rows.append(
            [
                ipc,
                Cell(label, colour=colours[label]),
                Cell(human_seconds(seconds), exact=(seconds,)),
                Cell(human_bytes(memory), exact=(memory,)),
                " / ".join(f"{count:,}" if count else "–" for count in steps),
                f"{statistics.fmean(losses):.4g}" if losses else "–",
                len(runs),
            ]
        )
    columns = [
        Column("IPC"),
        Column("Method", "head"),
        Column("Time per run", exact=("distil_seconds",)),
        Column("Peak memory", exact=("peak_memory_bytes",)),
        Column("Inner steps"),
        Column("Final loss"),
        Column("Runs"),
    ]
    return PlainTable("cost", "What distilling cost.", columns, rows) if rows else None


def _versions(entry: Entry) -> str:
    versions = entry.run.record.get("versions") or entry.distilled.identity.get("versions", {})
    return ", ".join(f"{name} {value}" for name, value in versions.items() if value)


def _distinct(lines: Iterable[str]) -> list[str]:
    return [line for line in dict.fromkeys(lines) if line]
