"""DD-Ranking's scores of sets: their files, a table for the terminal, and a section of the page."""

from __future__ import annotations

import csv
import io
import json
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from limbeck.core.distilled import Distilled
from limbeck.core.execution import Precision
from limbeck.core.plain import encode
from limbeck.core.real import DataSpec
from limbeck.evaluation.ranking import Ranking
from limbeck.reports.entries import Entry
from limbeck.reports.runs import as_text, judged_by, ranking_file
from limbeck.reports.tables import human_seconds, listing, spread
from limbeck.storage.atomic import write_text

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["ranking_as_plain", "ranking_section", "ranking_table", "ranking_text", "write_ranking"]

_POINTS = {"hard_label_recovery": "HLR, points", "improvement_over_random": "IOR, points"}
"""Differences of accuracies, shown in percentage points."""
_SCORES = {"lrs": "LRS", "ars": "ARS"}
"""Scores in [0, 1]."""


def ranking_as_plain(ranking: Ranking) -> dict[str, Any]:
    """Scores as plain data: mean and deviation of each, and every run with all its accuracies."""
    return {
        "protocol": encode(ranking.protocol),
        "seed": ranking.seed,
        "label_kind": ranking.labels,
        "teacher": ranking.teacher,
        "mean": ranking.mean(),
        "std": ranking.std(),
        "runs": [{**scores, **encode(run)} for scores, run in zip(ranking.scores(), ranking.runs, strict=True)],
        "selection": "validation step size",
        "seconds": ranking.seconds,
    }


def ranking_text(plain: Mapping[str, Any]) -> str:
    """A row for each run under DD-Ranking's own names of columns, ours behind them.

    Args:
        plain: what `ranking_as_plain` gives.
    """
    rows = [
        {
            **{name: run[name] for name in plain["mean"]},
            "run": number,
            "seed": run["seed"],
            **{f"accuracy_{name}": value for name, value in run["accuracies"].items()},
            **{f"lr_{name}": value for name, value in run["learning_rates"].items()},
        }
        for number, run in enumerate(plain["runs"])
    ]
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def write_ranking(
    folder: Path,
    ranking: Ranking,
    distilled: Distilled,
    judges: DataSpec | None = None,
    precision: Precision = "float32",
    labels: str = "",
) -> Path:
    """Write scores beside the set, atomically, as JSON and as DD-Ranking's CSV; the JSON file's path.

    Args:
        folder: of the set.
        ranking: what came out.
        distilled: the set.
        judges: the data that it was measured with; those of the set by default.
        precision: number format of the networks' convolutions.
        labels: digest of the soft labels, where there are any.
    """
    plain, elsewhere = judged_by(ranking_as_plain(ranking), distilled, judges)
    path = folder / ranking_file(ranking.protocol, ranking.seed, distilled.storage, elsewhere, precision, labels)
    write_text(path.with_suffix(".csv"), ranking_text(plain))
    write_text(path, as_text(plain))
    return path


def ranking_table(plain: Mapping[str, Any], title: str = "") -> Table:
    """A line for each training and score: its mean over runs, and each run.

    Args:
        plain: what `ranking_as_plain` gives.
        title: what was ranked.
    """
    runs = plain["runs"]
    rows = []
    for name in runs[0]["accuracies"]:
        reached = [run["accuracies"][name] for run in runs]
        rows.append([f"{name.replace('_', ' ')}, %", spread(reached), *(f"{100 * value:.1f}" for value in reached)])
    for name, heading in zip(plain["mean"], _headings(list(plain["mean"])), strict=True):
        values = [run[name] for run in runs]
        rows.append([heading, _score(name, values), *(_score(name, [value]) for value in values)])
    return listing(["", "mean", *(f"run {number}" for number in range(len(runs)))], rows, title)


def ranking_section(entries: Sequence[Entry], colours: Mapping[str, str]) -> list[dict[str, Any]] | None:
    """One table for all sets that were ranked alike; None for none.

    Args:
        entries: the runs of the page.
        colours: of methods.
    """
    groups: dict[str, list[tuple[Entry, dict[str, Any]]]] = {}
    for entry in entries:
        for found in entry.run.rankings:
            alike = [entry.distilled.spec.digest, *(found.get(name) for name in ("data", "protocol", "teacher"))]
            groups.setdefault(json.dumps(alike, sort_keys=True), []).append((entry, found))
    return [_table(members, colours) for members in groups.values()] or None


def _table(members: Sequence[tuple[Entry, dict[str, Any]]], colours: Mapping[str, str]) -> dict[str, Any]:
    entry, first = members[0]
    scores, base = list(first["mean"]), first["protocol"]["base"]
    by_method: dict[tuple[int, str], list[dict[str, Any]]] = {}
    for one, found in members:
        by_method.setdefault((one.distilled.ipc, one.label), []).append(found)
    labels = "hard labels" if first["teacher"] is None else "labels of one teacher"
    return {
        "sentence": (
            f"{entry.distilled.spec.name}, {base['networks'][0]}, {base['length']:,} {base['budget']}, {labels}; step "
            f"sizes {', '.join(f'{lr:g}' for lr in first['protocol']['learning_rates'])} to choose from."
        ),
        "headings": _headings(scores),
        "rows": [
            {
                "ipc": ipc,
                "method": label,
                "colour": colours[label],
                "accuracies": [
                    spread([run["accuracies"][name] for found in same for run in found["runs"]])
                    for name in ("synthetic_hard", "full_hard", "synthetic", "random")
                ],
                "cells": [_score(name, [run[name] for found in same for run in found["runs"]]) for name in scores],
                "runs": sum(len(found["runs"]) for found in same),
                "seconds": human_seconds(sum(found["seconds"] for found in same)),
            }
            for (ipc, label), same in by_method.items()
        ],
    }


def _score(name: str, values: Sequence[float]) -> str:
    """Mean and deviation over runs, of differences in points and of scores with three digits."""
    if name in _POINTS:
        return spread(values)
    std = f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):.3f}{std}"


def _headings(scores: Sequence[str]) -> list[str]:
    return [{**_POINTS, **_SCORES}[name] for name in scores]
