"""What reports are made of: the files of a run's folder, and of the evaluations beside it.

Reports read files only, never a running program; each figure they show can be found in one.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from limbeck.core.distilled import Distilled
from limbeck.core.errors import InputError
from limbeck.core.execution import Precision
from limbeck.core.plain import encode
from limbeck.engine.folder import LOG, RECORD
from limbeck.evaluation.evaluate import Scores
from limbeck.evaluation.protocols import Protocol
from limbeck.formats.native import load
from limbeck.storage.atomic import write_text

__all__ = ["Run", "evaluation_file", "read_run", "scores_as_plain", "write_scores"]


@dataclass(frozen=True)
class Run:
    """A finished run and its evaluations.

    Args:
        folder: where it lies.
        distilled: the set.
        record: cost and hardware, as in ``record.json``; empty when missing.
        losses: pairs of inner step and mean loss since the one before.
        evaluations: contents of its ``evaluation-*.json``, in order of their names.
    """

    folder: Path
    distilled: Distilled
    record: dict[str, Any]
    losses: tuple[tuple[int, float], ...]
    evaluations: tuple[dict[str, Any], ...]

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
    record = _read_json(folder / RECORD) if (folder / RECORD).is_file() else {}
    losses: list[tuple[int, float]] = []
    if (folder / LOG).is_file():
        for line in (folder / LOG).read_text(encoding="utf-8").splitlines():
            try:
                entry = json.loads(line)
                losses.append((int(entry["step"]), float(entry["loss"])))
            except (ValueError, KeyError, TypeError) as error:
                raise InputError(f"{folder / LOG} is damaged; remove it to go without the losses.") from error
    evaluations = tuple(_read_json(path) for path in sorted(folder.glob("evaluation-*.json")))
    return Run(folder, distilled, record, tuple(losses), evaluations)


def evaluation_file(protocol: Protocol, seed: int, storage: str, precision: Precision = "float32") -> str:
    """Name of the file for the scores of this protocol: equal evaluations share it, others never overwrite it."""
    low = [] if precision == "float32" else [precision]
    text = json.dumps([encode(protocol), seed, storage, *low], sort_keys=True)
    return f"evaluation-{protocol.name}-{hashlib.sha256(text.encode()).hexdigest()[:10]}.json"


def scores_as_plain(scores: Scores, images_bytes: int) -> dict[str, Any]:
    """Scores as plain data, with what a reader needs to trust them."""
    return {
        "protocol": encode(scores.protocol),
        "seed": scores.seed,
        "mean": scores.mean,
        "std": scores.std,
        "networks": [
            {
                "network": entry.network,
                "mean": entry.mean,
                "std": entry.std,
                "accuracies": list(entry.accuracies),
                "seeds": list(entry.seeds),
                "lr": entry.lr,
                "execution": encode(entry.execution),
            }
            for entry in scores.networks
        ],
        "training_images": scores.images,
        "test_images": scores.test_images,
        "bytes": images_bytes,
        "seconds": scores.seconds,
    }


def write_scores(folder: Path, scores: Scores, distilled: Distilled) -> Path:
    """Write scores beside the set that they judge, atomically; the file's path."""
    path = folder / evaluation_file(scores.protocol, scores.seed, distilled.storage, scores.precision)
    write_text(path, json.dumps(scores_as_plain(scores, distilled.bytes), indent=2) + "\n")
    return path


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path} is damaged ({error}); remove it.") from error
    if not isinstance(content, dict):
        raise InputError(f"{path} is damaged; remove it.")
    return content
