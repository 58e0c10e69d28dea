"""The tables of trajectory matching, tiny: every row is there, what was done is not done again."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks.tables import trajectory
from benchmarks.tables.trajectory import Plan
from limbeck.core.errors import InputError, RunError
from limbeck.core.plain import encode
from limbeck.initializers.real import Real
from limbeck.pools.experts import Experts

PLAN = Plan(
    what="methods",
    data="digits",
    preset="digits",
    ipcs=(1,),
    seeds=(0, 1),
    out=Path(),
    updates=2,
    epochs=1,
    snapshots=1,
    iterations=2,
    experts=1,
    threads=1,
)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Experts of two epochs and students of two steps."""
    sized = trajectory._sized

    def shrunken(plan: Plan, recipe: Any) -> Any:
        recipe = sized(plan, recipe).with_(pool__starts=1, pool__span=1, objective__student_steps=2)
        pool = recipe.pool
        training = replace(pool.course.training, batch_size=700)
        return recipe.with_(pool__course=replace(pool.course, epochs=1, training=training))

    monkeypatch.setattr(trajectory, "_sized", shrunken)


def test_methods(tmp_path: Path, quick: None, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = replace(PLAN, out=tmp_path, only=("random", "mtt", "tesla", "ftd"))
    found = trajectory.table(plan)
    assert found is not None
    rows = {row["name"]: row for row in found["rows"]}
    assert list(rows) == list(plan.only)
    assert {row["bytes"] for row in rows.values()} == {640}
    for name, row in rows.items():
        assert not row["failures"] and set(row["protocols"]) == {"limbeck", "mtt"}
        assert [len(some) for some in row["protocols"]["mtt"]["accuracies"]] == [3, 3]
        assert ("experts" in row) == (not name.startswith("random"))
    assert [len(curve) for curve in rows["mtt"]["curves"]] == [2, 2] and "curves" not in rows["tesla"]
    difference, mine, other = (
        rows["tesla"]["protocols"]["mtt"]["difference"],
        rows["tesla"]["protocols"]["mtt"],
        rows["mtt"]["protocols"]["mtt"],
    )
    assert difference["against"] == "mtt" and difference["mean"] == pytest.approx(mine["mean"] - other["mean"])
    assert rows["mtt"]["experts"]["avg_var"] == rows["tesla"]["experts"]["avg_var"]
    assert rows["ftd"]["experts"]["avg_var"] != rows["mtt"]["experts"]["avg_var"]
    text = trajectory.markdown(found)
    assert text.count("| mtt |") == 2 and "to mtt (" in text
    for name in ("distill", "judge", "judge_snapshots", "make_context"):
        monkeypatch.setattr(trajectory, name, None)
    assert trajectory.table(plan) == found


def test_parts_make_their_share(tmp_path: Path, quick: None) -> None:
    plan = replace(PLAN, out=tmp_path, seeds=(0,), snapshots=0, judges=("limbeck",), only=("random", "mtt"))
    assert trajectory.table(plan, part=(1, 2)) is None
    assert len(list((tmp_path / "cells").glob("*.json"))) == 1
    assert trajectory.table(plan, part=(2, 2)) is None
    made = {path: path.stat().st_mtime_ns for path in (tmp_path / "cells").glob("*.json")}
    assert sorted(path.name.partition("-")[0] for path in made) == ["cell", "cell", "experts"]
    assert trajectory.table(plan) is not None
    assert made == {path: path.stat().st_mtime_ns for path in (tmp_path / "cells").glob("*.json")}


def test_a_cell_that_fails_says_so(tmp_path: Path, quick: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*arguments: Any, **named: Any) -> None:
        raise RunError("the loss is no number")

    monkeypatch.setattr(trajectory, "distill", fails)
    plan = replace(PLAN, out=tmp_path, seeds=(0,), judges=("limbeck",), only=("mtt",))
    found = trajectory.table(plan)
    assert found is not None
    (row,) = found["rows"]
    assert row["failures"] == {"0": "the loss is no number"} and row["protocols"] == {}
    assert "failed: 0" in trajectory.markdown(found)


def test_rows_of_the_ablation_add_one_part_each() -> None:
    rows = trajectory.lines(replace(PLAN, what="ablation"))
    recipes = {name: line.recipes[1] for name, line in rows.items()}
    base, first = recipes["base"], recipes["+ representative start"]
    for slot in ("objective", "pool", "optimizer", "curriculum", "augmentation"):
        assert encode(getattr(base, slot)) == encode(getattr(first, slot)), slot
    assert isinstance(base.initializer, Real) and not isinstance(first.initializer, Real)
    parts = ["+ representative start", "+ balance", "+ intermediate", "+ perturbation 0.01"]
    for one, other in itertools.pairwise(parts):
        changed = _different(encode(recipes[one]), encode(recipes[other]))
        assert changed in ({"balance"}, {"intermediate"}, {"perturb", "alpha"}), (one, other, changed)
    assert recipes["+ perturbation 0.03"] == recipes["ast"]
    assert recipes["experts: momentum, penalty, clip"].pool == base.pool
    courses = {name: recipe.pool.course for name, recipe in recipes.items() if isinstance(recipe.pool, Experts)}
    assert courses["experts: sgd"].training.momentum == 0 and courses["experts: sgd"].penalty == "none"
    momentum = courses["experts: momentum"]
    assert momentum.penalty == "none" and momentum.clip == () and momentum.training.momentum == 0.9
    assert courses["experts: momentum, penalty"].penalty == "sample" and not courses["experts: momentum, penalty"].clip
    assert courses["experts: momentum at sgd's step size"].training.lr == courses["experts: sgd"].training.lr
    assert {line.against for line in rows.values()} <= {*rows, ""}


def _different(one: Any, other: Any, name: str = "") -> set[str]:
    """Names of the fields in which two trees differ."""
    if isinstance(one, dict) and isinstance(other, dict):
        keys = {*one, *other}
        return set().union(*(_different(one.get(key), other.get(key), key) for key in keys))
    return set() if one == other else {name}


def test_unknown_rows_are_refused() -> None:
    with pytest.raises(InputError, match="no row is called magic"):
        trajectory.lines(replace(PLAN, only=("magic",)))


def test_the_command_writes_its_file(
    tmp_path: Path, quick: None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["--what", "ablation", "--ipc", "1", "--seeds", "1", "--rows", "base", "experts: sgd", "--iterations", "1"]
    words += ["--experts", "1", "--protocols", "limbeck", "--updates", "1", "--snapshots", "0"]
    folders = ["--out", str(tmp_path / "runs"), "--results", str(tmp_path)]
    assert trajectory.main([*words, *folders]) == 0
    assert "| base |" in capsys.readouterr().out
    found = json.loads((tmp_path / "trajectory-ablation-digits-part.json").read_text(encoding="utf-8"))
    assert [row["name"] for row in found["rows"]] == ["base", "experts: sgd"]
    assert all(0 <= row["experts"]["mean_test_accuracy"] <= 1 for row in found["rows"])
    with pytest.raises(InputError, match="--part"):
        trajectory.main([*words, *folders, "--part", "3/2"])
