"""`compare`: several methods and baselines at equal bytes, under one protocol, in one table."""

from __future__ import annotations

import functools
import json
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from limbeck.core.errors import InputError
from limbeck.core.executor import Executor
from limbeck.core.plain import encode
from limbeck.core.recipe import Recipe
from limbeck.data import Data
from limbeck.engine.distill import distill, make_context
from limbeck.engine.groups import chains
from limbeck.engine.progress import Progress, progress
from limbeck.engine.settings import Settings
from limbeck.evaluation.diversity import DiversityProtocol, Reference, refer
from limbeck.evaluation.evaluate import check, evaluate_real
from limbeck.evaluation.protocols import Protocol
from limbeck.reports.judging import judge, judge_diversity, judge_snapshots
from limbeck.reports.runs import evaluation_file, scores_as_plain
from limbeck.storage.atomic import write_text

__all__ = ["COMPARISON", "Comparison", "Row", "compare"]

COMPARISON = "comparison.json"


@dataclass(frozen=True)
class Row:
    """One method at one IPC, over all seeds.

    Args:
        method: its name; ``full`` is training on all real images.
        ipc: stored images per class; 0 for ``full``.
        bytes: of the stored pixels.
        training_images: images that a network was trained on, after decoding.
        accuracies: test accuracy of every network, seed by seed.
        seconds: wall time of distilling, mean over seeds.
        evaluation_seconds: wall time of training and judging the networks of one seed, mean over seeds.
        seeds: seeds of the runs.
    """

    method: str
    ipc: int
    bytes: int
    training_images: int
    accuracies: tuple[float, ...]
    seconds: float
    evaluation_seconds: float
    seeds: tuple[int, ...]

    @property
    def mean(self) -> float:
        """Mean accuracy."""
        return statistics.fmean(self.accuracies)

    @property
    def std(self) -> float:
        """Sample standard deviation of the seeds' means, or of the networks when there is one seed; 0 for one network.

        Networks that were trained on the same set are no independent repetitions of a method; seeds are.
        """
        count = max(1, len(self.accuracies) // len(self.seeds))
        per_seed = [
            statistics.fmean(self.accuracies[start : start + count]) for start in range(0, len(self.accuracies), count)
        ]
        several = per_seed if len(self.seeds) > 1 else self.accuracies
        return statistics.stdev(several) if len(several) > 1 else 0.0


@dataclass(frozen=True)
class Comparison:
    """A table of methods.

    Args:
        data: name of the data set.
        protocol: how all were judged.
        rows: by IPC, then in the order asked for.
    """

    data: str
    protocol: Protocol
    rows: tuple[Row, ...]

    def as_plain(self) -> dict[str, Any]:
        """As plain data, means and deviations included."""
        rows = [{**encode(row), "mean": row.mean, "std": row.std} for row in self.rows]
        return {"data": self.data, "protocol": encode(self.protocol), "rows": rows}


def compare(
    recipes: Mapping[str, Recipe | Mapping[int, Recipe]],
    data: Data,
    *,
    ipcs: Sequence[int],
    seeds: Sequence[int],
    protocol: Protocol,
    out: Path,
    full: bool = False,
    diversity: DiversityProtocol | None = None,
    settings: Settings | None = None,
    executor: Executor | None = None,
) -> Comparison:
    """Distil with every recipe at every IPC and seed, judge all alike, and write what came out.

    Every set is stored with 8 bits per value, as the real images are, so sets of one IPC have equal bytes. Runs and
    evaluations that are in ``out`` already are not done again. Snapshots, if asked for, are judged as well.

    Args:
        recipes: by the name under which they appear; one, or one for each IPC where settings depend on it.
        data: the data set; its test part judges.
        ipcs: stored images per class.
        seeds: each distils, and trains networks, from random streams of its own.
        protocol: how sets are judged.
        out: folder for one run folder each, and for ``comparison.json``.
        full: also train on all real training images.
        diversity: also measure the diversity of every set, all by one teacher, whose seed is 0.
        settings: device, snapshots and progress.
        executor: where independent tasks run.

    Raises:
        InputError: a recipe cannot run on this data with one of the IPCs, or the protocol cannot judge such images;
            nothing has been started then.
    """
    settings = settings or Settings()
    if not recipes or not ipcs or not seeds or len(set(ipcs)) < len(ipcs) or len(set(seeds)) < len(seeds):
        raise InputError("a comparison needs at least one method, IPC and seed, each named once.")
    data.require_test()
    check(protocol, data.spec)
    if diversity is not None:
        diversity.check(data.spec)
    at = {
        (name, ipc): recipe if isinstance(recipe, Recipe) else recipe[ipc]
        for name, recipe in recipes.items()
        for ipc in ipcs
    }
    apart = set()
    for (name, ipc), recipe in at.items():
        if chains(recipe, make_context(recipe, data, ipc, seeds[0], settings)):
            apart.add((name, ipc))
        _refuse_unequal_bytes(name, recipe)
    if settings.processes > 1 and not apart:
        raise InputError(
            "none of these recipes has groups of images that are learnt apart, for several processes to share; leave "
            "--processes out."
        )
    device = settings.torch_device()
    quiet = replace(settings, progress="quiet")
    judging = replace(settings, precision="float32")  # tables must not depend on how a run was sped up
    work = [(ipc, name, seed) for ipc in ipcs for name in recipes for seed in seeds]
    found: dict[tuple[int, str], list[dict[str, Any]]] = {}

    @functools.cache
    def reference() -> Reference:
        assert diversity is not None
        display.say("training the teacher that diversity is measured by")
        return refer(data.train, diversity, device=device, execution=judging)

    with progress(settings.progress) as display:
        display.start("comparing", len(work) + (len(seeds) if full else 0))
        for done, (ipc, name, seed) in enumerate(work):
            display.say(f"{name}, IPC {ipc}, seed {seed}")
            folder = out / f"{name}-ipc{ipc}-seed{seed}"
            # A coreset takes no steps, so there is nothing to keep snapshots of.
            chosen = quiet if at[name, ipc].objective is not None else replace(quiet, snapshots=0)
            chosen = chosen if (name, ipc) in apart else replace(chosen, processes=1)
            began = time.monotonic()
            distilled = distill(
                at[name, ipc],
                data,
                ipc=ipc,
                seed=seed,
                out=folder,
                storage="uint8",
                settings=chosen,
                executor=executor,
            )
            spent = _recorded_seconds(folder, time.monotonic() - began)
            path = judge(
                folder, distilled, data, protocol, seed=seed, device=device, execution=judging, executor=executor
            )
            if chosen.snapshots:
                judge_snapshots(folder, data, protocol, seed=seed, device=device, execution=judging, executor=executor)
            if diversity is not None:
                judge_diversity(folder, distilled, data, diversity, reference, execution=judging)
            entry = json.loads(path.read_text(encoding="utf-8"))
            found.setdefault((ipc, name), []).append({**entry, "distil_seconds": spent})
            display.advance(done + 1)
        rows = [_row(name, ipc, entries, tuple(seeds)) for (ipc, name), entries in found.items()]
        if full:
            rows.append(_full(data, protocol, seeds, out, settings, executor, display, len(work)))
    comparison = Comparison(data.spec.name, protocol, tuple(rows))
    write_text(out / COMPARISON, json.dumps(comparison.as_plain(), indent=2) + "\n")
    return comparison


def _refuse_unequal_bytes(name: str, recipe: Recipe) -> None:
    bounded = recipe.parametrization.space == "unit" or (recipe.optimizer is not None and recipe.optimizer.bounds())
    if not bounded:
        raise InputError(
            f"'{name}' stores images in normalized space, which 8 bits per value cannot hold; compare recipes with "
            "--parametrization.space unit."
        )


def _recorded_seconds(folder: Path, measured: float) -> float:
    """Wall time of the run itself, from its record when it had been done earlier."""
    path = folder / "record.json"
    return float(json.loads(path.read_text(encoding="utf-8"))["seconds"]) if path.is_file() else measured


def _row(name: str, ipc: int, entries: list[dict[str, Any]], seeds: tuple[int, ...]) -> Row:
    accuracies = [value for entry in entries for network in entry["networks"] for value in network["accuracies"]]
    return Row(
        method=name,
        ipc=ipc,
        bytes=entries[0]["bytes"],
        training_images=entries[0]["training_images"],
        accuracies=tuple(accuracies),
        seconds=statistics.fmean(entry["distil_seconds"] for entry in entries),
        evaluation_seconds=statistics.fmean(entry["seconds"] for entry in entries),
        seeds=seeds,
    )


def _full(
    data: Data,
    protocol: Protocol,
    seeds: Sequence[int],
    out: Path,
    settings: Settings,
    executor: Executor | None,
    display: Progress,
    done: int,
) -> Row:
    """Training on all real training images, under the same protocol."""
    entries = []
    size = len(data.train) * data.spec.channels * data.spec.height * data.spec.width
    for number, seed in enumerate(seeds):
        display.say(f"all real images, seed {seed}")
        path = out / "full" / evaluation_file(protocol, seed, data.spec.digest)
        if not path.is_file():
            scores = evaluate_real(
                data.train,
                data.require_test(),
                protocol,
                seed=seed,
                validation=data.validation,
                device=settings.torch_device(),
                execution=replace(settings, precision="float32"),
                executor=executor,
            )
            path.parent.mkdir(parents=True, exist_ok=True)
            write_text(path, json.dumps(scores_as_plain(scores, size), indent=2) + "\n")
        entries.append({**json.loads(path.read_text(encoding="utf-8")), "distil_seconds": 0.0})
        display.advance(done + number + 1)
    return _row("full", 0, entries, tuple(seeds))
