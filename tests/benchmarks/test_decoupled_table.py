"""The table of decoupled methods, tiny: every row is there, with labels and costs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks.tables import decoupled
from limbeck.core.recipe import Recipe
from limbeck.data import load
from limbeck.training.teacher import Teacher


def tiny(recipe: Recipe) -> Recipe:
    if recipe.pool is None:
        return recipe
    teacher: Teacher = recipe.pool.teacher  # type: ignore[attr-defined]
    teacher = replace(teacher, network="convnet1:width=4,norm=batch", epochs=1)
    return recipe.with_(pool__teacher=teacher, curriculum__steps=1, augmentation__shift=1)


def test_every_row_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("METHODS", "ABLATIONS"):
        shrunken: dict[str, Any] = {key: tiny(recipe) for key, recipe in getattr(decoupled, name).items()}
        monkeypatch.setattr(decoupled, name, shrunken)
    data = load("digits")
    found = decoupled.table(data, tmp_path, seeds=(0,), updates=1)
    rows = [(row["method"], row["label_kind"]) for part in found["comparisons"].values() for row in part["rows"]]
    assert rows[:6] == [(name, kind) for name in ("random", "sre2l", "dwa") for kind in ("hard", "teacher")]
    assert [kind for _, kind in rows[6:]] == ["teacher"] * 3
    assert len(found["runs"]) == 6
    assert all(one["evaluations"][0]["accuracies"] for one in found["runs"].values())
