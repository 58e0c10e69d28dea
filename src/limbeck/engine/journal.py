"""What a run writes while it is under way: the log of its losses, checkpoints, snapshots."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

from limbeck.engine.checkpoint import Checkpoints
from limbeck.engine.snapshots import Snapshots
from limbeck.storage.atomic import write_text

__all__ = ["LOG", "Journal"]

LOG = "log.jsonl"


class Journal:
    """The folder of a run that is under way, or of a part of it.

    Args:
        path: the folder, which exists.
        snapshots: inner steps before which a snapshot is due.
    """

    def __init__(self, path: Path, snapshots: Collection[int] = ()) -> None:
        self.path = path
        self.snapshots = Snapshots(path, snapshots)
        self.checkpoints = Checkpoints(path / "checkpoints")

    def log(self, entry: dict[str, Any]) -> None:
        """Append one line to the log."""
        with (self.path / LOG).open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")

    def rewind_log(self, ordinal: int) -> float:
        """Drop log lines of steps past ``ordinal``, which will be done again; seconds spent until then."""
        path = self.path / LOG
        if not path.is_file():
            return 0.0
        kept = []
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                entry = json.loads(line)
            except ValueError:
                break  # the last line of a run that was killed while writing it
            if entry["step"] > ordinal:
                break
            kept.append(entry)
        self.write_log(kept)
        return float(kept[-1]["seconds"]) if kept else 0.0

    def write_log(self, lines: list[dict[str, Any]]) -> None:
        """Replace the log by these lines, atomically."""
        write_text(self.path / LOG, "".join(json.dumps(line) + "\n" for line in lines))

    def lines(self) -> list[dict[str, Any]]:
        """The lines of the log."""
        path = self.path / LOG
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.is_file() else []
