"""Evaluations that are files: what has been judged once is read back, not judged again."""

from __future__ import annotations

import functools
import itertools
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from limbeck.core.distilled import Distilled
from limbeck.core.errors import InputError
from limbeck.core.execution import ExecutionSettings, Precision
from limbeck.core.executor import Executor
from limbeck.data import Data
from limbeck.engine.folder import RECORD
from limbeck.engine.snapshots import Snapshot, iterations_done, read_snapshots
from limbeck.evaluation.diversity import DiversityProtocol, Reference, diversity
from limbeck.evaluation.evaluate import evaluate
from limbeck.evaluation.labels import Labels
from limbeck.evaluation.protocols import Protocol
from limbeck.formats.native import load
from limbeck.reports.runs import (
    diversity_file,
    evaluation_file,
    read_json,
    write_diversity,
    write_scores,
)
from limbeck.storage.atomic import write_text

__all__ = ["PREFIXES", "judge", "judge_diversity", "judge_prefixes", "judge_snapshots", "states"]

PREFIXES = "prefixes"
"""Folder of a run with a folder of scores for each prefix of its segments, named by its images per class."""

Done = Callable[[int, int], None]


def judge(
    folder: Path,
    distilled: Distilled,
    data: Data,
    protocol: Protocol,
    *,
    labels: Labels | None = None,
    seed: int = 0,
    device: torch.device | None = None,
    execution: ExecutionSettings | None = None,
    executor: Executor | None = None,
    done: Done | None = None,
) -> Path:
    """The file with the scores of a set, made by an evaluation unless it is there.

    Args:
        folder: of the set.
        distilled: the set.
        data: whose test images judge, and whose validation images choose where the protocol leaves a choice.
        protocol: how it is judged.
        labels: soft labels, where the protocol teaches by them.
        seed: seed of the networks.
        device: where to compute; the CPU by default.
        execution: how training steps are computed.
        executor: where the networks are trained; this process by default.
        done: called after each network with the number of networks done and of all.
    """
    path = folder / evaluation_file(
        protocol, seed, distilled.storage, _elsewhere(data, distilled), _precision(execution), _digest(labels)
    )
    if path.is_file():
        if done is not None:
            done(_networks(protocol), _networks(protocol))
        return path
    test = data.require_test()
    scores = evaluate(
        distilled,
        test,
        protocol,
        labels=labels,
        seed=seed,
        validation=data.validation,
        device=device,
        execution=execution,
        executor=executor,
        done=done,
    )
    return write_scores(folder, scores, distilled, data.spec)


def judge_diversity(
    folder: Path,
    distilled: Distilled,
    data: Data,
    protocol: DiversityProtocol,
    reference: Callable[[], Reference],
    *,
    seed: int = 0,
    execution: ExecutionSettings | None = None,
    done: Done | None = None,
) -> Path:
    """The file with the diversity of a set, measured unless it is there.

    Args:
        folder: of the set.
        distilled: the set.
        data: whose real images it is measured against.
        protocol: how it is measured.
        reference: gives what it is measured against, asked for only when it is needed; made with the same protocol,
            data, seed and execution.
        seed: seed of the teacher.
        execution: how the teacher's steps are computed.
        done: called after each class with the number of classes done and of all.
    """
    path = folder / diversity_file(
        protocol, seed, distilled.storage, _elsewhere(data, distilled), _precision(execution)
    )
    if path.is_file():
        return path
    against = reference()
    assert (against.protocol, against.seed) == (protocol, seed), "the reference was made otherwise"
    return write_diversity(folder, diversity(distilled, against, done=done), distilled, data.spec)


def judge_snapshots(
    run: Path,
    data: Data,
    protocol: Protocol,
    *,
    labels: Labels | None = None,
    seed: int = 0,
    device: torch.device | None = None,
    execution: ExecutionSettings | None = None,
    executor: Executor | None = None,
    done: Done | None = None,
) -> Path:
    """Judge all snapshots of a finished run and its result, and write how accuracy grew; the file's path.

    Every set keeps its scores in its own folder, so that the same call continues where it was stopped.

    Args:
        run: its folder.
        data: whose test images judge, and whose validation images choose where the protocol leaves a choice.
        protocol: how the sets are judged.
        labels: a teacher, where the protocol teaches by soft labels.
        seed: seed of the networks, which are the same for all sets.
        device: where to compute; the CPU by default.
        execution: how training steps are computed.
        executor: where the networks are trained; this process by default.
        done: called after each network with the number of networks done and of all.

    Raises:
        InputError: the run has no snapshots, is not finished or has lost its record.
    """
    result = load(run)
    moments = states(run, result)
    judged = _judge_each(
        {moment.folder: functools.partial(load, moment.folder) for moment in moments},
        data,
        protocol,
        done,
        labels=labels,
        seed=seed,
        device=device,
        execution=execution,
        executor=executor,
    )
    points = [_point(moment, path, run) for moment, path in zip(moments, judged, strict=True)]
    content = {**_common(read_json(judged[-1])), "points": points}
    file = run / evaluation_file(
        protocol, seed, result.storage, _elsewhere(data, result), _precision(execution), _digest(labels), kind="curve"
    )
    write_text(file, json.dumps(content, indent=2) + "\n")
    return file


def judge_prefixes(
    run: Path,
    data: Data,
    protocol: Protocol,
    *,
    labels: Labels | None = None,
    seed: int = 0,
    device: torch.device | None = None,
    execution: ExecutionSettings | None = None,
    executor: Executor | None = None,
    done: Done | None = None,
) -> Path:
    """Judge every prefix of a set that was learnt segment by segment, and write accuracy over IPC; the file's path.

    Every prefix keeps its scores in a folder of its own, the whole set in that of the run, so that nothing is judged
    twice and the same call continues where it was stopped. Each is judged as a set for its own images per class.

    Args:
        run: its folder.
        data: whose test images judge, and whose validation images choose where the protocol leaves a choice.
        protocol: how the prefixes are judged.
        labels: a teacher, where the protocol teaches by soft labels.
        seed: seed of the networks, which are the same for all prefixes.
        device: where to compute; the CPU by default.
        execution: how training steps are computed.
        executor: where the networks are trained; this process by default.
        done: called after each network with the number of networks done and of all.

    Raises:
        InputError: the images of the run were learnt together.
    """
    whole = load(run)
    if not whole.segments:
        raise InputError(
            f"the images in {run} were learnt together, so that no prefix of them is a set; distil with segments "
            "(limbeck distill dasm)."
        )
    ends = list(itertools.accumulate(whole.segments))
    folders = [run if ipc == whole.ipc else run / PREFIXES / f"ipc-{ipc:06d}" for ipc in ends]
    judged = _judge_each(
        {folder: functools.partial(whole.prefix, ipc) for folder, ipc in zip(folders, ends, strict=True)},
        data,
        protocol,
        done,
        labels=labels,
        seed=seed,
        device=device,
        execution=execution,
        executor=executor,
    )
    points = []
    for ipc, path in zip(ends, judged, strict=True):
        scores = read_json(path)
        shown = {name: scores[name] for name in ("training_images", "bytes", "mean", "std", "networks")}
        points.append({"ipc": ipc, **shown, "file": path.relative_to(run).as_posix()})
    common = _common(read_json(judged[-1]))
    content = {name: value for name, value in common.items() if name not in points[0]}
    file = run / evaluation_file(
        protocol, seed, whole.storage, _elsewhere(data, whole), _precision(execution), _digest(labels), kind="prefixes"
    )
    write_text(file, json.dumps({**content, "points": points}, indent=2) + "\n")
    return file


def _judge_each(
    sets: Mapping[Path, Callable[[], Distilled]], data: Data, protocol: Protocol, done: Done | None, **how: Any
) -> list[Path]:
    """The files with the scores of several sets by their folders, each set read when its turn comes."""
    each, paths = _networks(protocol), []
    for index, (folder, read) in enumerate(sets.items()):

        def advance(count: int, _: int, before: int = index * each) -> None:
            if done is not None:
                done(before + count, len(sets) * each)

        folder.mkdir(parents=True, exist_ok=True)
        paths.append(judge(folder, read(), data, protocol, done=advance, **how))
    return paths


def _networks(protocol: Protocol) -> int:
    return len(protocol.networks) * protocol.repeats


def _digest(labels: Labels | None) -> str:
    return labels.digest if labels is not None else ""


def _precision(execution: ExecutionSettings | None) -> Precision:
    return execution.precision if execution else "float32"


def _elsewhere(data: Data, distilled: Distilled) -> str:
    return data.spec.digest if data.spec.digest != distilled.spec.digest else ""


def states(run: Path, result: Distilled) -> list[Snapshot]:
    """The snapshots of a finished run by step, and its result behind them.

    Args:
        run: its folder.
        result: its set.

    Raises:
        InputError: the run has no snapshots, is not finished or has lost its record.
    """
    found = read_snapshots(run)
    if not found:
        raise InputError(f"{run} has no snapshots; distil with --snapshots above 0 into another folder.")
    return [*found, _end(run, result)]


def _end(run: Path, result: Distilled) -> Snapshot:
    """The result, as if it were a snapshot of the last step."""
    if not (run / RECORD).is_file():
        raise InputError(f"{run / RECORD} is missing, so the length of the run is not known; restore it from a copy.")
    record = read_json(run / RECORD)
    return Snapshot(run, record["steps"], iterations_done(result.recipe, record["steps"]), record["seconds"])


def _point(moment: Snapshot, path: Path, run: Path) -> dict[str, Any]:
    scores = read_json(path)
    return {
        "step": moment.step,
        "iteration": moment.iteration,
        "seconds": moment.seconds,
        "mean": scores["mean"],
        "std": scores["std"],
        "networks": scores["networks"],
        "file": path.relative_to(run).as_posix(),
    }


def _common(scores: dict[str, Any]) -> dict[str, Any]:
    """What the scores of all points have in common."""
    images = ("data", "protocol", "seed", "training_images", "test_images", "bytes")
    names = (*images, "bytes_labels", "label_kind", "labels")
    return {name: scores[name] for name in names if name in scores}
