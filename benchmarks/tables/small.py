"""Random images against presets ``small`` (of sound ``fsdd``) on real data: IPC 10, equal bytes, one protocol, 3 seeds.

Usage: python benchmarks/tables/small.py DATA_FOLDER LABEL [RUN_FOLDER [METHOD ...]]

Methods: random and dream unless others are named.

Writes ``benchmarks/results/small-<data>.json`` (with the methods in its name if they were named): the comparison, the
cost of every seed, the machine, the versions and the commands. Stopped at any time, the same command continues.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from limbeck.cli.main import main
from limbeck.data import holds_sound
from limbeck.storage.atomic import write_text

METHODS = ["random", "dream"]
FLAGS = ["--ipc", "10", "--seeds", "3"]
PICTURES = ["--preset", "small", "--networks", "convnet3:width=32", "--length", "1000"]
SOUND = ["--preset", "fsdd", "--networks", "convnet4:width=16", "--length", "400"]


def table(data: str, label: str, out: Path, methods: list[str]) -> dict[str, Any]:
    """The comparison on one data set, with what each seed cost."""
    words = ["compare", *methods, "--data", data, *FLAGS, *(SOUND if holds_sound(data) else PICTURES)]
    status = main([*words, "--out", str(out)])
    if status:
        sys.exit(status)
    comparison = json.loads((out / "comparison.json").read_text(encoding="utf-8"))
    records = {}
    for folder in sorted(path for name in methods for path in out.glob(f"{name}-ipc10-seed*")):
        record = json.loads((folder / "record.json").read_text(encoding="utf-8"))
        (scores,) = (json.loads(path.read_text(encoding="utf-8")) for path in folder.glob("evaluation-*.json"))
        records[folder.name] = {
            "distil_seconds": record["seconds"],
            "evaluation_seconds": scores["seconds"],
            "peak_memory_bytes": record["peak_memory_bytes"],
            "accuracies": scores["networks"][0]["accuracies"],
        }
    any_record = json.loads((next(out.glob(f"{methods[-1]}-*")) / "record.json").read_text(encoding="utf-8"))
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
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    source, title = sys.argv[1:3]
    name = Path(source).name
    folder = Path(sys.argv[3]) if len(sys.argv) > 3 else Path("runs") / f"small-{name}"
    named = sys.argv[4:]
    result = table(source, title, folder, named or METHODS)
    file = "-".join(["small", name, *named]) + ".json"
    write_text(Path(__file__).parents[1] / "results" / file, json.dumps(result, indent=2) + "\n")
