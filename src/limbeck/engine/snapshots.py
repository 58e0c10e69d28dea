"""Snapshots of a run: its images at some of its steps, each a distilled set in a folder of its own.

A snapshot appears complete or not at all and is never written again, so that a run which was killed and resumed has
the snapshots of one that never stopped.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path

from limbeck.core.distilled import Distilled
from limbeck.core.errors import InputError
from limbeck.core.recipe import Recipe
from limbeck.storage.atomic import replacing_folder, write_text
from limbeck.storage.directory import write_set

__all__ = ["SNAPSHOTS", "Snapshot", "Snapshots", "due_steps", "iterations_done", "read_snapshots"]

SNAPSHOTS, MOMENT = "snapshots", "snapshot.json"


@dataclass(frozen=True)
class Snapshot:
    """Where a snapshot lies, and when it was taken.

    Args:
        folder: a distilled set.
        step: inner steps done by then.
        iteration: outer iterations completed by then.
        seconds: of distilling until then, without the time that writing snapshots took.
    """

    folder: Path
    step: int
    iteration: int
    seconds: float


class Snapshots:
    """The snapshots of a run that is under way.

    Args:
        folder: of the run.
        steps: inner steps before which a snapshot is due.
    """

    def __init__(self, folder: Path, steps: Collection[int]) -> None:
        self._folder = folder / SNAPSHOTS
        self._steps = steps

    def due(self, before: int, step: int) -> tuple[int, ...]:
        """Steps whose snapshots are to be taken and have not been taken yet.

        Args:
            before: inner steps done when this was asked last; -1 at the beginning.
            step: inner steps done now.
        """
        return tuple(each for each in self._steps if before < each <= step and not self._place(each).is_dir())

    def write(self, distilled: Distilled, step: int, seconds: float) -> None:
        """Write a snapshot; the set says at which step it was taken."""
        iteration = iterations_done(distilled.recipe, step)
        with replacing_folder(self._place(step)) as temporary:
            write_set(temporary, replace(distilled, identity={**distilled.identity, "step": step}), self.first())
            moment = {"step": step, "iteration": iteration, "seconds": seconds}
            write_text(temporary / MOMENT, json.dumps(moment, indent=2) + "\n")

    def first(self) -> Path | None:
        """The folder of the first snapshot, if there is one."""
        return next(iter(sorted(self._folder.glob("step-*"))), None)

    def require(self, until: int) -> None:
        """Refuse to go on when snapshots of earlier steps are missing: they cannot be taken any more.

        Args:
            until: inner steps done.

        Raises:
            InputError: the run was begun without them.
        """
        missing = self.due(-1, until - 1)
        if missing:
            raise InputError(
                f"{self._folder.parent} is past step {missing[0]}, of which it has no snapshot; ask for as many "
                "snapshots (--snapshots) as when it was begun, or choose another --out."
            )

    def tidy(self) -> None:
        """Remove what a killed run has left half written."""
        for leftover in self._folder.glob(".tmp-*"):
            shutil.rmtree(leftover, ignore_errors=True)

    def _place(self, step: int) -> Path:
        return self._folder / f"step-{step:09d}"


def due_steps(count: int, total: int) -> tuple[int, ...]:
    """Steps of ``count`` snapshots, evenly spread from the initial images on; the end of the run is its result.

    Args:
        count: how many snapshots; at most one per step is taken.
        total: inner steps of the run.
    """
    return tuple(dict.fromkeys(index * total // count for index in range(count))) if total else ()


def iterations_done(recipe: Recipe, step: int) -> int:
    """Outer iterations that are complete after ``step`` inner steps."""
    if recipe.curriculum is None or step == 0:
        return 0
    last = recipe.curriculum.moment(step - 1)
    return last.iteration + last.last


def read_snapshots(run: Path) -> tuple[Snapshot, ...]:
    """The snapshots in the folder of a run, by step.

    Raises:
        InputError: the file that says when one was taken is missing or damaged.
    """
    found = []
    for folder in sorted((run / SNAPSHOTS).glob("step-*")):
        try:
            moment = json.loads((folder / MOMENT).read_text(encoding="utf-8"))
            found.append(Snapshot(folder, moment["step"], moment["iteration"], moment["seconds"]))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(f"{folder / MOMENT} is missing or damaged; remove {folder} to go without it.") from error
    return tuple(found)
