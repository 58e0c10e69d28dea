"""What DREAM's two parts bring, alone and together: its paper's table 3 and figure 2b, at the size of preset ``small``.

Usage: python benchmarks/tables/dream_ablation.py DATA_FOLDER LABEL [RUN_FOLDER]

Four recipes that differ in sampler and initializer only: IDC (random batches, mixed real images), representative
sampling alone, clustered initialization alone, and both, which is DREAM. IPC 10, 3 seeds; the initial images, two
intermediate states and the result are each judged by 3 networks under protocol ``limbeck`` with 300 SGD steps.

Writes ``benchmarks/results/dream-ablation-<data>.json`` and ``docs/images/dream-ablation.png``, and a report into the
run folder. Stopped at any time, the same command continues.
"""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from rich.console import Console

from limbeck.core.plain import encode
from limbeck.core.recipe import Recipe
from limbeck.data import load
from limbeck.engine.settings import Settings
from limbeck.evaluation import protocols
from limbeck.methods.dream import dream
from limbeck.methods.idc import idc
from limbeck.reports.compare import compare
from limbeck.reports.growth import accuracy_curves, growths
from limbeck.reports.page import write_page
from limbeck.reports.runs import Run, read_run
from limbeck.reports.tables import comparison_table
from limbeck.storage.atomic import write_bytes, write_text

ROOT = Path(__file__).parents[2]
IPC, SEEDS, SNAPSHOTS = 10, (0, 1, 2), 3
NETWORK, NETWORKS, UPDATES = "convnet3:width=32", 3, 300


def recipes() -> dict[str, Recipe]:
    """IDC, DREAM, and IDC with each of the two parts of DREAM."""
    base, both = idc("small", ipc=IPC), dream("small", ipc=IPC)
    half = base.with_(base=base.name, references=both.references)
    return {
        "idc": base,
        "representative-sampling": half.with_(name="representative-sampling", sampler=both.sampler),
        "clustered-initialization": half.with_(name="clustered-initialization", initializer=both.initializer),
        "dream": both,
    }


def table(source: str, label: str, out: Path) -> tuple[dict[str, Any], bytes]:
    """All figures on one data set, and the picture of the curves."""
    data, made = load(source), recipes()
    protocol = protocols.limbeck(networks=(NETWORK,), repeats=NETWORKS, data=data.spec.name, updates=UPDATES)
    settings = Settings(snapshots=SNAPSHOTS)
    comparison = compare(made, data, ipcs=(IPC,), seeds=SEEDS, protocol=protocol, out=out, settings=settings)
    Console().print(comparison_table(comparison))
    runs = {f"{name}-ipc{IPC}-seed{seed}": (name, seed) for name in made for seed in SEEDS}
    read = [read_run(out / folder) for folder in runs]
    command = shlex.join(["python", "benchmarks/tables/dream_ablation.py", source, label])
    write_page(out / "report.html", read, comparison, f"Ablation of DREAM on {label}", command)
    (curves,) = growths(read, [name for name, _ in runs.values()])
    content = {
        "label": label,
        "commands": [command],
        "hardware": _different(run.record["hardware"] for run in read),
        "versions": _different(run.record["versions"] for run in read),
        "execution": _different(run.record["execution"] for run in read),
        "seeds": SEEDS,
        "recipes": {name: encode(recipe) for name, recipe in made.items()},
        "comparison": comparison.as_plain(),
        "curves": encode(curves),
        "runs": {run.folder.name: _figures(run) for run in read},
    }
    return content, accuracy_curves(curves, width=1000, form="png")


def _figures(run: Run) -> dict[str, Any]:
    """What one seed cost, and every accuracy on its way."""
    (curve,) = run.curves
    points = [
        {
            **{name: point[name] for name in ("step", "iteration", "seconds")},
            "accuracies": point["networks"][0]["accuracies"],
        }
        for point in curve["points"]
    ]
    record = {name: run.record[name] for name in ("seconds", "peak_memory_bytes", "final_loss")}
    return {**record, "points": points}


def _different(values: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each once: runs may have been continued elsewhere."""
    return list({json.dumps(value, sort_keys=True): value for value in values}.values())


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4):
        sys.exit(__doc__)
    source, title = sys.argv[1:3]
    name = Path(source).name
    folder = Path(sys.argv[3]) if len(sys.argv) > 3 else Path("runs") / f"dream-ablation-{name}"
    result, picture = table(source, title, folder)
    write_text(ROOT / "benchmarks/results" / f"dream-ablation-{name}.json", json.dumps(result, indent=2) + "\n")
    write_bytes(ROOT / "docs/images/dream-ablation.png", picture)
