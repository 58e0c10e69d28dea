"""Checkpoints of a run: atomic, the last two are kept, a damaged one falls back to the one before."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import torch

from limbeck.core.errors import RunError
from limbeck.storage.tree import load_tree, save_tree

__all__ = ["Checkpoints"]


class Checkpoints:
    """The checkpoints below one run's folder.

    Args:
        folder: made when the first is written.
        keep: how many to keep.
    """

    def __init__(self, folder: Path, keep: int = 2) -> None:
        self._folder = folder
        self._keep = keep

    def save(self, ordinal: int, tree: dict[str, Any]) -> None:
        """Write the state before inner step ``ordinal`` and remove those that are older than the kept ones."""
        self._folder.mkdir(parents=True, exist_ok=True)
        save_tree(self._folder / f"step-{ordinal:09d}.safetensors", tree)
        for old in self._files()[: -self._keep]:
            old.unlink(missing_ok=True)

    def latest(self, device: torch.device) -> dict[str, Any] | None:
        """The newest state that can be read, or None when there is none.

        Raises:
            RunError: there are checkpoints and none can be read.
        """
        failure: RunError | None = None
        for path in reversed(self._files()):
            try:
                return load_tree(path, device)
            except RunError as error:
                failure = error
        if failure is not None:
            raise failure
        return None

    def clear(self) -> None:
        """Remove all, with what a killed run has left half written."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _files(self) -> list[Path]:
        return sorted(self._folder.glob("step-*.safetensors"))
