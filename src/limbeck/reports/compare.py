"""`compare`: several methods and baselines at equal bytes, under one protocol, in one table."""

from __future__ import annotations

import functools
import json
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from limbeck.core.context import Context
from limbeck.core.contracts import Objective
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
from limbeck.evaluation.labels import ByTeacher, LabelKind
from limbeck.evaluation.protocols import Protocol
from limbeck.evaluation.scores import Selection
from limbeck.evaluation.teaching import recipe_teacher, teacher_labels
from limbeck.reports.judging import judge, judge_diversity, judge_snapshots
from limbeck.reports.runs import as_text, evaluation_file, scores_as_plain
from limbeck.storage.atomic import write_text

__all__ = ["COMPARISON", "Comparison", "LabelChoice", "Row", "compare", "told_apart"]

COMPARISON = "comparison.json"
LabelChoice = Literal["hard", "soft"]


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
        bytes_labels: bytes of labels: 0 for hard ones, else of those that the set carries, of the teacher's weights or
            of stored files.
        label_kind: ``hard``, ``own`` (soft ones that the set carries), ``teacher`` or ``stored``.
        selected_on_test: best look at the test images of every network, where the protocol looks during training; no
            fair figure.
        test_evaluations: looks at the test images for each network.
        selection: what was chosen by looking at the outcome.
    """

    method: str
    ipc: int
    bytes: int
    training_images: int
    accuracies: tuple[float, ...]
    seconds: float
    evaluation_seconds: float
    seeds: tuple[int, ...]
    bytes_labels: int = 0
    label_kind: LabelKind = "hard"
    selected_on_test: tuple[float, ...] = ()
    test_evaluations: int = 1
    selection: Selection = "none"

    @property
    def mean(self) -> float:
        """Mean accuracy."""
        return statistics.fmean(self.accuracies)

    @property
    def best(self) -> float | None:
        """Mean of the best looks at the test images; None where the protocol looks once."""
        return statistics.fmean(self.selected_on_test) if self.selected_on_test else None

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
        teacher: whose soft labels the sets had, all of them the same; None without soft labels.
        brought_by: the recipe whose teacher that is; empty where it was named.
    """

    data: str
    protocol: Protocol
    rows: tuple[Row, ...]
    teacher: dict[str, Any] | None = None
    brought_by: str = ""

    def as_plain(self) -> dict[str, Any]:
        """As plain data, means and deviations included."""
        rows = [
            {**encode(row), "mean": row.mean, "std": row.std, "last": row.mean, "best": row.best} for row in self.rows
        ]
        taught = {"teacher": self.teacher, "brought_by": self.brought_by} if self.teacher else {}
        return {"data": self.data, "protocol": encode(self.protocol), **taught, "rows": rows}


def told_apart(rows: Sequence[Row]) -> list[Row]:
    """The rows with the kind of their labels in their names, where there is more than one kind; for pictures."""
    if len({row.label_kind for row in rows}) < 2:
        return list(rows)
    kinds = {"hard": "hard labels", "own": "own soft labels", "teacher": "soft labels", "stored": "stored labels"}
    return [row if not row.ipc else replace(row, method=f"{row.method} ({kinds[row.label_kind]})") for row in rows]


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
    labels: Sequence[LabelChoice] = (),
    teacher: ByTeacher | None = None,
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
        labels: ``hard``, ``soft`` or both, which gives every set one row for each; what the protocol says by default.
            Hard labels are taught under the same protocol otherwise.
        teacher: who gives the soft labels of all sets; by default the teacher of the first recipe that brings one.
        settings: device, snapshots and progress.
        executor: where independent tasks run.

    Raises:
        InputError: a recipe cannot run on this data with one of the IPCs, or the protocol cannot judge such images;
            nothing has been started then; soft labels are wanted and no recipe brings a teacher.
    """
    settings = settings or Settings()
    if not recipes or not ipcs or not seeds or len(set(ipcs)) < len(ipcs) or len(set(seeds)) < len(seeds):
        raise InputError("a comparison needs at least one method, IPC and seed, each named once.")
    data.require_test()
    check(protocol, data.spec)
    kinds = _kinds(labels, protocol)
    ways = {kind: protocol if kind == "soft" else protocol.hard() for kind in kinds}
    if diversity is not None:
        diversity.check(data.spec)
    at = {
        (name, ipc): recipe if isinstance(recipe, Recipe) else recipe[ipc]
        for name, recipe in recipes.items()
        for ipc in ipcs
    }
    if full and _needs_rate(protocol):
        raise _no_rate(protocol, "all real images have none")
    apart = set()
    for (name, ipc), recipe in at.items():
        context = make_context(recipe, data, ipc, seeds[0], settings)
        if chains(recipe, context) and not (recipe.curriculum and recipe.curriculum.segments(ipc)):
            apart.add((name, ipc))
        if _needs_rate(protocol) and not (recipe.objective and "student_lr" in _learns(recipe.objective, context)):
            raise _no_rate(protocol, f"'{name}' learns none")
        _refuse_unequal_bytes(name, recipe)
    if settings.processes > 1 and not apart:
        raise InputError(
            "none of these recipes has groups of images that are learnt apart, for several processes to share; leave "
            "--processes out."
        )
    device = settings.torch_device()
    taught = _Taught(at, data, seeds[0], settings, teacher) if "soft" in kinds else None
    quiet = replace(settings, progress="quiet")
    judging = replace(settings, precision="float32")  # tables must not depend on how a run was sped up
    work = [(ipc, name, seed) for ipc in ipcs for name in recipes for seed in seeds]
    found: dict[tuple[int, str, LabelChoice], list[dict[str, Any]]] = {}

    @functools.cache
    def reference() -> Reference:
        assert diversity is not None
        display.say("training the teacher that diversity is measured by")
        return refer(data.train, diversity, device=device, execution=judging)

    with progress(settings.progress) as display:
        display.start("comparing", len(work) + (len(seeds) if full else 0))
        soft = taught.labels(display) if taught is not None else None
        given = {kind: soft if kind == "soft" else None for kind in kinds}
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
            for kind, way in ways.items():
                how: dict[str, Any] = {"labels": given[kind], "seed": seed, "device": device, "execution": judging}
                path = judge(folder, distilled, data, way, executor=executor, **how)
                if chosen.snapshots:
                    judge_snapshots(folder, data, way, executor=executor, **how)
                entry = json.loads(path.read_text(encoding="utf-8"))
                found.setdefault((ipc, name, kind), []).append({**entry, "distil_seconds": spent})
            if diversity is not None:
                judge_diversity(folder, distilled, data, diversity, reference, execution=judging)
            display.advance(done + 1)
        rows = [_row(name, ipc, entries, tuple(seeds)) for (ipc, name, _), entries in found.items()]
        for kind in kinds if full else ():
            rows.append(_full(data, ways[kind], given[kind], seeds, out, settings, executor, display, len(work)))
    comparison = Comparison(
        data.spec.name,
        ways["soft"] if "soft" in ways else ways["hard"],
        tuple(rows),
        None if soft is None else soft.teacher.as_plain(),
        "" if taught is None else taught.brought_by,
    )
    write_text(out / COMPARISON, json.dumps(comparison.as_plain(), indent=2) + "\n")
    return comparison


def _kinds(labels: Sequence[LabelChoice], protocol: Protocol) -> tuple[LabelChoice, ...]:
    """Kinds of labels that every set is judged with."""
    if len(set(labels)) < len(labels):
        raise InputError("--labels takes hard, soft or both, each once.")
    if "soft" in labels and protocol.soft is None:
        raise InputError(
            f"protocol '{protocol.name}' teaches by the labels of the set alone; for soft labels take another, for "
            "example --protocol limbeck_soft."
        )
    return tuple(labels) or (("hard",) if protocol.soft is None else ("soft",))


def _needs_rate(protocol: Protocol) -> bool:
    """Whether only sets that have learnt a step size can be judged."""
    return protocol.lr_of_set == "required" and not protocol.learning_rates


def _learns(objective: Objective, context: Context) -> Mapping[str, Any]:
    """What a run learns beside the images."""
    return objective.learnt(objective.init(context))


def _no_rate(protocol: Protocol, cause: str) -> InputError:
    return InputError(
        f"protocol '{protocol.name}' trains with the step size that a set has learnt, and {cause}; name one for sets "
        "without (--lr), or take protocol 'limbeck'."
    )


class _Taught:
    """One teacher for all sets: the one named, or that of the first recipe that brings one."""

    def __init__(
        self,
        recipes: Mapping[tuple[str, int], Recipe],
        data: Data,
        seed: int,
        settings: Settings,
        named: ByTeacher | None,
    ) -> None:
        self.brought_by = ""
        self._named = named
        if named is not None:
            return
        bringing = [(name, ipc) for (name, ipc), recipe in recipes.items() if recipe_teacher(recipe) is not None]
        if not bringing:
            raise InputError(
                "soft labels need a teacher and no method here brings one; name one with --taught-by, for example "
                "--taught-by convnet3:norm=batch, or take the labels of the sets (--labels hard)."
            )
        (self.brought_by, self._ipc), *_ = bringing
        self._recipe, self._data, self._seed, self._settings = recipes[bringing[0]], data, seed, settings

    def labels(self, display: Progress) -> ByTeacher:
        """The teacher, trained or loaded as the run of its recipe will have it."""
        if self._named is not None:
            return self._named
        display.say(f"the teacher of '{self.brought_by}' labels all sets")
        context = make_context(self._recipe, self._data, self._ipc, self._seed, self._settings, say=display.say)
        teacher = recipe_teacher(self._recipe)
        assert teacher is not None
        return teacher_labels(teacher, context, f"'{self.brought_by}'")


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
    networks = [network for entry in entries for network in entry["networks"]]
    accuracies = [value for network in networks for value in network["accuracies"]]
    selected = [value for network in networks for value in network.get("selected_on_test", ())]
    return Row(
        method=name,
        ipc=ipc,
        bytes=entries[0]["bytes"],
        training_images=entries[0]["training_images"],
        accuracies=tuple(accuracies),
        seconds=statistics.fmean(entry["distil_seconds"] for entry in entries),
        evaluation_seconds=statistics.fmean(entry["seconds"] for entry in entries),
        seeds=seeds,
        bytes_labels=entries[0].get("bytes_labels", 0),
        label_kind=entries[0].get("label_kind", "hard"),
        selected_on_test=tuple(selected),
        test_evaluations=max(entry.get("test_evaluations", 1) for entry in entries),
        selection=entries[0].get("selection", "none"),
    )


def _full(
    data: Data,
    protocol: Protocol,
    labels: ByTeacher | None,
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
        digest = labels.digest if labels is not None else ""
        path = out / "full" / evaluation_file(protocol, seed, data.spec.digest, labels=digest)
        if not path.is_file():
            scores = evaluate_real(
                data.train,
                data.require_test(),
                protocol,
                labels=labels,
                seed=seed,
                validation=data.validation,
                device=settings.torch_device(),
                execution=replace(settings, precision="float32"),
                executor=executor,
            )
            path.parent.mkdir(parents=True, exist_ok=True)
            write_text(path, as_text(scores_as_plain(scores, size)))
        entries.append({**json.loads(path.read_text(encoding="utf-8")), "distil_seconds": 0.0})
        display.advance(done + number + 1)
    return _row("full", 0, entries, tuple(seeds))
