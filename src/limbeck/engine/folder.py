"""The folder of one run: what was asked for, how far it is, what came out.

Another run never overwrites anything in it.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

from limbeck.core.distilled import Distilled
from limbeck.core.errors import InputError
from limbeck.core.plain import completed, encode
from limbeck.engine.group_folder import GroupFolder
from limbeck.engine.journal import LOG, Journal
from limbeck.engine.run_file import FILE, RunFile, read_plain, write_run_file
from limbeck.storage.atomic import write_text
from limbeck.storage.differences import first_difference
from limbeck.storage.directory import SIDECAR, read_learnt, read_set, read_whitening, write_set

__all__ = ["LOG", "RECORD", "RunFolder"]

RECORD = "record.json"


class RunFolder(Journal):
    """Opens, or begins, the folder of a run.

    Args:
        path: the folder.
        run: what is asked for.
        snapshots: inner steps before which a snapshot is due.
        looks: inner steps after which a look at the real batches is due.

    Raises:
        InputError: the folder holds another run, or files that are no run.
    """

    def __init__(self, path: Path, run: RunFile, snapshots: Collection[int] = (), looks: Collection[int] = ()) -> None:
        super().__init__(path, snapshots, looks)
        self.groups = GroupFolder(path / "groups")
        asked = encode(run)
        if path.exists() and not path.is_dir():
            raise InputError(f"{path} is a file; give a folder as --out.")
        if (path / FILE).is_file():
            difference = first_difference(completed(read_plain(path / FILE), run), asked)
            if difference:
                raise InputError(
                    f"{path} holds another run ({difference}); choose another --out, or repeat that run's settings "
                    "to resume it."
                )
        elif path.is_dir() and any(child.name[:5] != ".tmp-" for child in path.iterdir()):
            raise InputError(f"{path} is not empty and holds no run; choose another --out.")
        else:
            try:
                path.mkdir(parents=True, exist_ok=True)
                write_run_file(path, run)
            except OSError as error:
                raise InputError(f"{path} cannot be written ({error.strerror}); choose another --out.") from error

    def finished(self) -> bool:
        """Whether the distilled set is there."""
        return (self.path / SIDECAR).is_file()

    def steps(self) -> int | None:
        """Inner steps of the finished run, as its record says; None where it was lost."""
        path = self.path / RECORD
        return int(json.loads(path.read_text(encoding="utf-8"))["steps"]) if path.is_file() else None

    def result(self, expected: Distilled) -> Distilled:
        """The finished set, given one of the same run for what is not in the files."""
        stored, description = read_set(self.path)
        spec, whitening = expected.spec, read_whitening(self.path, description)
        if whitening is not None:  # that of the set, should this machine have fitted it with other rounding
            spec = replace(spec, normalization=replace(spec.normalization, whitening=whitening))
        self._tidy()
        kept = {name: description[name] for name in ("storage", "identity")}
        return replace(expected, stored=stored, spec=spec, learnt=read_learnt(self.path), **kept)

    def finish(self, distilled: Distilled, record: dict[str, Any]) -> None:
        """Write the result and the record, then remove the checkpoints."""
        write_text(self.path / RECORD, json.dumps(record, indent=2) + "\n")
        write_set(self.path, distilled, self.snapshots.first())
        self._tidy()

    def _tidy(self) -> None:
        """Remove what a finished run needs no longer, with files that a killed one has left half written."""
        self.checkpoints.clear()
        self.groups.remove()
        self.snapshots.tidy()
        for leftover in self.path.glob(".tmp-*"):
            leftover.unlink(missing_ok=True)
