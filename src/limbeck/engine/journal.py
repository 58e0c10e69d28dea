"""What a run writes while it is under way: the log of its losses, checkpoints, snapshots, looks at its real batches."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

from limbeck.engine.checkpoint import Checkpoints
from limbeck.engine.lines import Lines
from limbeck.engine.snapshots import Snapshots
from limbeck.engine.watch import Looks

__all__ = ["LOG", "Journal"]

LOG = "log.jsonl"


class Journal:
    """The folder of a run that is under way, or of a part of it.

    Args:
        path: the folder, which exists.
        snapshots: inner steps before which a snapshot is due.
        looks: inner steps after which a look at the real batches is due.
    """

    def __init__(self, path: Path, snapshots: Collection[int] = (), looks: Collection[int] = ()) -> None:
        self.path = path
        self.snapshots = Snapshots(path, snapshots)
        self.looks = Looks(path, looks)
        self.checkpoints = Checkpoints(path / "checkpoints")
        self._log = Lines(path / LOG)

    def log(self, entry: dict[str, Any]) -> None:
        """Append one line to the log."""
        self._log.add(entry)

    def rewind_log(self, ordinal: int) -> float:
        """Drop what was written of steps past ``ordinal``, which will be done again; seconds spent until then."""
        self.looks.rewind(ordinal)
        kept = self._log.rewind(ordinal)
        return float(kept[-1]["seconds"]) if kept else 0.0

    def write_log(self, lines: list[dict[str, Any]]) -> None:
        """Replace the log by these lines, atomically."""
        self._log.replace(lines)

    def lines(self) -> list[dict[str, Any]]:
        """The lines of the log."""
        return self._log.read()
