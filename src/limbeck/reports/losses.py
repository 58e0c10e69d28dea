"""Section of a page: losses and learned step sizes over the steps of runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from limbeck.reports.canvas import Format
from limbeck.reports.entries import Entry, Figure, by_data
from limbeck.reports.figures import loss_curves, rate_curves

__all__ = ["losses_section"]


def losses_section(entries: Sequence[Entry], colours: Mapping[str, str]) -> dict[str, Any] | None:
    """Losses and learned step sizes, one figure of each per data set; None where no loss was logged."""
    groups = by_data(entries)
    losses = [
        {"name": _name(members) if len(groups) > 1 else "", "figure": _losses(members, colours)}
        for members in groups
        if any(entry.run.losses for entry in members)
    ]
    rates = [
        {"name": _name(members) if len(groups) > 1 else "", "figure": _rates(members, colours)}
        for members in groups
        if any(entry.run.rates for entry in members)
    ]
    if not losses:
        return None
    experts = any(entry.run.record.get("experts") for entry in entries)
    return {"losses": losses, "skipped": _skipped(entries), "rates": rates, "experts": experts}


def _losses(members: Sequence[Entry], colours: Mapping[str, str]) -> Figure:
    final = "; ".join(f"{entry.run.title}: {entry.run.losses[-1][1]:.4g}" for entry in members if entry.run.losses)
    runs, labels = [entry.run for entry in members], [entry.label for entry in members]

    def draw(width: int, form: Format) -> bytes:
        return loss_curves(runs, colours, labels, width, form)

    return Figure(f"Loss against inner step for {_name(members)}. At the end: {final}.", draw)


def _rates(members: Sequence[Entry], colours: Mapping[str, str]) -> Figure:
    final = "; ".join(
        f"{entry.run.title}: {entry.run.rates[0][1]:.4g} at first, {entry.run.rates[-1][1]:.4g} at the end"
        for entry in members
        if entry.run.rates
    )
    runs, labels = [entry.run for entry in members], [entry.label for entry in members]

    def draw(width: int, form: Format) -> bytes:
        return rate_curves(runs, colours, labels, width, form)

    return Figure(f"Learned step size against inner step for {_name(members)}. {final}.", draw)


def _skipped(entries: Sequence[Entry]) -> list[str]:
    """Runs that did not take all of their steps."""
    lines = []
    for entry in entries:
        if entry.run.skipped:
            steps = entry.run.record.get("steps")
            name = f"{entry.label}, {entry.distilled.spec.name}, IPC {entry.distilled.ipc}, seed {entry.distilled.seed}"
            lines.append(f"{name}: {entry.run.skipped:,}" + (f" of {steps:,}" if steps else ""))
    return lines


def _name(members: Sequence[Entry]) -> str:
    """Of the data that these have in common."""
    return members[0].distilled.spec.name
