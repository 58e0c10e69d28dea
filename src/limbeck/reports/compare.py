"""`compare`: several methods and baselines at equal cost, under one protocol, in one table."""

from __future__ import annotations

import functools
import json
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from limbeck.core.context import Context
from limbeck.core.contracts import Objective
from limbeck.core.errors import InputError
from limbeck.core.executor import Executor
from limbeck.core.recipe import Recipe
from limbeck.data import Data
from limbeck.engine.distill import distill, make_context
from limbeck.engine.folder import RECORD
from limbeck.engine.groups import chains
from limbeck.engine.progress import Progress, progress
from limbeck.engine.settings import Settings
from limbeck.evaluation.diversity import DiversityProtocol, Reference, refer
from limbeck.evaluation.evaluate import check, evaluate_real
from limbeck.evaluation.labels import ByTeacher
from limbeck.evaluation.protocols import Protocol
from limbeck.evaluation.teaching import recipe_teacher, teacher_labels
from limbeck.reports.budget import largest_ipc
from limbeck.reports.comparison import COMPARISON, Comparison, Row, TrainedOn
from limbeck.reports.judging import judge, judge_diversity, judge_snapshots
from limbeck.reports.matrix import MATRIX, as_csv
from limbeck.reports.migration import judge_migration
from limbeck.reports.runs import as_text, evaluation_file, read_json, scores_as_plain
from limbeck.storage.atomic import write_text

__all__ = ["LabelChoice", "RecipeOf", "compare"]

LabelChoice = Literal["hard", "soft"]
RecipeOf = Recipe | Callable[[int], Recipe]
"""A recipe, or what gives one for a number of images per class, where settings depend on it."""


@dataclass(frozen=True)
class _Job:
    """Sets of one method at one IPC, one for each seed, and the kinds of labels that they are judged with."""

    name: str
    ipc: int
    recipe: Recipe
    kinds: tuple[LabelChoice, ...]

    def network(self, data: Data, settings: Settings, seed: int) -> str:
        """The network that looks at images while they are learnt; empty where none are."""
        if self.recipe.objective is None or self.recipe.pool is None:
            return ""
        return self.recipe.pool.architecture(make_context(self.recipe, data, self.ipc, seed, settings)).name


def compare(
    recipes: Mapping[str, RecipeOf],
    data: Data,
    *,
    ipcs: Sequence[int] = (),
    budget: int | None = None,
    cut_after: float | None = None,
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

    Every set is stored with 8 bits per value, as the real images are, so sets of one IPC have equal bytes of images. A
    budget counts labels as well. Of recipes that learn through several networks ``matrix.csv`` is written, too. Runs
    and evaluations that are in ``out`` already are not done again. Snapshots, if asked for, are judged as well.

    Args:
        recipes: by the name under which they appear; one, or a function of the IPC where settings depend on it.
        data: the data set; its test part judges.
        ipcs: stored images per class; none with a budget.
        budget: bytes of images and labels together; each method has the most images per class that fit, with the
            labels that it is judged with.
        cut_after: seconds after which every run is cut, as `limbeck.distill` does it; coresets take as long as they
            take.
        seeds: each distils, and trains networks, from random streams of its own.
        protocol: how sets are judged.
        out: folder for one run folder each, and for ``comparison.json``.
        full: also train on all real training images.
        diversity: also measure the diversity of every set, all by one teacher, whose seed is 0.
        labels: ``hard``, ``soft`` or both, which gives every set one row for each; what the protocol says by default.
            Hard labels are taught under the same protocol otherwise.
        teacher: who gives the soft labels of all sets; by default the teacher of the first recipe that brings one.
        settings: device, snapshots, looks and progress.
        executor: where independent tasks run.

    Raises:
        InputError: a recipe cannot run on this data with one of the IPCs, or the protocol cannot judge such images;
            nothing has been started then; soft labels are wanted and no recipe brings a teacher.
    """
    settings = settings or Settings()
    if bool(ipcs) == (budget is not None):
        raise InputError("a comparison is of sets of some IPC (--ipc) or of a number of bytes (--budget); give one.")
    if not recipes or not seeds or len(set(ipcs)) < len(ipcs) or len(set(seeds)) < len(seeds):
        raise InputError("a comparison needs at least one method, IPC and seed, each named once.")
    data.require_test()
    check(protocol, data.spec)
    kinds = _kinds(labels, protocol)
    ways = {kind: protocol if kind == "soft" else protocol.hard() for kind in kinds}
    if diversity is not None:
        diversity.check(data.spec)
    makers = {name: _maker(recipe) for name, recipe in recipes.items()}
    at = {(name, ipc): make(ipc) for ipc in ipcs or (1,) for name, make in makers.items()}
    taught = _Taught(at, data, seeds[0], settings, teacher) if "soft" in kinds else None
    jobs = [_Job(name, ipc, recipe, kinds) for (name, ipc), recipe in at.items()]
    if budget is not None:
        jobs = _within(budget, makers, data, {kind: taught if kind == "soft" else None for kind in kinds})
    if full and _needs_rate(protocol):
        raise _no_rate(protocol, "all real images have none")
    apart, watched = set(), set()
    for job in jobs:
        name, recipe = job.name, job.recipe
        context = make_context(recipe, data, job.ipc, seeds[0], settings)
        if chains(recipe, context) and not (recipe.curriculum and recipe.curriculum.segments(job.ipc)):
            apart.add(job)
        if recipe.sampler is not None and not chains(recipe, context):
            watched.add(job)
        if _needs_rate(protocol) and not (recipe.objective and "student_lr" in _learns(recipe.objective, context)):
            raise _no_rate(protocol, f"'{name}' learns none")
        _refuse_unequal_bytes(name, recipe)
    if settings.processes > 1 and not apart:
        raise InputError(
            "none of these recipes has groups of images that are learnt apart, for several processes to share; leave "
            "--processes out."
        )
    device = settings.torch_device()
    quiet = replace(settings, progress="quiet")
    judging = replace(settings, precision="float32")  # tables must not depend on how a run was sped up
    work = [(job, seed) for job in jobs for seed in seeds]
    found: dict[tuple[_Job, LabelChoice], list[dict[str, Any]]] = {}

    @functools.cache
    def reference() -> Reference:
        assert diversity is not None
        display.say("training the teacher that diversity is measured by")
        return refer(data.train, diversity, device=device, execution=judging)

    with progress(settings.progress) as display:
        display.start("comparing", len(work) + (len(seeds) if full else 0))
        soft = taught.labels(display) if taught is not None else None
        given = {kind: soft if kind == "soft" else None for kind in kinds}
        for done, (job, seed) in enumerate(work):
            display.say(f"{job.name}, IPC {job.ipc}, seed {seed}")
            folder = out / f"{job.name}-ipc{job.ipc}-seed{seed}"
            # A coreset takes no steps, so there is nothing to keep snapshots of, or to cut.
            learns = job.recipe.objective is not None
            chosen = quiet if learns else replace(quiet, snapshots=0)
            chosen = chosen if job in watched else replace(chosen, watch=0)
            chosen = chosen if job in apart else replace(chosen, processes=1)
            began = time.monotonic()
            distilled = distill(
                job.recipe,
                data,
                ipc=job.ipc,
                seed=seed,
                out=folder,
                storage="uint8",
                cut_after=cut_after if learns else None,
                settings=chosen,
                executor=executor,
            )
            spent = _recorded(folder, time.monotonic() - began)
            for kind in job.kinds:
                how: dict[str, Any] = {"labels": given[kind], "seed": seed, "device": device, "execution": judging}
                path = judge(folder, distilled, data, ways[kind], executor=executor, **how)
                if chosen.snapshots:
                    judge_snapshots(folder, data, ways[kind], executor=executor, **how)
                    judge_migration(folder, device=device)
                entry = json.loads(path.read_text(encoding="utf-8"))
                found.setdefault((job, kind), []).append({**entry, **spent})
            if diversity is not None:
                judge_diversity(folder, distilled, data, diversity, reference, execution=judging)
            display.advance(done + 1)
        rows = [
            replace(_row(job, entries, tuple(seeds), budget or 0), distilled_on=job.network(data, settings, seeds[0]))
            for (job, _), entries in found.items()
        ]
        for kind in kinds if full else ():
            rows.append(_full(data, ways[kind], given[kind], seeds, out, settings, executor, display, len(work)))
    comparison = Comparison(
        data.spec.name,
        ways["soft"] if "soft" in ways else ways["hard"],
        tuple(rows),
        None if soft is None else soft.teacher.as_plain(),
        "" if taught is None else taught.brought_by,
        cut_after,
    )
    write_text(out / COMPARISON, json.dumps(comparison.as_plain(), indent=2) + "\n")
    lines = as_csv(rows)
    if lines is not None:
        write_text(out / MATRIX, lines)
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


def _maker(recipe: RecipeOf) -> Callable[[int], Recipe]:
    """The recipe by IPC, made once for each."""
    return (lambda ipc: recipe) if isinstance(recipe, Recipe) else functools.cache(recipe)


def _within(
    budget: int, makers: Mapping[str, Callable[[int], Recipe]], data: Data, kinds: Mapping[LabelChoice, _Taught | None]
) -> list[_Job]:
    """The sets that a budget holds: where labels of one kind take more bytes, there are fewer images."""
    jobs = []
    for name, make in makers.items():
        by_ipc: dict[int, list[LabelChoice]] = {}
        for kind, taught in kinds.items():
            ipc = largest_ipc(budget, name, make, data.train, None if taught is None else taught.bytes())
            by_ipc.setdefault(ipc, []).append(kind)
        jobs += [_Job(name, ipc, make(ipc), tuple(some)) for ipc, some in by_ipc.items()]
    return jobs


def _needs_rate(protocol: Protocol) -> bool:
    """Whether only sets that have learnt a step size can be judged."""
    return protocol.lr_of_set == "required" and not protocol.learning_rates


def _learns(objective: Objective, context: Context) -> Mapping[str, Any]:
    """What a run learns beside the images."""
    return objective.learnt(objective.init(context))


def _no_rate(protocol: Protocol, cause: str) -> InputError:
    return InputError(
        f"protocol '{protocol.name}' trains with the step size that a set has learnt, and {cause}; name one for sets "
        "without (--lr), take protocol 'limbeck', or leave out what learns none (coresets: --no-baselines)."
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

    def bytes(self) -> int:
        """Those of the teacher's weights, known before it is trained."""
        if self._named is not None:
            return self._named.bytes
        context = make_context(self._recipe, self._data, self._ipc, self._seed, self._settings)
        teacher = recipe_teacher(self._recipe)
        assert teacher is not None
        state = teacher.architecture(context).module().state_dict()
        return sum(tensor.numel() * tensor.element_size() for tensor in state.values())

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


def _recorded(folder: Path, measured: float) -> dict[str, Any]:
    """Wall time of the run itself, and whether it was cut, from its record, also when it had been done earlier."""
    path = folder / RECORD
    record = read_json(path) if path.is_file() else {"seconds": measured}
    return {"distil_seconds": float(record["seconds"]), "cut": record.get("cut")}


def _row(job: _Job | None, entries: list[dict[str, Any]], seeds: tuple[int, ...], budget: int = 0) -> Row:
    """The row of a method, or without one that of all real images."""
    networks = [network for entry in entries for network in entry["networks"]]
    accuracies = [value for network in networks for value in network["accuracies"]]
    selected = [value for network in networks for value in network.get("selected_on_test", ())]
    cuts = [entry["cut"] for entry in entries if entry.get("cut")]
    return Row(
        method="full" if job is None else job.name,
        ipc=0 if job is None else job.ipc,
        bytes=entries[0]["bytes"],
        training_images=entries[0]["training_images"],
        accuracies=tuple(accuracies),
        seconds=statistics.fmean(entry["distil_seconds"] for entry in entries),
        evaluation_seconds=statistics.fmean(entry["seconds"] for entry in entries),
        seeds=seeds,
        bytes_labels=entries[0].get("bytes_labels", 0),
        label_kind=entries[0].get("label_kind", "hard"),
        selected_on_test=tuple(selected),
        coreset="" if job is None or job.recipe.objective is not None else job.recipe.name,
        budget=0 if job is None else budget,
        cut=tuple((cut["step"], cut["of"]) for cut in cuts),
        trained_on=_trained_on(networks),
        test_evaluations=max(entry.get("test_evaluations", 1) for entry in entries),
        selection=entries[0].get("selection", "none"),
    )


def _trained_on(networks: Sequence[Mapping[str, Any]]) -> tuple[TrainedOn, ...]:
    """Networks of all seeds, by architecture."""
    return tuple(
        TrainedOn(
            name,
            tuple(value for one in networks if one["network"] == name for value in one["accuracies"]),
            tuple(sorted({one["lr"] for one in networks if one["network"] == name})),
        )
        for name in dict.fromkeys(one["network"] for one in networks)
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
    return _row(None, entries, tuple(seeds))
