"""Workers, rounds and the table, on steps of no size and without compiling."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from benchmarks.speed import judge, run
from benchmarks.speed.cases import CASES
from benchmarks.speed.contender import Contender, Died
from benchmarks.speed.report import table
from tests.benchmarks.test_steps import small

TINY = replace(small("idc_matching"), dtype="float32")


def worker(folder: Path, name: str = "oracle", **changes: object) -> Contender:
    return Contender(name, replace(TINY, **changes), [], 1, folder, "off", 60.0)


def test_contenders_take_turns(capsys: pytest.CaptureFixture[str]) -> None:
    options = run.Options(quick=True, rounds=2, threads=1, timeout=60.0)
    record = run.measure(replace(TINY, dtype="float64"), options, lambda line: None, "off")
    assert record["failures"] == {}
    assert list(record["contenders"]) == ["oracle", "float32"]
    for one in record["contenders"].values():
        assert len(one["rounds"]) == 2
        assert one["rounds"][-1]["peak_bytes"] >= one["start"]["imports_bytes"] > 1 << 20
    limits = {"float32": 1e11, "bfloat16": 2e11}
    result = {"limits_flops_per_second": limits, "hardware": {"cpu": "some", "threads": 1}}
    Console(width=200).print(table({**result, "steps": {"idc_matching": record}}))
    assert "float32" in capsys.readouterr().out
    assert isinstance(judge.misses("idc_matching", record, limits), list)


def test_a_death_is_told_with_the_last_words(tmp_path: Path) -> None:
    with worker(tmp_path, operations=("dream",)) as contender, pytest.raises(Died, match="no augmentation is called"):
        contender.step()


def test_silence_ends(tmp_path: Path) -> None:
    with worker(tmp_path) as contender:
        contender.timeout = 0.0
        with pytest.raises(Died, match="silent"):
            contender.step()


def test_a_part_of_the_steps_has_a_file_of_its_own() -> None:
    assert run.Options().file().name == "speed.json"
    assert run.Options(quick=True).file().name == "speed-quick.json"
    assert run.Options(only=("evaluation",)).file().name == "speed-part.json"


def test_unknown_steps_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert run.main(run.Options(only=("flying",))) == 2
    assert "idc_matching" in capsys.readouterr().out


def test_targets_are_of_steps() -> None:
    assert set(judge.TARGETS) == set(CASES)
    assert set(judge.MEMORY) <= set(CASES)
