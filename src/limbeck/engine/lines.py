"""Files of JSON lines that a run writes as it goes and rewinds when it goes back to a checkpoint."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from limbeck.storage.atomic import write_text

__all__ = ["Lines"]


class Lines:
    """A file with one mapping per line, each of which says under ``step`` which inner step it belongs to.

    Args:
        path: the file, which need not exist.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def add(self, *entries: dict[str, Any]) -> None:
        """Append lines."""
        with self._path.open("a", encoding="utf-8") as file:
            file.write("".join(json.dumps(entry) + "\n" for entry in entries))

    def rewind(self, ordinal: int) -> list[dict[str, Any]]:
        """Drop lines of steps past ``ordinal``, which will be done again; those that are kept."""
        if not self._path.is_file():
            return []
        kept = []
        for line in self._path.read_text(encoding="utf-8").splitlines():
            try:
                entry = json.loads(line)
            except ValueError:
                break  # the last line of a run that was killed while writing it
            if entry["step"] > ordinal:
                break
            kept.append(entry)
        self.replace(kept)
        return kept

    def replace(self, lines: list[dict[str, Any]]) -> None:
        """Replace all lines by these, atomically."""
        write_text(self._path, "".join(json.dumps(line) + "\n" for line in lines))

    def read(self) -> list[dict[str, Any]]:
        """All lines."""
        if not self._path.is_file():
            return []
        return [json.loads(line) for line in self._path.read_text(encoding="utf-8").splitlines()]
