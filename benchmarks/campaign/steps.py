"""One step of a campaign: a cell's set of one seed, distilled and judged, or what is there of it already.

Run folders are those of ``limbeck compare --out`` (``METHOD-ipcN-seedS`` with ``record.json`` and
``evaluation-*.json``), so that runs of such a comparison are taken over as they are.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.campaign.cells import Cell
from limbeck.cli.shared import as_wanted
from limbeck.core.distilled import Distilled
from limbeck.core.errors import InputError
from limbeck.core.plain import completed, encode
from limbeck.core.recipe import Recipe
from limbeck.data import Data, LoadOptions
from limbeck.data import load as load_data
from limbeck.engine.distill import distill, make_context
from limbeck.engine.folder import RECORD
from limbeck.engine.plan import plan
from limbeck.engine.settings import Settings
from limbeck.evaluation.labels import ByTeacher
from limbeck.evaluation.protocols import Protocol
from limbeck.evaluation.teaching import recipe_teacher, teacher_labels
from limbeck.formats.native import load
from limbeck.reports.judging import judge
from limbeck.reports.runs import read_json
from limbeck.storage.directory import SIDECAR

__all__ = ["Outcome", "Step", "data_for"]

Outcome = tuple[dict[str, Any], dict[str, Any]]
"""What a seed cost and on what, and its judgement, as the ledger keeps them."""


def data_for(cell: Cell, data_dir: Path) -> Data | None:
    """The data of a cell as its recipe wants them; None where they are not at hand."""
    source = cell.source(data_dir)
    if cell.data != "digits" and not Path(source).is_dir():
        return None
    return _loaded(source, as_wanted(cell.loading, cell.recipe()))


@functools.lru_cache(maxsize=2)
def _loaded(source: str, options: LoadOptions) -> Data:
    return load_data(source, options)


@dataclass(frozen=True)
class Step:
    """A cell's set of one seed.

    Args:
        cell: of which cell.
        seed: which seed.
        out: folder of all runs of a campaign.
    """

    cell: Cell
    seed: int
    out: Path

    @property
    def folder(self) -> Path:
        """Where the run lies."""
        return self.out / self.cell.block / f"{self.cell.run}-seed{self.seed}"

    def found(self, note: str = "") -> Outcome | None:
        """The outcome, if the run was finished and judged earlier; nothing is computed.

        Args:
            note: what has to be known of the measurement.

        Raises:
            InputError: the folder holds another run.
        """
        distilled = self.distilled()
        if distilled is None or not (self.folder / RECORD).is_file():
            return None
        path = self._judgement(self.cell.judgement(distilled.spec, distilled.recipe))
        return None if path is None else self._outcome(distilled, path, note)

    def distil(self, data: Data, settings: Settings) -> Distilled:
        """Distil, unless that is done.

        Args:
            data: of the cell.
            settings: device and how steps are computed.

        Raises:
            InputError: the cell cannot be run on these data, or the folder holds another run.
            RunError: the loss was not finite.
            Interrupted: stopped; the same call resumes.
        """
        cell, recipe = self.cell, self.cell.recipe()
        cell.judgement(data.spec, recipe)  # what cannot be judged is refused before it is made
        return self.distilled() or distill(
            recipe, data, ipc=cell.ipc, seed=self.seed, out=self.folder, storage=cell.storage, settings=settings
        )

    def judge(self, distilled: Distilled, data: Data, settings: Settings, note: str = "") -> Outcome:
        """Judge the set, unless that is done, and say what came out.

        Args:
            distilled: the set.
            data: of the cell.
            settings: device and how steps are computed.
            note: what has to be known of the measurement.

        Raises:
            InputError: the protocol needs a teacher and the recipe brings none.
        """
        protocol = self.cell.judgement(data.spec, distilled.recipe)
        path = self._judgement(protocol)
        if path is None:
            path = judge(
                self.folder,
                distilled,
                data,
                protocol,
                labels=self._labels(distilled.recipe, data, settings) if protocol.soft is not None else None,
                seed=self.seed,
                device=settings.torch_device(),
                execution=replace(settings, precision="float32"),
            )
        return self._outcome(distilled, path, note)

    def distilling_seconds(self, data: Data, settings: Settings) -> float:
        """How long distilling will take, by `limbeck plan`; 0 where it is done.

        Raises:
            InputError: the cell cannot be run on these data, or memory or disk will not do.
        """
        if self.distilled() is not None:
            return 0.0
        context = make_context(self.cell.recipe(), data, self.cell.ipc, self.seed, settings)
        found = plan(self.cell.recipe(), context, self.folder, self.cell.storage, settings.class_block)
        if found.remedies:
            raise InputError("it will not fit: " + " ".join(found.remedies))
        return found.seconds

    def distilled(self) -> Distilled | None:
        """The set, if it is there.

        Raises:
            InputError: the folder holds another one.
        """
        if not (self.folder / SIDECAR).is_file():
            return None
        distilled = load(self.folder)
        there = (distilled.recipe, distilled.ipc, distilled.seed, distilled.storage)
        if there != (self.cell.recipe(), self.cell.ipc, self.seed, self.cell.storage):
            raise InputError(f"{self.folder} holds another run than '{self.cell.command}'; move it away.")
        return distilled

    def _judgement(self, protocol: Protocol) -> Path | None:
        """The file of a judgement that was made by this protocol, by whatever version of it knew fewer fields."""
        asked, usual = encode(protocol), encode(Protocol(name=""))
        for path in sorted(self.folder.glob("evaluation-*.json")):
            scores = read_json(path)
            if {**usual, **completed(scores["protocol"], protocol)} == asked and scores["seed"] == self.seed:
                return path
        return None

    def _labels(self, recipe: Recipe, data: Data, settings: Settings) -> ByTeacher:
        teacher = recipe_teacher(recipe)
        if teacher is None:
            raise InputError(f"protocol '{self.cell.protocol}' needs a teacher and '{recipe.name}' brings none.")
        context = make_context(recipe, data, self.cell.ipc, self.seed, settings)
        return teacher_labels(teacher, context, f"'{recipe.name}'")

    def _outcome(self, distilled: Distilled, path: Path, note: str) -> Outcome:
        record, scores = read_json(self.folder / RECORD), read_json(path)
        names = ("peak_memory_bytes", "hardware", "versions")
        entry = {
            "distil_seconds": record["seconds"],
            "bytes": distilled.bytes,
            "data_digest": distilled.spec.digest,
            **{name: record[name] for name in names},
        }
        (network,) = scores["networks"]
        judged = {
            "last": network["accuracies"],
            "best": network.get("selected_on_test", []),
            "seconds": scores["seconds"],
            "bytes_labels": scores["bytes_labels"],
            "label_kind": scores["label_kind"],
            "training_images": scores["training_images"],
            "note": note,
        }
        return entry, judged
