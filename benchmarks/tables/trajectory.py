"""Trajectory matching beside random images (``--what methods``), and what AST's parts bring (``--what ablation``).

Usage: python benchmarks/tables/trajectory.py --what methods|ablation [--data DATA] [--label LABEL] ...

``methods``: random, mtt, tesla, ftd, ast and ast-official (the authors' code) with preset ``small``, or ``digits`` for
the bundled digits; accuracy on the way for mtt and ast. ``ablation``: AST's parts one after the other on the experts of
its paper (its table 7: base, + representative start, + balance, + comparisons on the way, + a perturbed start of three
sizes), the experts themselves under plain MTT (table 6: SGD, momentum, + penalty, + clip; and momentum with the step
size of SGD, which tells the two apart), and all of it by the authors' code.

Rules, the same for all: hard labels, images after the last step (FTD: their average over time), networks after their
last epoch, nothing chosen on test images. Experts are trained once, with seed 0, and shared by all seeds; seed s of two
rows has the same initial draws, so that differences are taken seed by seed. All rows store 8 bits per value. Under
protocol ``mtt`` a set that has learnt no step size is trained with the one that MTT's preset begins with.

Every set, its judgement and the experts are files below ``--out``: stopped at any time, the same command continues, and
what both tables need is made once. ``--processes 2`` works on two at a time, each with one thread; ``--part 1/2`` makes
the first half of the sets and writes no table. A cell that fails (a loss that is no number) is a cell that says so.

Writes ``benchmarks/results/trajectory-<what>-<data>.json`` and prints the table in Markdown.
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import json
import os
import shlex
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from limbeck.core.errors import InputError, RunError
from limbeck.core.execution import can_compile
from limbeck.core.plain import encode
from limbeck.core.recipe import Recipe
from limbeck.data import Data, load
from limbeck.engine.distill import distill, make_context
from limbeck.engine.identity import hardware, versions
from limbeck.engine.settings import Settings
from limbeck.evaluation import protocols
from limbeck.evaluation.protocols import Protocol
from limbeck.execution.processes import Processes
from limbeck.methods.ast import ast
from limbeck.methods.ftd import ftd
from limbeck.methods.mtt import mtt
from limbeck.methods.random import random
from limbeck.methods.tesla import tesla
from limbeck.objectives.trajectory_matching import TrajectoryMatching
from limbeck.pools.experts import Experts
from limbeck.reports.growth import accuracy_curves, growths
from limbeck.reports.judging import judge, judge_snapshots
from limbeck.reports.runs import read_json, read_run
from limbeck.reports.tables import spread
from limbeck.storage.atomic import write_bytes, write_text
from limbeck.storage.trajectories import read_snapshot, trajectory_path
from limbeck.training.passes import forward

__all__ = ["Line", "Plan", "lines", "main", "markdown", "table"]

ROOT = Path(__file__).parents[2]
PREPARED = ("methods", "ablation")


@dataclass(frozen=True)
class Line:
    """One row of a table.

    Args:
        name: in the table.
        recipes: recipe by IPC.
        against: the row whose accuracies are subtracted, seed by seed; none if empty.
        grows: whether its snapshots are judged as well.
    """

    name: str
    recipes: dict[int, Recipe]
    against: str = ""
    grows: bool = False


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a table is made of."""

    what: str
    """``methods`` or ``ablation``."""
    data: str
    """Data set: a name or a folder."""
    preset: str
    """``small`` or ``digits``."""
    ipcs: tuple[int, ...]
    """Stored images per class."""
    seeds: tuple[int, ...]
    """Of each set and its networks."""
    out: Path
    """Folder of experts, runs and cells."""
    judges: tuple[str, ...] = ("limbeck", "mtt")
    """Protocols; the first one judges snapshots."""
    updates: int = 1000
    """SGD steps of a network under ``limbeck``."""
    epochs: int = 1000
    """Epochs under ``mtt``, as its paper counts them."""
    repeats: int = 3
    """Networks of each seed."""
    snapshots: int = 4
    """States of a run that are judged beside its end."""
    iterations: int = 0
    """Steps of the images, where not those of the preset."""
    experts: int = 0
    """Experts, where not those of the preset."""
    only: tuple[str, ...] = ()
    """Rows; all if none is named."""
    compile: str = "off"
    """Whether steps are compiled, the same for all rows, so that they share experts."""
    threads: int = 0
    """Of each process; 0 for as many as there are."""


def lines(plan: Plan) -> dict[str, Line]:
    """All rows of a table, by name.

    Raises:
        InputError: a row is named that there is not.
    """
    made = [*_baselines(plan), *(_methods(plan) if plan.what == "methods" else _ablation(plan))]
    known = {line.name: line for line in made}
    unknown = sorted(set(plan.only) - set(known))
    if unknown:
        raise InputError(f"no row is called {', '.join(unknown)}; there are {', '.join(known)}.")
    return {name: line for name, line in known.items() if not plan.only or name in plan.only}


def _baselines(plan: Plan) -> list[Line]:
    real = dict.fromkeys(plan.ipcs, random())
    return [Line("random", real)]


def _methods(plan: Plan) -> list[Line]:
    return [
        _line(plan, "mtt", lambda ipc: mtt(plan.preset, ipc), grows=True),
        _line(plan, "tesla", lambda ipc: tesla(plan.preset, ipc), "mtt"),
        _line(plan, "ftd", lambda ipc: ftd(plan.preset, ipc), "mtt"),
        _line(plan, "ast", lambda ipc: ast(plan.preset, ipc), "mtt", grows=True),
        _line(plan, "ast-official", lambda ipc: ast(f"{plan.preset}-official", ipc), "mtt"),
    ]


def _ablation(plan: Plan) -> list[Line]:
    """AST's parts, cumulative; each row adds one to the row before. Then experts, and the authors' code."""

    def smooth(ipc: int, **course: Any) -> Recipe:
        """Plain MTT on AST's experts, with some settings of their training changed."""
        pool = ast(plan.preset, ipc).pool
        assert isinstance(pool, Experts)
        return mtt(plan.preset, ipc).with_(pool__course=replace(pool.course, **course), pool__count=pool.count)

    def partly(ipc: int, **changes: Any) -> Recipe:
        return ast(plan.preset, ipc).with_(**changes)

    def hasty(ipc: int) -> Recipe:
        """Momentum, with the step size of the experts that have none."""
        pool, own = mtt(plan.preset, ipc).pool, smooth(ipc).pool
        assert isinstance(pool, Experts) and isinstance(own, Experts)
        training = replace(own.course.training, lr=pool.course.training.lr)
        return smooth(ipc, penalty="none", clip=(), training=training)

    flat = {"objective__perturb": "off"}
    direct = {**flat, "objective__intermediate": "off"}
    even = {**direct, "objective__balance": False}
    made = [
        _line(plan, "base", lambda ipc: partly(ipc, **even, initializer=mtt(plan.preset, ipc).initializer)),
        _line(plan, "+ representative start", lambda ipc: partly(ipc, **even), "base"),
        _line(plan, "+ balance", lambda ipc: partly(ipc, **direct), "base"),
        _line(plan, "+ intermediate", lambda ipc: partly(ipc, **flat), "base"),
    ]
    for alpha in (0.01, 0.03, 0.1):
        perturbed = functools.partial(partly, objective__perturb="filters", objective__alpha=alpha)
        made.append(_line(plan, f"+ perturbation {alpha}", perturbed, "base"))
    plain = {"penalty": "none", "clip": ()}
    return [
        *made,
        _line(plan, "experts: sgd", lambda ipc: mtt(plan.preset, ipc)),
        _line(plan, "experts: momentum at sgd's step size", hasty, "experts: sgd"),
        _line(plan, "experts: momentum", lambda ipc: smooth(ipc, **plain), "experts: sgd"),
        _line(plan, "experts: momentum, penalty", lambda ipc: smooth(ipc, clip=()), "experts: sgd"),
        _line(plan, "experts: momentum, penalty, clip", smooth, "experts: sgd"),
        _line(plan, "ast", lambda ipc: ast(plan.preset, ipc), "base"),
        _line(plan, "ast-official", lambda ipc: ast(f"{plan.preset}-official", ipc), "ast"),
    ]


def _line(plan: Plan, name: str, make: Callable[[int], Recipe], against: str = "", grows: bool = False) -> Line:
    recipes = {ipc: _sized(plan, make(ipc)) for ipc in plan.ipcs}
    return Line(name, recipes, against, grows=grows and plan.snapshots > 0)


def _sized(plan: Plan, recipe: Recipe) -> Recipe:
    """The recipe with the length and the number of experts that were asked for."""
    if plan.iterations:
        recipe = recipe.with_(curriculum__iterations=plan.iterations)
    return recipe.with_(pool__count=plan.experts) if plan.experts else recipe


# Work: each task is done in a process of its own, or finds its file.


@dataclass(frozen=True)
class Work:
    """One file to be made.

    Args:
        plan: of the table.
        kind: ``experts``, ``cell`` or ``curve``.
        recipe: whose.
        ipc: stored images per class.
        seed: of the set.
    """

    plan: Plan
    kind: str
    recipe: Recipe
    ipc: int
    seed: int

    @functools.cached_property
    def asked(self) -> dict[str, Any]:
        """All that decides what comes out."""
        plan = self.plan
        spec = _data(plan.data).spec
        told: dict[str, Any] = {"data": spec.digest, "normalization": spec.normalization.key, "compile": plan.compile}
        if self.kind == "experts":
            assert isinstance(self.recipe.pool, Experts)
            return {**told, "pool": encode(self.recipe.pool)}
        told |= {"recipe": encode(self.recipe), "ipc": self.ipc, "seed": self.seed, "snapshots": self.snapshots}
        if self.kind == "cell":
            return {**told, "protocols": [encode(one) for one in self.judges]}
        return {**told, "protocol": encode(self.judges[0])}

    @property
    def snapshots(self) -> int:
        """States to keep; of images that nobody learns there are none."""
        return self.plan.snapshots if self.recipe.objective is not None else 0

    @property
    def file(self) -> Path:
        """Where it is kept."""
        return self.plan.out / "cells" / f"{self.kind}-{_hash(self.asked)}.json"

    @property
    def folder(self) -> Path:
        """Of the run."""
        told = {name: self.asked[name] for name in ("data", "normalization", "compile", "recipe", "snapshots")}
        return self.plan.out / "runs" / f"{self.recipe.name}-ipc{self.ipc}-seed{self.seed}-{_hash(told)}"

    @property
    def settings(self) -> Settings:
        """How it is computed."""
        compile: Any = self.plan.compile
        cache = self.plan.out / "networks"
        return Settings(device="cpu", compile=compile, progress="quiet", network_cache=cache, snapshots=self.snapshots)

    @property
    def judges(self) -> list[Protocol]:
        """Protocols with the network of the preset."""
        plan, model = self.plan, mtt(self.plan.preset, self.ipc)
        assert isinstance(model.pool, Experts) and isinstance(model.objective, TrajectoryMatching)
        shared: dict[str, Any] = {
            "networks": (model.pool.network,),
            "repeats": plan.repeats,
            "data": _data(plan.data).spec.name,
        }
        made = {
            "limbeck": lambda: protocols.limbeck(updates=plan.updates, **shared),
            "mtt": lambda: protocols.mtt(epochs=plan.epochs, lr=model.objective.student_lr, **shared),  # type: ignore[union-attr]
        }
        return [made[name]() for name in plan.judges]


def do(work: Work) -> dict[str, Any]:
    """What the file of a task says; it is made if it is not there."""
    if work.plan.threads:
        torch.set_num_threads(work.plan.threads)
    if work.file.is_file():
        return read_json(work.file)
    began = time.monotonic()
    try:
        found = {"experts": _experts, "cell": _cell, "curve": _curve}[work.kind](work)
    except RunError as error:
        found = {"failure": str(error)}
    found = {"asked": work.asked, **found, "threads": torch.get_num_threads(), "wall_seconds": time.monotonic() - began}
    work.file.parent.mkdir(parents=True, exist_ok=True)
    write_text(work.file, json.dumps(found, indent=1) + "\n")
    return found


def _experts(work: Work) -> dict[str, Any]:
    """Experts of a recipe, trained or from the cache; their accuracy on the test images after the last epoch."""
    data, pool = _data(work.plan.data), work.recipe.pool
    assert isinstance(pool, Experts)
    context = make_context(work.recipe, data, work.ipc, 0, work.settings)
    state = pool.init(context)
    assert context.cache is not None
    network, folder = context.network(pool.network), context.cache / "experts" / state["folder"]
    test = data.require_test()
    accuracies = []
    for number in range(pool.count):
        weights = read_snapshot(trajectory_path(folder, number), pool.course.epochs, network)
        right = 0
        for rows in torch.arange(len(test)).split(1000):
            images = context.spec.normalization.apply(test.images(rows))
            right += int((forward(network, weights, images).argmax(dim=1) == test.labels[rows]).sum())
        accuracies.append(right / len(test))
    return {
        "avg_var": [entry["avg_var"] for entry in state["experts"]],
        "accuracy_as_trained": [entry["accuracy"] for entry in state["experts"]],
        "test_accuracy": accuracies,
        "changes": [entry["changes"] for entry in state["experts"]],
    }


def _cell(work: Work) -> dict[str, Any]:
    """One set, judged under every protocol."""
    data, execution = _data(work.plan.data), replace(work.settings, snapshots=0)
    distilled = distill(
        work.recipe, data, ipc=work.ipc, seed=work.seed, out=work.folder, storage="uint8", settings=work.settings
    )
    found: dict[str, Any] = {"bytes": distilled.bytes, "student_lr": distilled.student_lr}
    record = read_json(work.folder / "record.json")
    found |= {name: record.get(name) for name in ("seconds", "peak_memory_bytes", "final_loss", "hardware", "versions")}
    found["protocols"] = {}
    for protocol in work.judges:
        scores = read_json(judge(work.folder, distilled, data, protocol, seed=work.seed, execution=execution))
        (network,) = scores["networks"]
        found["protocols"][protocol.name] = {"accuracies": network["accuracies"], "seconds": scores["seconds"]}
    return found


def _curve(work: Work) -> dict[str, Any]:
    """The snapshots of a run that is there, judged under the first protocol."""
    data, execution = _data(work.plan.data), replace(work.settings, snapshots=0)
    path = judge_snapshots(work.folder, data, work.judges[0], seed=work.seed, execution=execution)
    named = ("step", "iteration", "seconds", "mean", "std")
    return {"points": [{name: point[name] for name in named} for point in read_json(path)["points"]]}


@functools.cache
def _data(source: str) -> Data:
    return load(source)


def _hash(told: dict[str, Any]) -> str:
    return hashlib.blake2b(json.dumps(told, sort_keys=True).encode(), digest_size=8).hexdigest()


def table(
    plan: Plan, processes: int = 1, part: tuple[int, int] = (1, 1), say: Callable[[str], None] = lambda line: None
) -> dict[str, Any] | None:
    """All rows, or nothing if only a part of the work was asked for.

    Args:
        plan: what the table is made of.
        processes: how many tasks at a time.
        part: which part of the tasks of how many, from 1.
        say: reports progress.
    """
    rows = lines(plan)
    keys = [(name, ipc, seed) for name in rows for ipc in plan.ipcs for seed in plan.seeds]
    cells: dict[tuple[str, int, int], Work] = {}
    for name, ipc, seed in keys:
        line = rows[name]
        cells[name, ipc, seed] = Work(plan, "cell", line.recipes[ipc], ipc, seed)
    files = list({work.file: None for work in cells.values()})
    first, last = (len(files) * number // part[1] for number in (part[0] - 1, part[0]))
    chosen = {key: work for key, work in cells.items() if work.file in files[first:last]}
    found: dict[Path, dict[str, Any]] = {}

    def wave(name: str, works: Iterable[Work]) -> None:
        todo = list({work.file: work for work in works}.values())
        for number, (work, one) in enumerate(zip(todo, _done(todo, processes), strict=True), 1):
            found[work.file] = one
            told = one.get("failure") or f"{one['wall_seconds']:.0f} s"
            say(f"{name} {number} of {len(todo)}: {work.recipe.name}, IPC {work.ipc}, seed {work.seed}: {told}")

    wave("experts", (_experts_of(work) for work in chosen.values() if work.recipe.pool is not None))
    wave("sets", chosen.values())
    growing = [replace(work, kind="curve") for (name, _, _), work in chosen.items() if rows[name].grows]
    wave("curves", (work for work in growing if "failure" not in found[replace(work, kind="cell").file]))
    if part[1] > 1:
        return None
    made = []
    for name, line in rows.items():
        for ipc in plan.ipcs:
            own = [cells[name, ipc, seed] for seed in plan.seeds]
            others = [cells[line.against, ipc, seed] for seed in plan.seeds if (line.against, ipc, seed) in cells]
            row = _row(line, ipc, own, [found[work.file] for work in own], [found[work.file] for work in others])
            if line.recipes[ipc].pool is not None:
                row["experts"] = _told_of_experts(found[_experts_of(own[0]).file])
            if line.grows:
                curves = [found.get(replace(work, kind="curve").file, {}) for work in own]
                row["curves"] = [curve["points"] for curve in curves if "points" in curve]
            made.append(row)
    told = {name: value for name, value in vars(plan).items() if name != "out"}
    return {"rules": _rules(plan), "plan": told, "rows": made}


def _experts_of(work: Work) -> Work:
    """The experts of a set: those of all seeds are the same."""
    return replace(work, kind="experts", seed=0)


def _done(todo: Sequence[Work], processes: int) -> Iterator[dict[str, Any]]:
    if processes > 1 and sum(not work.file.is_file() for work in todo) > 1:
        return Processes(processes).map(do, todo)
    return map(do, todo)


def _rules(plan: Plan) -> dict[str, str]:
    model = mtt(plan.preset).objective
    assert isinstance(model, TrajectoryMatching)
    return {
        "labels": "hard, of every row",
        "images": "those after the last step; FTD's are their average over time",
        "accuracy": "test images, after the last epoch; nothing chosen on them; mean ± deviation of the seeds' means",
        "storage": "8 bits per value, every row: equal bytes",
        "step size": f"limbeck: the same for all; mtt: that of the set, {model.student_lr} for sets that learnt none",
        "experts": "seed 0, shared by all seeds and rows of equal training; AvgVar over all epochs; accuracy after the "
        "last epoch, on test images",
        "differences": "seed by seed, mean of the seeds' differences of means; seeds that are better, of all",
    }


def _row(
    line: Line, ipc: int, works: list[Work], found: list[dict[str, Any]], others: list[dict[str, Any]]
) -> dict[str, Any]:
    """What the table says of a row at one IPC.

    Args:
        line: the row.
        ipc: images per class.
        works: its cells, one for each seed.
        found: what came out.
        others: of the row that it is compared with, seed by seed; empty for none.
    """
    sound = [one for one in found if "failure" not in one]
    row: dict[str, Any] = {
        "name": line.name,
        "ipc": ipc,
        "seeds": [work.seed for work in works],
        "failures": {
            str(work.seed): one["failure"] for work, one in zip(works, found, strict=True) if "failure" in one
        },
        "recipe": encode(line.recipes[ipc]),
        "bytes": sound[0]["bytes"] if sound else None,
        "student_lr": [one["student_lr"] for one in sound],
        "distil_seconds": [one["seconds"] for one in sound],
        "threads": sorted({one["threads"] for one in sound}),
        "runs": [work.folder.name for work in works],
        "protocols": {},
    }
    for name in sound[0]["protocols"] if sound else ():
        judged = [one["protocols"][name] for one in sound]
        row["protocols"][name] = {
            "accuracies": [one["accuracies"] for one in judged],
            **_spread([statistics.fmean(one["accuracies"]) for one in judged]),
            "evaluation_seconds": [one["seconds"] for one in judged],
        }
        pairs = [
            _mean(one, name) - _mean(other, name)
            for one, other in zip(found, others, strict=False)
            if "failure" not in one and "failure" not in other
        ]
        if pairs:
            told = {"against": line.against, "of_seeds": pairs, "better": sum(pair > 0 for pair in pairs)}
            row["protocols"][name]["difference"] = {**told, **_spread(pairs)}
    return row


def _mean(cell: dict[str, Any], protocol: str) -> float:
    return statistics.fmean(cell["protocols"][protocol]["accuracies"])


def _told_of_experts(found: dict[str, Any]) -> dict[str, Any]:
    """Figures of every expert and their means, or why there are none."""
    told = {name: value for name, value in found.items() if name != "asked"}
    if "failure" in told:
        return told
    return {
        **told,
        "mean_avg_var": statistics.fmean(told["avg_var"]),
        "mean_test_accuracy": statistics.fmean(told["test_accuracy"]),
    }


def _spread(values: list[float]) -> dict[str, float]:
    return {"mean": statistics.fmean(values), "std": statistics.stdev(values) if len(values) > 1 else 0.0}


def markdown(result: dict[str, Any]) -> str:
    """The table, and accuracy on the way of the rows that have it."""
    judges = result["plan"]["judges"]
    heads = ["IPC", "row", "bytes"]
    for name in judges:
        heads += [f"{name}, %", f"{name}, difference"]
    heads += ["AvgVar of experts", "experts, %", "seconds of a seed: distilling + judging"]
    text = [_cells(heads), _cells(["---"] * len(heads))]
    for row in result["rows"]:
        cells = [str(row["ipc"]), row["name"], "" if row["bytes"] is None else f"{row['bytes']:,}"]
        judged = row["protocols"]
        for name in judges:
            means = [statistics.fmean(some) for some in judged[name]["accuracies"]] if name in judged else []
            cells += [spread(means), _difference(judged.get(name, {}).get("difference"))]
        experts = row.get("experts", {})
        cells += [f"{experts['mean_avg_var']:.3g}" if "mean_avg_var" in experts else ""]
        cells += [spread(experts["test_accuracy"]) if "test_accuracy" in experts else ""]
        spent = [row["distil_seconds"], *(judged[name]["evaluation_seconds"] for name in judged)]
        cells += [" + ".join(f"{statistics.fmean(values):.0f}" for values in spent if values)]
        text.append(_cells(cells) + (f" failed: {', '.join(row['failures'])}" if row["failures"] else ""))
    grown = [row for row in result["rows"] if row.get("curves")]
    if grown:
        text += ["", f"Accuracy on the way, protocol {judges[0]}, %:", ""]
        steps = [point["iteration"] for point in grown[0]["curves"][0]]
        text += [_cells(["IPC", "row", *map(str, steps)]), _cells(["---"] * (2 + len(steps)))]
        for row in grown:
            reached = [spread([point["mean"] for point in at]) for at in zip(*row["curves"], strict=True)]
            text.append(_cells([str(row["ipc"]), row["name"], *reached]))
    return "\n".join(text)


def _cells(values: Sequence[str]) -> str:
    return f"| {' | '.join(values)} |"


def _difference(found: dict[str, Any] | None) -> str:
    """Signed, with the seeds that are better."""
    if found is None:
        return ""
    count = len(found["of_seeds"])
    wide = f" ± {100 * found['std']:.1f}" if count > 1 else ""
    return f"{100 * found['mean']:+.1f}{wide} to {found['against']} ({found['better']} of {count})"


def main(words: Sequence[str] | None = None) -> int:
    """Do the work, show and write the table; the exit status."""
    options = _parser().parse_args(words)
    preset = options.preset or ("digits" if options.data == "digits" else "small")
    compile = options.compile
    if compile == "auto":
        compile = "on" if preset != "digits" and can_compile(torch.device("cpu")) else "off"
    name = Path(options.data).name
    threads = options.threads or (1 if options.processes > 1 else 0)
    if threads:
        os.environ["OMP_NUM_THREADS"] = str(threads)
    plan = Plan(
        what=options.what,
        data=options.data,
        preset=preset,
        ipcs=tuple(options.ipc),
        seeds=tuple(range(options.seeds)),
        out=options.out or Path("runs") / f"trajectory-{name}",
        judges=tuple(options.protocols),
        updates=options.updates,
        epochs=options.epochs,
        repeats=options.networks,
        snapshots=options.snapshots,
        iterations=options.iterations,
        experts=options.experts,
        only=tuple(options.rows),
        compile=compile,
        threads=threads,
    )
    part = tuple(int(number) for number in options.part.split("/"))
    if len(part) != 2 or not 1 <= part[0] <= part[1]:
        raise InputError(f"--part is one of several, for example 1/2, not {options.part}.")
    result = table(plan, options.processes, (part[0], part[1]), lambda line: print(line, file=sys.stderr, flush=True))
    if result is None:
        print("this part is done; the whole command makes the table")
        return 0
    about = {
        "label": options.label or name,
        "command": shlex.join(["python", "benchmarks/tables/trajectory.py", *(words or sys.argv[1:])]),
        "hardware": hardware(torch.device("cpu")),
        "versions": versions(),
    }
    file = options.results / f"trajectory-{plan.what}-{name}{'-part' if plan.only else ''}.json"
    write_text(file, json.dumps({**about, **result}, indent=1) + "\n")
    if options.picture is not None:
        write_bytes(options.picture, _picture(plan, result))
    print(f"{about['label']}, preset {preset}, seeds {', '.join(map(str, plan.seeds))}\n")
    print(markdown(result))
    return 0


def _picture(plan: Plan, result: dict[str, Any]) -> bytes:
    """Accuracy on the way, of all rows that have it."""
    folders = [(row["name"], name) for row in result["rows"] if row.get("curves") for name in row["runs"]]
    read = [read_run(plan.out / "runs" / folder) for _, folder in folders]
    if not read:
        raise InputError("no row has judged snapshots; leave --picture out, or ask for --snapshots above 0.")
    return accuracy_curves(growths(read, [name for name, _ in folders])[0], width=1000, form="png")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--what", choices=PREPARED, required=True)
    parser.add_argument("--data", default="digits")
    parser.add_argument("--label", default="", help="what the data are called in the table")
    parser.add_argument("--preset", choices=("small", "digits"), help="digits for the digits, else small")
    parser.add_argument("--ipc", nargs="+", type=int, default=[10])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rows", nargs="+", default=[], help="rows to make; all by default")
    parser.add_argument("--protocols", nargs="+", choices=("limbeck", "mtt"), default=["limbeck", "mtt"])
    parser.add_argument("--updates", type=int, default=1000, help="SGD steps of a network under limbeck")
    parser.add_argument("--epochs", type=int, default=1000, help="epochs under mtt")
    parser.add_argument("--networks", type=int, default=3, help="networks of each seed")
    parser.add_argument("--snapshots", type=int, default=4, help="states on the way that are judged, of mtt and ast")
    parser.add_argument("--iterations", type=int, default=0, help="in the place of the preset's")
    parser.add_argument("--experts", type=int, default=0, help="in the place of the preset's")
    parser.add_argument("--compile", choices=("auto", "on", "off"), default="auto", help="of all rows alike")
    parser.add_argument("--processes", type=int, default=1, help="tasks at a time, each with one thread")
    parser.add_argument("--threads", type=int, default=0, help="of each process")
    parser.add_argument("--part", default="1/1", help="only this part of the work, for example 1/2")
    parser.add_argument("--out", type=Path, help="folder of experts, runs and cells; both tables may share it")
    parser.add_argument("--results", type=Path, default=ROOT / "benchmarks/results", help="folder of the table's file")
    parser.add_argument("--picture", type=Path, help="file for accuracy on the way, PNG")
    return parser


if __name__ == "__main__":
    sys.exit(main())
