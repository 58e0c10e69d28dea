from __future__ import annotations

from pathlib import Path

import pytest

from limbeck.engine.lines import Lines


def test_lines_are_read_as_they_were_added(tmp_path: Path) -> None:
    lines = Lines(tmp_path / "some.jsonl")
    assert lines.read() == [] and lines.rewind(3) == []
    assert list(tmp_path.iterdir()) == []
    lines.add({"step": 1, "value": [0.1]})
    lines.add({"step": 2}, {"step": 2, "again": True})
    assert lines.read() == [{"step": 1, "value": [0.1]}, {"step": 2}, {"step": 2, "again": True}]
    lines.replace([{"step": 7}])
    assert Lines(tmp_path / "some.jsonl").read() == [{"step": 7}]


@pytest.mark.parametrize(("ordinal", "kept"), [(9, 3), (4, 3), (3, 2), (1, 1), (0, 0)])
def test_later_ones_are_dropped(tmp_path: Path, ordinal: int, kept: int) -> None:
    lines = Lines(tmp_path / "some.jsonl")
    lines.add(*({"step": step} for step in (1, 2, 4)))
    assert [line["step"] for line in lines.rewind(ordinal)] == [1, 2, 4][:kept]
    assert [line["step"] for line in lines.read()] == [1, 2, 4][:kept]


def test_one_that_was_half_written_is_dropped(tmp_path: Path) -> None:
    lines, path = Lines(tmp_path / "some.jsonl"), tmp_path / "some.jsonl"
    lines.add({"step": 1}, {"step": 2})
    path.write_text(path.read_text()[:-4])
    assert lines.rewind(9) == [{"step": 1}] and lines.read() == [{"step": 1}]
