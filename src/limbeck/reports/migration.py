"""How far the images of a run moved from snapshot to snapshot: its file and a table for the terminal."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from limbeck.evaluation.migration import NETWORK, migration
from limbeck.formats.native import load
from limbeck.reports.judging import states
from limbeck.reports.tables import listing
from limbeck.storage.atomic import write_text

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["judge_migration", "migration_table"]


def judge_migration(run: Path, *, seed: int = 0, device: torch.device | None = None) -> Path:
    """The file that says how far the images of a finished run moved from state to state, made unless it is there.

    Args:
        run: its folder.
        seed: seed of the random network that looks at them.
        device: where to compute; the CPU by default.

    Raises:
        InputError: the run has no snapshots, is not finished or has lost its record.
    """
    path = run / f"migration-seed{seed}.json"
    if path.is_file():
        return path
    result = load(run)
    moments = states(run, result)
    sets = (load(moment.folder) for moment in moments)
    content = {
        "network": NETWORK,
        "seed": seed,
        "images": len(result.decoded()[0]),
        "steps": [moment.step for moment in moments],
        "seconds": [moment.seconds for moment in moments],
        "distances": migration(sets, seed=seed, device=device),
    }
    write_text(path, json.dumps(content, indent=2) + "\n")
    return path


def migration_table(found: Mapping[str, Any], title: str = "") -> Table:
    """How far images moved between neighbouring states.

    Args:
        found: what `judge_migration` wrote.
        title: what was measured.
    """
    about = f"mean distance to the state before, features of a random {found['network']}"
    rows = [
        (f"{step:,}", f"{distance:.4g}") for step, distance in zip(found["steps"][1:], found["distances"], strict=True)
    ]
    return listing(("inner step", "distance"), rows, f"{title}: {about}" if title else about)
