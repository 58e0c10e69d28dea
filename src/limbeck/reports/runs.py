"""What reports are made of: the files of a run's folder, and of the evaluations beside it.

Reports read files only, never a running program; each figure they show can be found in one.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

from limbeck.core.distilled import Distilled
from limbeck.core.errors import InputError
from limbeck.core.execution import Precision
from limbeck.core.plain import encode
from limbeck.core.real import DataSpec
from limbeck.engine.folder import RECORD
from limbeck.engine.journal import LOG
from limbeck.engine.lines import Lines
from limbeck.engine.watch import WATCH
from limbeck.evaluation.diversity import DiversityProtocol, DiversityScores
from limbeck.evaluation.protocols import SOURCES, Protocol
from limbeck.evaluation.ranking import RankingProtocol
from limbeck.evaluation.robustness import Attack
from limbeck.evaluation.scores import Scores
from limbeck.formats.native import load
from limbeck.storage.atomic import write_text

__all__ = [
    "Run",
    "as_text",
    "diversity_as_plain",
    "diversity_file",
    "evaluation_file",
    "judged_by",
    "ranking_file",
    "read_json",
    "read_run",
    "robustness_file",
    "scores_as_plain",
    "write_diversity",
    "write_scores",
]


@dataclass(frozen=True)
class Run:
    """A finished run and its evaluations.

    Args:
        folder: where it lies.
        distilled: the set.
        record: cost and hardware, as in ``record.json``; empty when missing.
        losses: pairs of inner step and mean loss since the one before.
        evaluations: contents of its ``evaluation-*.json``, in order of their names.
        curves: contents of its ``curve-*.json``, likewise.
        diversities: contents of its ``diversity-*.json``, likewise.
        rates: pairs of inner step and learned step size of the student, where there is one.
        skipped: inner steps that were not taken because their loss was too large or no number.
        prefixes: contents of its ``prefixes-*.json``, likewise.
        rankings: contents of its ``ranking-*.json``, in order of their names.
        migrations: contents of its ``migration-*.json``, likewise.
        robustness: contents of its ``robustness-*.json``, likewise.
        looks: lines of its ``watch.jsonl``.
    """

    folder: Path
    distilled: Distilled
    record: dict[str, Any]
    losses: tuple[tuple[int, float], ...]
    evaluations: tuple[dict[str, Any], ...]
    curves: tuple[dict[str, Any], ...] = ()
    diversities: tuple[dict[str, Any], ...] = ()
    rates: tuple[tuple[int, float], ...] = ()
    skipped: int = 0
    prefixes: tuple[dict[str, Any], ...] = ()
    rankings: tuple[dict[str, Any], ...] = ()
    migrations: tuple[dict[str, Any], ...] = ()
    robustness: tuple[dict[str, Any], ...] = ()
    looks: tuple[dict[str, Any], ...] = ()

    @property
    def method(self) -> str:
        """Name of the method."""
        return self.distilled.recipe.name

    @property
    def title(self) -> str:
        """Method, data, IPC and seed in one line."""
        distilled = self.distilled
        return f"{self.method}, {distilled.spec.name}, IPC {distilled.ipc}, seed {distilled.seed}"


def read_run(folder: Path) -> Run:
    """Read a run's folder.

    Raises:
        InputError: there is no finished set in it, or a file is damaged.
    """
    distilled = load(folder)
    record = read_json(folder / RECORD) if (folder / RECORD).is_file() else {}
    lines = _log_lines(folder / LOG) if (folder / LOG).is_file() else []
    losses = tuple((line.step, line.loss) for line in lines)
    rates = tuple((line.step, line.student_lr) for line in lines if line.student_lr is not None)
    skipped = max((line.skipped for line in lines), default=0)
    evaluations, curves, diversities, prefixes, rankings, migrations, robustness = (
        tuple(read_json(path) for path in sorted(folder.glob(f"{kind}-*.json")))
        for kind in ("evaluation", "curve", "diversity", "prefixes", "ranking", "migration", "robustness")
    )
    return Run(
        folder=folder,
        distilled=distilled,
        record=record,
        losses=losses,
        evaluations=evaluations,
        curves=curves,
        diversities=diversities,
        rates=rates,
        skipped=skipped,
        prefixes=prefixes,
        rankings=rankings,
        migrations=migrations,
        robustness=robustness,
        looks=_looks(folder / WATCH),
    )


def _looks(path: Path) -> tuple[dict[str, Any], ...]:
    try:
        return tuple(Lines(path).read())
    except ValueError as error:
        raise InputError(f"{path} is damaged; remove it to go without what was watched.") from error


class _Line(NamedTuple):
    """What reports show of a line of a log; whatever else stands there is left."""

    step: int
    loss: float
    student_lr: float | None
    skipped: int


def _log_lines(path: Path) -> list[_Line]:
    lines = []
    for text in path.read_text(encoding="utf-8").splitlines():
        try:
            entry = json.loads(text)
            rate = entry.get("student_lr")
            lines.append(
                _Line(
                    step=int(entry["step"]),
                    loss=float(entry["loss"]),
                    student_lr=None if rate is None else float(rate),
                    skipped=int(entry.get("skipped", 0)),
                )
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(f"{path} is damaged; remove it to go without the losses.") from error
    return lines


def evaluation_file(
    protocol: Protocol,
    seed: int,
    storage: str,
    elsewhere: str = "",
    precision: Precision = "float32",
    labels: str = "",
    kind: Literal["evaluation", "curve", "prefixes"] = "evaluation",
) -> str:
    """Name of the file for the scores of this protocol: equal evaluations share it, others never overwrite it.

    Args:
        protocol: how the set is judged.
        seed: seed of the networks.
        storage: how its pixels are kept.
        elsewhere: digest of the data whose test images judge, where they are not those of the set.
        precision: number format of the networks' convolutions.
        labels: digest of the soft labels, where there are any.
        kind: scores of the set, of all snapshots of its run, or of all its prefixes.
    """
    return f"{kind}-{protocol.name}-{_digest(protocol, seed, storage, elsewhere, precision, labels)}.json"


def diversity_file(
    protocol: DiversityProtocol, seed: int, storage: str, elsewhere: str = "", precision: Precision = "float32"
) -> str:
    """Name of the file for the diversity of a set; the arguments are those of `evaluation_file`."""
    return f"diversity-{_digest(protocol, seed, storage, elsewhere, precision)}.json"


def ranking_file(
    protocol: RankingProtocol,
    seed: int,
    storage: str,
    elsewhere: str = "",
    precision: Precision = "float32",
    labels: str = "",
) -> str:
    """Name of the file for DD-Ranking's scores of a set; the arguments are those of `evaluation_file`."""
    return f"ranking-{protocol.base.name}-{_digest(protocol, seed, storage, elsewhere, precision, labels)}.json"


def robustness_file(
    protocol: Protocol,
    attack: Attack,
    seed: int,
    storage: str,
    elsewhere: str = "",
    precision: Precision = "float32",
    labels: str = "",
) -> str:
    """Name of the file for what a set's networks reach under an attack; else the arguments are as `evaluation_file`."""
    about = json.dumps(encode(attack), sort_keys=True)
    return f"robustness-{protocol.name}-{_digest(protocol, seed, storage, about + elsewhere, precision, labels)}.json"


def _digest(
    protocol: Protocol | DiversityProtocol | RankingProtocol,
    seed: int,
    storage: str,
    elsewhere: str,
    precision: Precision,
    labels: str = "",
) -> str:
    unusual = [*([elsewhere] if elsewhere else []), *([precision] if precision != "float32" else [])]
    unusual += [f"labels {labels}"] if labels else []
    plain = encode(protocol)
    if plain.get("segments") == "together":  # as before there was a choice, so that files keep their names
        del plain["segments"]
    text = json.dumps([plain, seed, storage, *unusual], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:10]


def scores_as_plain(scores: Scores, images_bytes: int, distil_seconds: float | None = None) -> dict[str, Any]:
    """Scores as plain data, with what a reader needs to trust them.

    Accuracies, and ``last``, are those after the last epoch. Under ``best`` and ``selected_on_test`` stands the best of
    several looks at the test images, where the protocol takes them: their mean, and for each network its own.

    Args:
        scores: what came out.
        images_bytes: bytes of the stored pixels.
        distil_seconds: wall time of the distillation, where it is known.
    """
    return {
        "protocol": encode(scores.protocol),
        "sources": list(SOURCES.get(scores.protocol.name, ())),
        "seed": scores.seed,
        "last": scores.mean,
        "best": scores.selected_on_test,
        "test_evaluations": scores.test_evaluations,
        "selection": scores.selection,
        "mean": scores.mean,
        "std": scores.std,
        **({} if scores.selected_on_test is None else {"selected_on_test": scores.selected_on_test}),
        "networks": [
            {
                "network": entry.network,
                "mean": entry.mean,
                "std": entry.std,
                "accuracies": list(entry.accuracies),
                **({"selected_on_test": list(entry.best)} if entry.best else {}),
                "seeds": list(entry.seeds),
                "lr": entry.lr,
                "execution": encode(entry.execution),
                "details": [one.as_plain() for one in entry.details],
            }
            for entry in scores.networks
        ],
        "training_images": scores.images,
        "test_images": scores.test_images,
        "bytes": images_bytes,
        "bytes_labels": scores.label_bytes,
        "label_kind": scores.label_kind,
        "labels": None if scores.labels is None else scores.labels.as_plain(),
        "seconds": scores.seconds,
        **({} if distil_seconds is None else {"distil_seconds": distil_seconds}),
    }


def judged_by(plain: dict[str, Any], distilled: Distilled, judges: DataSpec | None) -> tuple[dict[str, Any], str]:
    """What was measured, with the name of the data if these are not the set's own, and then their digest.

    Args:
        plain: what was measured.
        distilled: the set.
        judges: the data that it was measured with; None for its own.
    """
    if judges is None or judges.digest == distilled.spec.digest:
        return plain, ""
    return {"data": judges.name, **plain}, judges.digest


def write_scores(folder: Path, scores: Scores, distilled: Distilled, judges: DataSpec | None = None) -> Path:
    """Write scores beside the set that they judge, atomically; the file's path.

    Args:
        folder: of the set.
        scores: what came out.
        distilled: the set.
        judges: the data whose test images judged; those of the set by default.
    """
    record = read_json(folder / RECORD) if (folder / RECORD).is_file() else {}
    plain, elsewhere = judged_by(scores_as_plain(scores, distilled.bytes, record.get("seconds")), distilled, judges)
    labels = "" if scores.labels is None else scores.labels.digest
    path = folder / evaluation_file(
        scores.protocol, scores.seed, distilled.storage, elsewhere, scores.precision, labels
    )
    write_text(path, as_text(plain))
    return path


def as_text(plain: dict[str, Any]) -> str:
    """Plain data as indented JSON, in which a list of numbers stays on its line."""
    text = json.dumps(plain, indent=2, allow_nan=False) + "\n"
    return re.sub(r"\[[^\[\]{}\"]+\]", lambda found: " ".join(found.group().split()), text)


def diversity_as_plain(scores: DiversityScores) -> dict[str, Any]:
    """Diversity as plain data, the mean over classes first."""
    return {"mean": encode(scores.mean), **encode(scores)}


def write_diversity(
    folder: Path, scores: DiversityScores, distilled: Distilled, judges: DataSpec | None = None
) -> Path:
    """Write diversity beside the set, atomically; the file's path.

    Args:
        folder: of the set.
        scores: what came out.
        distilled: the set.
        judges: the data whose real images it was measured against; those of the set by default.
    """
    plain, elsewhere = judged_by(diversity_as_plain(scores), distilled, judges)
    precision = scores.execution.precision
    path = folder / diversity_file(scores.protocol, scores.seed, distilled.storage, elsewhere, precision)
    write_text(path, json.dumps(plain) + "\n")
    return path


def read_json(path: Path) -> dict[str, Any]:
    """A JSON file that holds a mapping.

    Raises:
        InputError: it is damaged.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path} is damaged ({error}); remove it.") from error
    if not isinstance(content, dict):
        raise InputError(f"{path} is damaged; remove it.")
    return content
