"""Random images against DREAM's preset ``small`` on real data: IPC 10, equal bytes, one protocol, 3 seeds.

Usage: python benchmarks/tables/small.py DATA_FOLDER LABEL [RUN_FOLDER]

Writes ``benchmarks/results/small-<data>.json``: the comparison, the cost of every seed, the machine, the versions and
the commands. Stopped at any time, the same command continues.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from limbeck.cli.main import main
from limbeck.storage.atomic import write_text

METHODS = ("random", "dream")
FLAGS = ["--ipc", "10", "--seeds", "3", "--preset", "small", "--networks", "convnet3:width=32", "--length", "1000"]


def table(data: str, label: str, out: Path) -> dict[str, Any]:
    """The comparison on one data set, with what each seed cost."""
    words = ["compare", *METHODS, "--data", data, *FLAGS]
    status = main([*words, "--out", str(out)])
    if status:
        sys.exit(status)
    comparison = json.loads((out / "comparison.json").read_text(encoding="utf-8"))
    records = {}
    for folder in sorted(out.glob("*-ipc10-seed*")):
        record = json.loads((folder / "record.json").read_text(encoding="utf-8"))
        (scores,) = (json.loads(path.read_text(encoding="utf-8")) for path in folder.glob("evaluation-*.json"))
        records[folder.name] = {
            "distil_seconds": record["seconds"],
            "evaluation_seconds": scores["seconds"],
            "peak_memory_bytes": record["peak_memory_bytes"],
            "accuracies": scores["networks"][0]["accuracies"],
        }
    any_record = json.loads((next(out.glob("dream-*")) / "record.json").read_text(encoding="utf-8"))
    return {
        "label": label,
        "commands": [f"limbeck {' '.join(words)}"],
        "hardware": any_record["hardware"],
        "versions": any_record["versions"],
        "seeds": comparison["rows"][0]["seeds"],
        "comparison": comparison,
        "runs": records,
    }


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4):
        sys.exit(__doc__)
    source, title = sys.argv[1:3]
    name = Path(source).name
    folder = Path(sys.argv[3]) if len(sys.argv) == 4 else Path("runs") / f"small-{name}"
    result = table(source, title, folder)
    write_text(Path(__file__).parents[1] / "results" / f"small-{name}.json", json.dumps(result, indent=2) + "\n")
