"""The file that says how far images moved."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from limbeck.core.errors import InputError
from limbeck.data import Data
from limbeck.engine.distill import distill
from limbeck.engine.settings import Settings
from limbeck.evaluation.migration import migration
from limbeck.formats import native
from limbeck.reports import migration as module
from limbeck.reports.migration import judge_migration, migration_table
from limbeck.reports.runs import read_run
from tests.engine.tiny import tiny_idc


@pytest.fixture
def run(digits: Data, tmp_path: Path) -> Path:
    settings = Settings(device="cpu", progress="quiet", snapshots=2)
    distill(tiny_idc(), digits, ipc=1, out=tmp_path / "run", settings=settings)
    return tmp_path / "run"


def test_it_is_measured_once_from_snapshot_to_snapshot(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = judge_migration(run, seed=3)
    found = json.loads(path.read_text())
    assert path == run / "migration-seed3.json"
    assert (found["network"], found["seed"], found["images"], found["steps"]) == ("convnet3", 3, 10, [0, 3, 6])
    assert len(found["seconds"]) == 3 and found["seconds"] == sorted(found["seconds"])
    states = [native.load(run / "snapshots" / f"step-00000000{step}") for step in (0, 3)]
    assert found["distances"] == migration([*states, native.load(run)], seed=3) and min(found["distances"]) > 0
    assert read_run(run).migrations == (found,)
    monkeypatch.setattr(module, "migration", lambda *_, **__: pytest.fail("measured again"))
    assert judge_migration(run, seed=3) == path


def test_it_needs_snapshots(run: Path) -> None:
    shutil.rmtree(run / "snapshots")
    with pytest.raises(InputError, match="has no snapshots"):
        judge_migration(run)


def test_a_table_has_a_row_for_each_interval() -> None:
    table = migration_table({"network": "convnet3", "steps": [0, 1500, 3000], "distances": [0.5, 0.25]}, "runs/a")
    assert [str(next(iter(column.cells))) for column in table.columns] == ["1,500", "0.5"]
    assert table.row_count == 2 and "runs/a: mean distance" in str(table.title)
