"""The ledger: ``campaign-<block>.json`` files that say what was measured, seed by seed.

A file holds the runs of one data set and one kind of settings: ``runs[run]["seeds"][seed]`` has what a seed cost, on
what, and under ``judged`` its accuracies by each protocol and network. A seed that is in the ledger is not measured
again, even where its run folder is gone; take it out of the file to have it measured anew.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.campaign.cells import Cell
from limbeck.reports.runs import read_json
from limbeck.storage.atomic import write_text
from limbeck.storage.lock import alone

__all__ = ["RESULTS", "Ledger", "Measured"]

RESULTS = Path(__file__).parents[1] / "results"
"""Where the records lie."""

_WAIT = 60.0
"""Seconds for which another campaign may be writing down what it measured."""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What is known of a cell, in percent."""

    seeds: tuple[int, ...]
    """Seeds that were measured, ascending."""
    means: tuple[float, ...]
    """Mean accuracy of the networks of each, after the last epoch."""
    best: tuple[float, ...]
    """Of each, the mean best look at the test images; empty where the protocol does not look."""
    failed: tuple[str, ...]
    """Why seeds failed that did."""
    hardware: tuple[str, ...]
    """On what, each once."""
    seconds: tuple[float, float]
    """Of distilling and of judging, mean over seeds."""
    notes: tuple[str, ...]
    """What was said of the measurement, each once."""

    @property
    def mean(self) -> float:
        """Mean of the seeds' means."""
        return statistics.fmean(self.means)

    @property
    def std(self) -> float | None:
        """Sample deviation of the seeds' means; None for one seed."""
        return statistics.stdev(self.means) if len(self.means) > 1 else None


class Ledger:
    """The records of a folder.

    Args:
        folder: where they lie.
    """

    def __init__(self, folder: Path = RESULTS) -> None:
        self._folder = folder
        self._blocks: dict[str, dict[str, Any]] = {}

    def refresh(self) -> None:
        """Read the records anew: other campaigns may have added to them."""
        self._blocks.clear()

    def has(self, cell: Cell, seed: int) -> bool:
        """Whether a seed of a cell was measured, or failed."""
        entry = self._seeds(cell).get(str(seed), {})
        return "failed" in entry or cell.judged_by in entry.get("judged", {})

    def add(self, cell: Cell, seed: int, entry: dict[str, Any], judged: dict[str, Any] | None = None) -> None:
        """Write what came of a seed, atomically; judgements that are there stay, and what others wrote meanwhile.

        Args:
            cell: of which cell.
            seed: which seed.
            entry: what it cost and on what, or ``{"failed": why}``.
            judged: the judgement that the cell asks for.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        with alone(self._folder, self._path(cell).stem, wait=_WAIT):
            self.refresh()
            content = self._block(cell)
            run = content["runs"].setdefault(cell.run, {"command": cell.command, "seeds": {}})
            before = run["seeds"].get(str(seed), {}).get("judged", {})
            judgements = before if judged is None else {**before, cell.judged_by: judged}
            run["seeds"][str(seed)] = {**entry, "judged": judgements} if judgements else entry
            content["runs"] = dict(sorted(content["runs"].items()))
            write_text(self._path(cell), json.dumps(content, indent=1) + "\n")

    def measured(self, cell: Cell) -> Measured | None:
        """What is known of a cell; None if nothing."""
        entries = {int(seed): entry for seed, entry in self._seeds(cell).items() if self.has(cell, int(seed))}
        if not cell.words or not entries:
            return None
        judged = {seed: entry["judged"][cell.judged_by] for seed, entry in entries.items() if "failed" not in entry}
        seeds = tuple(sorted(judged))
        distilling, judging = (
            _mean(entries[seed]["distil_seconds"] for seed in seeds) or 0.0,
            _mean(judged[seed]["seconds"] for seed in seeds) or 0.0,
        )
        return Measured(
            seeds=seeds,
            means=tuple(100 * statistics.fmean(judged[seed]["last"]) for seed in seeds),
            best=tuple(100 * statistics.fmean(judged[seed]["best"]) for seed in seeds if judged[seed]["best"]),
            failed=tuple(entry["failed"] for entry in entries.values() if "failed" in entry),
            seconds=(distilling, judging),
            hardware=_each_once(_machine(entry["hardware"]) for entry in entries.values() if "hardware" in entry),
            notes=_each_once(judgement["note"] for judgement in judged.values() if judgement["note"]),
        )

    def distil_seconds(self, cell: Cell, device: str) -> float | None:
        """Mean seconds of distilling one seed on this kind of device; None if none was."""
        return _mean(
            entry["distil_seconds"]
            for entry in self._seeds(cell).values()
            if entry.get("hardware", {}).get("device") == device
        )

    def judge_seconds(self, cell: Cell, device: str) -> float | None:
        """Mean seconds of judging a seed as this cell asks, over its block, else over all; None if none was."""
        others = (read_json(path) for path in sorted(self._folder.glob("campaign-*.json")))
        found = _judging([self._block(cell)], cell, device)
        return found if found is not None else _judging(others, cell, device)

    def _seeds(self, cell: Cell) -> dict[str, dict[str, Any]]:
        return self._block(cell)["runs"].get(cell.run, {}).get("seeds", {}) if cell.words else {}

    def _block(self, cell: Cell) -> dict[str, Any]:
        if cell.block not in self._blocks:
            path = self._path(cell)
            new = {"data": cell.data_title, "runs": {}}
            self._blocks[cell.block] = read_json(path) if path.is_file() else new
        return self._blocks[cell.block]

    def _path(self, cell: Cell) -> Path:
        return self._folder / f"campaign-{cell.block}.json"


def _judging(blocks: Iterable[dict[str, Any]], cell: Cell, device: str) -> float | None:
    return _mean(
        entry["judged"][cell.judged_by]["seconds"]
        for block in blocks
        for run in block["runs"].values()
        for entry in run["seeds"].values()
        if entry.get("hardware", {}).get("device") == device and cell.judged_by in entry.get("judged", {})
    )


def _machine(hardware: dict[str, Any]) -> str:
    if "gpu" in hardware:
        return str(hardware["gpu"])
    return f"CPU, {hardware['threads']} of {hardware['cores']} cores"


def _each_once(values: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(values))


def _mean(values: Iterable[float]) -> float | None:
    found = list(values)
    return statistics.fmean(found) if found else None
