"""What comes of groups of images, and where it is kept: one file for each, whole or not at all."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from limbeck.core.context import Group
from limbeck.core.contracts import State
from limbeck.core.errors import RunError
from limbeck.engine.checkpoint import Checkpoints
from limbeck.engine.journal import Journal
from limbeck.storage.tree import load_tree, save_tree

__all__ = ["GroupFolder", "Learnt"]


@dataclass(frozen=True)
class Learnt:
    """What came of a group.

    Args:
        stored: its images, ``[k, n, C, H, W]`` on the CPU.
        lines: its lines of the log.
        seconds: how long it took.
        loss: the last loss.
        steps: inner steps that were done.
        pool: the state of the pool after it, where the next group needs it.
        lesson: of a segment, what the next one needs of its lesson.
        beside: of a segment, what was learnt beside its images, by name.
        told: of a segment, what the record tells of networks of its own.
    """

    stored: Tensor
    lines: list[dict[str, Any]]
    seconds: float
    loss: float | None
    steps: int
    pool: State | None = None
    lesson: State | None = None
    beside: dict[str, Tensor] = field(default_factory=dict)
    told: dict[str, Any] = field(default_factory=dict)


class GroupFolder:
    """Finished groups and those under way, below the folder of a run.

    Args:
        path: made when the first group begins.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._prepared = Checkpoints(path / "prepared")

    def prepared(self, make: Callable[[], State], device: torch.device) -> State:
        """What all groups begin with: as it was kept when the run began, or made now and kept."""
        found = self._prepared.latest(device)
        if found is None:
            found = {"pool": make()}
            self._prepared.save(0, found)
        pool: State = found["pool"]
        return pool

    def journal(self, group: Group) -> Journal:
        """Where a group writes while it is under way."""
        return Journal(self._open(group))

    def home(self, group: Group) -> Path:
        """The folder of a group that is under way, which is made."""
        return self._open(group)

    def forget(self, group: Group) -> None:
        """Remove what a group wrote on the way."""
        shutil.rmtree(self._path / f"group-{group.number:06d}", ignore_errors=True)

    def _open(self, group: Group) -> Path:
        path = self._path / f"group-{group.number:06d}"
        path.mkdir(parents=True, exist_ok=True)
        return path

    def write(self, group: Group, learnt: Learnt) -> None:
        """Keep a finished group, and remove what it wrote on the way."""
        save_tree(self._file(group), dict(vars(learnt)))
        self.forget(group)

    def read(self, group: Group, device: torch.device | str = "cpu") -> Learnt | None:
        """A finished group, with tensors on a device; None if there is none that can be read."""
        path = self._file(group)
        if not path.is_file():
            return None
        try:
            return Learnt(**load_tree(path, device))
        except (RunError, TypeError):
            path.unlink(missing_ok=True)  # damaged: it is learnt again
            return None

    def finished(self, group: Group) -> bool:
        """Whether there is a file of a finished group."""
        return self._file(group).is_file()

    def remove(self) -> None:
        """Remove everything."""
        shutil.rmtree(self._path, ignore_errors=True)

    def _file(self, group: Group) -> Path:
        return self._path / f"{group.number:06d}.safetensors"
