"""Accuracy against the bytes of soft labels: hard labels, a teacher on the fly, and stored labels, each compression.

Usage: python benchmarks/tables/labels.py DATA_FOLDER LABEL [--method METHOD]

Sets of one method (random by default), IPC 10, 3 seeds, 8 bits per value. One teacher, ``convnet3:norm=batch`` trained
for 30 epochs on the real images unless the method brings its own, labels all. Each set is judged by 3 networks
``convnet3:width=32`` under protocol ``limbeck_soft`` with 500 steps; only the labels differ. Stored labels are those of
the same teacher, made once for each set and compression.

Writes ``benchmarks/results/labels-<data>[-<method>].json``. Stopped at any time, the same command continues.
"""

from __future__ import annotations

import argparse
import json
import shlex
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from limbeck.core.plain import encode
from limbeck.core.recipe import Recipe
from limbeck.data import Data, load
from limbeck.engine.distill import distill, make_context
from limbeck.engine.identity import hardware, versions
from limbeck.engine.settings import Settings
from limbeck.evaluation.labels import ByTeacher, Labels, Stored
from limbeck.evaluation.protocols import Protocol, limbeck_soft
from limbeck.evaluation.relabel import relabel
from limbeck.evaluation.teaching import recipe_teacher, teacher_context, teacher_labels
from limbeck.methods.random import random
from limbeck.ops.soft_labels import Compression
from limbeck.registry import method
from limbeck.reports.judging import judge
from limbeck.reports.tables import human_bytes, listing, percent
from limbeck.storage.atomic import write_text
from limbeck.teachers import Teacher, teacher_for

RESULTS = Path(__file__).parents[1] / "results"
IPC, SEEDS, UPDATES, STUDENT = 10, (0, 1, 2), 500, "convnet3:width=32"


@dataclass(frozen=True)
class Kind:
    """One row: how labels are kept.

    Args:
        name: in the table.
        compression: of stored labels; None for labels that are not stored.
        part: share of the epochs that are kept.
        soft: whether there is a teacher at all.
    """

    name: str
    compression: Compression | None = None
    part: float = 1.0
    soft: bool = True


def kinds(classes: int) -> list[Kind]:
    """All rows: each way to save bytes alone, and several together."""
    few = max(1, classes // 10)
    return [
        Kind("hard", soft=False),
        Kind("teacher on the fly"),
        Kind("float32", Compression(numbers="float32")),
        Kind("float16", Compression()),
        Kind("int8", Compression(numbers="int8")),
        Kind(f"float16, top {3 * few}", Compression(top=3 * few)),
        Kind(f"float16, top {few}", Compression(top=few)),
        Kind("float16, 1/4 of the epochs", Compression(), 1 / 4),
        Kind("float16, 1/16 of the epochs", Compression(), 1 / 16),
        Kind(f"int8, top {3 * few}, 1/4 of the epochs", Compression(numbers="int8", top=3 * few), 1 / 4),
        Kind(f"int8, top {3 * few}, 1/16 of the epochs", Compression(numbers="int8", top=3 * few), 1 / 16),
    ]


def table(
    data: Data,
    recipe: Recipe,
    out: Path,
    *,
    teacher: Teacher | None = None,
    protocol: Protocol | None = None,
    ipc: int = IPC,
    seeds: Sequence[int] = SEEDS,
    settings: Settings | None = None,
) -> dict[str, Any]:
    """All rows on one data set, with bytes and accuracies of every network.

    Args:
        data: the data set.
        recipe: makes the sets.
        out: folder for sets, labels and scores.
        teacher: who labels; by default the recipe's own, or a ConvNet with batch norm.
        protocol: how sets are judged; ``limbeck_soft`` at the size above by default.
        ipc: stored images per class.
        seeds: of the sets, of their labels and of the networks.
        settings: device and progress.
    """
    settings, spec = settings or Settings(), data.spec
    flip = getattr(teacher_for(spec).training.augmentation, "flip", False)
    side = min(spec.height, spec.width)
    protocol = protocol or limbeck_soft(networks=(STUDENT,), updates=UPDATES, side=side, flip=flip)
    known = _teacher(data, recipe, teacher, ipc, seeds[0], settings)
    rows = []
    for kind in kinds(spec.classes):
        entries = []
        for seed in seeds:
            folder = out / f"{recipe.name}-ipc{ipc}-seed{seed}"
            distilled = distill(recipe, data, ipc=ipc, seed=seed, out=folder, storage="uint8", settings=settings)
            labels: Labels | None = known if kind.soft else None
            if kind.compression is not None:
                images = distilled.parametrization.parts(ipc) * spec.classes
                kept = max(1, round(kind.part * protocol.epochs(images)))
                where = out / "labels" / f"{folder.name}-{kind.name}".replace("/", "-").replace(" ", "-")
                how: dict[str, Any] = {"compression": kind.compression, "epochs_kept": kept, "seed": seed}
                labels = Stored(relabel(distilled, known, protocol, where, device=settings.torch_device(), **how))
            way = protocol if kind.soft else protocol.hard()
            path = judge(
                folder,
                distilled,
                data,
                way,
                labels=labels,
                seed=seed,
                device=settings.torch_device(),
                execution=settings,
            )
            entries.append(json.loads(path.read_text(encoding="utf-8")))
        rows.append(_row(kind, entries))
    return {
        "data": spec.name,
        "recipe": encode(recipe),
        "ipc": ipc,
        "seeds": list(seeds),
        "protocol": encode(protocol),
        "teacher": known.teacher.as_plain(),
        "hardware": hardware(settings.torch_device()),
        "versions": versions(),
        "rows": rows,
    }


def _teacher(data: Data, recipe: Recipe, teacher: Teacher | None, ipc: int, seed: int, settings: Settings) -> ByTeacher:
    own = recipe_teacher(recipe)
    if teacher is None and own is not None:
        return teacher_labels(own, make_context(recipe, data, ipc, seed, settings))
    teacher = teacher or replace(teacher_for(data.spec), network="convnet3:norm=batch", weights="trained", epochs=30)
    context = teacher_context(teacher, data.train, device=settings.torch_device(), execution=settings)
    return teacher_labels(teacher, context)


def _row(kind: Kind, entries: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Means over seeds; bytes are those of one set."""
    means = [entry["mean"] for entry in entries]
    return {
        "labels": kind.name,
        "label_kind": entries[0]["label_kind"],
        "bytes": entries[0]["bytes"],
        "bytes_labels": round(statistics.fmean(entry["bytes_labels"] for entry in entries)),
        "mean": statistics.fmean(means),
        "std": statistics.stdev(means) if len(means) > 1 else entries[0]["std"],
        "accuracies": [network["accuracies"] for entry in entries for network in entry["networks"]],
        "evaluation_seconds": statistics.fmean(entry["seconds"] for entry in entries),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder of the data set")
    parser.add_argument("label", help="what the data set is called")
    parser.add_argument("--method", default="random", help="whose sets: its preset small, or its first one")
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS, help="of sets, labels and networks")
    parser.add_argument("--out", type=Path, help="run folders, labels and scores (runs/labels-DATA)")
    given = parser.parse_args(arguments)
    name, recipe = given.data.name, random()
    if given.method != "random":
        chosen = method(given.method)
        recipe = chosen.recipe("small" if "small" in chosen.presets else chosen.presets[0], ipc=IPC)
    words = sys.argv[1:] if arguments is None else arguments
    command = shlex.join(["python", "benchmarks/tables/labels.py", *words])
    out = given.out or Path("runs") / f"labels-{name}"
    result = {
        "label": given.label,
        "command": command,
        **table(load(str(given.data)), recipe, out, seeds=given.seeds),
    }
    lines = [
        (
            row["labels"],
            human_bytes(row["bytes"]),
            human_bytes(row["bytes_labels"]),
            percent(row["mean"], row["std"], len(given.seeds)),
        )
        for row in result["rows"]
    ]
    Console().print(
        listing(("labels", "images", "bytes of labels", "accuracy, %"), lines, f"{recipe.name}, {given.label}")
    )
    written = RESULTS / f"labels-{name}{'' if recipe.name == 'random' else f'-{recipe.name}'}.json"
    write_text(written, json.dumps(result, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
