"""SRe2L and DWA beside random images, all with the same soft labels and with hard ones; DWA's ablations.

Usage: python benchmarks/tables/decoupled.py DATA_FOLDER LABEL [RUN_FOLDER]

IPC 10, 3 seeds, 8 bits per value, preset ``small``: one ConvNet-3 of width 64 with batch norm, trained once, guides
synthesis and labels all sets. Each set is judged by 3 networks ``convnet3:width=32`` under protocol ``limbeck_soft``
with 500 steps. The ablations have soft labels only: weights that are not moved, moved in random directions, and
variances that weigh no more than means.

Writes ``benchmarks/results/decoupled-<data>.json``. Stopped at any time, the same command continues.
"""

from __future__ import annotations

import json
import shlex
import statistics
import sys
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from limbeck.core.recipe import Recipe
from limbeck.data import Data, load
from limbeck.engine.identity import hardware, versions
from limbeck.engine.settings import Settings
from limbeck.evaluation.protocols import limbeck_soft
from limbeck.methods.dwa import dwa
from limbeck.methods.random import random
from limbeck.methods.sre2l import sre2l
from limbeck.reports.compare import compare
from limbeck.reports.comparison import COMPARISON
from limbeck.reports.tables import listing, percent
from limbeck.storage.atomic import write_text

__all__ = ["ABLATIONS", "METHODS", "main", "table"]

METHODS: dict[str, Recipe] = {"random": random(), "sre2l": sre2l("small"), "dwa": dwa("small")}
"""Judged with soft and with hard labels. The teacher of the first that has one labels all; DWA's is the same."""
ABLATIONS: dict[str, Recipe] = {
    "dwa, not moved": dwa("small").with_(pool__steps=0),
    "dwa, random directions": dwa("small").with_(pool__direction="random"),
    "dwa, coupled weights": dwa("small").with_(objective__variance=0.01),
}


def table(data: Data, out: Path, seeds: tuple[int, ...] = (0, 1, 2), updates: int = 500) -> dict[str, Any]:
    """Both comparisons, and what every run cost.

    Args:
        data: the data set.
        out: where runs go.
        seeds: of each set and its networks.
        updates: training steps of each network.
    """
    protocol = limbeck_soft(networks=("convnet3:width=32",), updates=updates, side=data.spec.height)
    settings = Settings(progress="plain")
    shared = {"ipcs": (10,), "seeds": seeds, "protocol": protocol, "settings": settings}
    compare(METHODS, data, out=out / "methods", labels=("hard", "soft"), **shared)  # type: ignore[arg-type]
    ablations = {name.replace(", ", "-").replace(" ", "-"): recipe for name, recipe in ABLATIONS.items()}
    compare(ablations, data, out=out / "ablations", labels=("soft",), **shared)  # type: ignore[arg-type]
    parts = ("methods", "ablations")
    found = {part: json.loads((out / part / COMPARISON).read_text(encoding="utf-8")) for part in parts}
    records = {}
    for folder in sorted(path.parent for part in parts for path in (out / part).glob("*/record.json")):
        record = json.loads((folder / "record.json").read_text(encoding="utf-8"))
        judged = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("evaluation-*.json"))]
        records[folder.name] = {
            "distil_seconds": record["seconds"],
            "peak_memory_bytes": record["peak_memory_bytes"],
            "evaluations": [
                {
                    "labels": one["label_kind"],
                    "seconds": one["seconds"],
                    "accuracies": one["networks"][0]["accuracies"],
                }
                for one in judged
            ],
        }
    return {"comparisons": found, "runs": records}


def main(source: str, title: str, out: Path) -> None:
    """Make the table of a data set, and write it beside the others."""
    result = table(load(source), out)
    about = {
        "label": title,
        "command": shlex.join(["python", "benchmarks/tables/decoupled.py", source, title]),
        "hardware": hardware(torch.device("cpu")),
        "threads": torch.get_num_threads(),
        "versions": versions(),
    }
    file = Path(__file__).parents[1] / "results" / f"decoupled-{Path(source).name}.json"
    write_text(file, json.dumps({**about, **result}, indent=2) + "\n")
    rows = [row for part in result["comparisons"].values() for row in part["rows"]]
    cells = [(row["method"], row["label_kind"], *_figures(row)) for row in rows]
    Console().print(listing(("method", "labels", "accuracy, %", "seconds of a seed"), cells, title))


def _figures(row: dict[str, Any]) -> tuple[str, str]:
    """Mean and deviation of the seeds' means, and what a seed cost: distilling and judging."""
    each = len(row["accuracies"]) // len(row["seeds"])
    means = [
        statistics.fmean(row["accuracies"][first : first + each]) for first in range(0, len(row["accuracies"]), each)
    ]
    deviation = statistics.stdev(means) if len(means) > 1 else 0.0
    seconds = f"{row['seconds']:.0f} + {row['evaluation_seconds']:.0f}"
    return percent(statistics.fmean(means), deviation, len(means)), seconds


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    name = Path(sys.argv[1]).name
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]) if len(sys.argv) > 3 else Path("runs") / f"decoupled-{name}")
