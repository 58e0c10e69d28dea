"""DASM beside its base at equal outer iterations, and the order of its windows: the claims of its draft, small.

Usage: python benchmarks/tables/dasm.py DATA_FOLDER LABEL [RUN_FOLDER [SEEDS]]

Rows: IDC; DASM on it, from easy to hard; the same with windows on random parts, all on the hardest images, and
without windows (segments alone). IPC 50 in five segments of 10, 10 outer iterations of 5 inner steps for each row in
all, 8 bits per value, 3 seeds. Each set is judged by 3 networks ``convnet3:width=32`` under protocol ``limbeck`` with
1000 updates, and its diversity is measured by one teacher; of DASM from easy to hard every prefix is judged as well.

Writes ``benchmarks/results/dasm-<data>.json``. Works seed by seed, all rows of one before the next; stopped at any
time, the same command continues. With SEEDS below 3 the file has as many.
"""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from limbeck.core.plain import encode
from limbeck.core.recipe import Recipe
from limbeck.data import Data, load
from limbeck.engine.identity import hardware, versions
from limbeck.engine.settings import Settings
from limbeck.evaluation.diversity import DiversityProtocol
from limbeck.evaluation.protocols import Protocol, limbeck
from limbeck.methods.dasm import dasm
from limbeck.methods.idc import idc
from limbeck.reports.compare import compare
from limbeck.reports.judging import judge_prefixes
from limbeck.reports.runs import read_json, read_run
from limbeck.reports.tables import comparison_table
from limbeck.storage.atomic import write_text

__all__ = ["main", "recipes", "table"]

IPC, ITERATIONS, STEPS, NETWORK = 50, 10, 5, "convnet3:width=32"
ORDERS = ("easy_to_hard", "random_parts", "all_hard", "all_all")


def recipes(iterations: int = ITERATIONS, steps: int = STEPS, epochs: int = 20) -> dict[str, Recipe]:
    """The base, and DASM on it with each order.

    Args:
        iterations: outer iterations of each row.
        steps: inner steps of each of them.
        epochs: of the networks that say how hard images are.
    """
    base = idc("small", ipc=IPC).with_(curriculum__iterations=iterations, curriculum__steps=steps)
    segmented = dasm("small", base=base).with_(curriculum__least=1, curriculum__scorer_epochs=epochs)
    orders = {f"dasm-{order.replace('_', '-')}": segmented.with_(curriculum__order=order) for order in ORDERS}
    return {"idc": base, **orders}


def table(
    data: Data,
    out: Path,
    made: Mapping[str, Recipe],
    *,
    seeds: Sequence[int],
    protocol: Protocol,
    diversity: DiversityProtocol,
    ipc: int = IPC,
) -> dict[str, Any]:
    """All figures on one data set.

    Args:
        data: the data set.
        out: folder of the runs.
        made: recipes by name; prefixes of the second are judged.
        seeds: of the sets and of their networks.
        protocol: how sets are judged.
        diversity: how their diversity is measured.
        ipc: stored images per class.
    """
    curves, (_, ordered, *_) = {}, made
    for number, seed in enumerate(seeds, 1):  # all rows of a seed before those of the next
        settings = Settings(progress="plain")
        how: dict[str, Any] = {"protocol": protocol, "diversity": diversity, "out": out, "settings": settings}
        comparison = compare(made, data, ipcs=(ipc,), seeds=seeds[:number], **how)
        run = out / f"{ordered}-ipc{ipc}-seed{seed}"
        curves[run.name] = read_json(judge_prefixes(run, data, protocol, seed=seed))["points"]
    Console().print(comparison_table(comparison))
    runs = [read_run(out / f"{name}-ipc{ipc}-seed{seed}") for name in made for seed in seeds]
    return {
        "seeds": list(seeds),
        "recipes": {name: encode(recipe) for name, recipe in made.items()},
        "comparison": comparison.as_plain(),
        "prefixes": curves,
        "diversity_protocol": encode(diversity),
        "runs": {
            run.folder.name: {
                **{name: run.record[name] for name in ("seconds", "steps", "peak_memory_bytes")},
                "segments": run.record.get("segments", []),
                "accuracies": run.evaluations[0]["networks"][0]["accuracies"],
                "diversity": run.diversities[0]["mean"],
            }
            for run in runs
        },
    }


def main(source: str, title: str, out: Path, count: int) -> None:
    """Make the table of a data set, and write it beside the others."""
    data = load(source)
    protocol = limbeck(networks=(NETWORK,), repeats=3, data=data.spec.name, updates=1000)
    measured = DiversityProtocol(network=NETWORK, epochs=5, projection="none")
    found = table(data, out, recipes(), seeds=range(count), protocol=protocol, diversity=measured)
    about = {
        "label": title,
        "command": shlex.join(["python", "benchmarks/tables/dasm.py", source, title]),
        "hardware": hardware(torch.device("cpu")),
        "threads": torch.get_num_threads(),
        "versions": versions(),
    }
    file = Path(__file__).parents[1] / "results" / f"dasm-{Path(source).name}.json"
    write_text(file, json.dumps({**about, **found}, indent=2) + "\n")


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4, 5):
        sys.exit(__doc__)
    name = Path(sys.argv[1]).name
    folder = Path(sys.argv[3]) if len(sys.argv) > 3 else Path("runs") / f"dasm-{name}"
    main(sys.argv[1], sys.argv[2], folder, int(sys.argv[4]) if len(sys.argv) > 4 else 3)
