from __future__ import annotations

from dataclasses import asdict
from typing import Any

import pytest

from benchmarks.speed.contender import Sample
from benchmarks.speed.judge import matrix_units, misses, ratios, summary

WITH_UNITS = {"float32": 1e11, "bfloat16": 6e11}
WITHOUT = {"float32": 1e11, "bfloat16": 3e11}


def samples(*seconds: float, cpu: float = 2.0, peak: int = 100) -> list[Sample]:
    return [Sample(wall, wall * cpu, peak) for wall in seconds]


def contender(first: float, *seconds: float, peak: int = 100) -> dict[str, Any]:
    (begin, *rounds) = [asdict(sample) for sample in samples(first, *seconds, peak=peak)]
    return {"first": begin, "rounds": rounds}


def record(name: str, contenders: dict[str, Any], **more: Any) -> dict[str, Any]:
    found = {"contenders": contenders, "failures": {}, **more}
    return {**found, **summary(found)}


def test_the_lowest_of_three_ratios_is_judged() -> None:
    one, other = samples(6.0, 4.0, 9.0), samples(1.0, 2.0, 3.0, cpu=1.5)
    found = ratios(one, other)
    assert found.wall == pytest.approx(4.0)
    assert found.paired == pytest.approx(3.0)  # of 6, 2 and 3
    assert found.cpu == pytest.approx(8.0 / 1.5)
    assert found.judged == found.paired
    busy = ratios(one, samples(1.0, 2.0, 3.0, cpu=4.0))
    assert busy.judged == busy.cpu == pytest.approx(2.0)


def test_rounds_come_in_pairs() -> None:
    with pytest.raises(ValueError):
        ratios(samples(1.0, 2.0), samples(1.0))


def test_targets_met_and_missed() -> None:
    oracle = contender(10.0, 6.0, 6.0)
    fast = {"oracle": oracle, "float32": contender(20.0, 2.0, 2.0), "bfloat16": contender(20.0, 1.0, 1.0)}
    assert misses("idc_matching", record("idc_matching", fast), WITH_UNITS) == []
    slow = {**fast, "float32": contender(20.0, 4.0, 4.0), "bfloat16": contender(20.0, 2.0, 2.0)}
    found = misses("idc_matching", record("idc_matching", slow), WITH_UNITS)
    assert [line.split(":")[0] for line in found] == ["idc_matching float32", "idc_matching bfloat16"]
    assert len(misses("idc_matching", record("idc_matching", slow), WITHOUT)) == 1


def test_bfloat16_is_judged_with_matrix_units_only() -> None:
    assert matrix_units(WITH_UNITS) is None
    assert matrix_units(WITHOUT) == "not judged: this CPU's bf16 convolutions are only 3.0 times its float32 ones"


def test_memory_is_judged_where_it_has_a_target() -> None:
    large = {"oracle": contender(9.0, 9.0, peak=400), "float32": contender(2.0, 2.0)}
    assert "memory" in misses("dream_clustering", record("dream_clustering", large), WITHOUT)[0]
    assert misses("idc_matching", record("idc_matching", large), WITHOUT) == []
    larger = {**large, "oracle": contender(9.0, 9.0, peak=500)}
    assert misses("dream_clustering", record("dream_clustering", larger), WITHOUT) == []


def test_compiling_is_the_first_step_less_the_fastest() -> None:
    both = {"oracle": contender(9.0, 9.0, 9.0), "float32": contender(43.0, 2.5, 2.0)}
    found = record("idc_matching", both, warm=contender(6.5))
    assert found["compile_seconds"] == pytest.approx({"cold": 41.0, "warm": 4.5})
    assert [line.split(",")[0] for line in misses("idc_matching", found, WITHOUT)] == [
        "idc_matching float32: 41.0 s to compile cold"
    ]


def test_the_second_oracle_is_not_judged() -> None:
    three = {"oracle": contender(9.0, 9.0), "oracle-allocator": contender(3.0, 3.0), "float32": contender(3.0, 3.0)}
    found = record("idc_matching", three)
    assert found["ratios"]["float32 to oracle-allocator"]["judged"] == pytest.approx(1.0)
    assert misses("idc_matching", found, WITHOUT) == []


def test_one_after_another_is_a_peer_that_is_not_judged() -> None:
    found = record(
        "ensemble", {"oracle": contender(9.0, 9.0), "float32": contender(4.0, 4.0), "apart": contender(3.0, 3.0)}
    )
    assert found["ratios"]["float32 to apart"]["judged"] == pytest.approx(0.75)
    assert misses("ensemble", found, WITHOUT) == []


def test_a_contender_that_died_is_a_miss() -> None:
    found = {**record("idc_matching", {"oracle": contender(9.0, 9.0)}), "failures": {"float32": "float32 ended"}}
    assert misses("idc_matching", found, WITHOUT) == ["idc_matching: float32 ended"]
