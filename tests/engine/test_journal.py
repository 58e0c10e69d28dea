from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from limbeck.engine.journal import LOG, Journal


def filled(path: Path) -> Journal:
    journal = Journal(path)
    for step in (1, 2, 4):
        journal.log({"step": step, "loss": 1 / step, "seconds": 0.5 * step})
    return journal


def test_lines_come_back_as_they_were_written(tmp_path: Path) -> None:
    journal = filled(tmp_path)
    assert journal.lines() == [{"step": step, "loss": 1 / step, "seconds": 0.5 * step} for step in (1, 2, 4)]
    assert (tmp_path / LOG).read_text().count("\n") == 3
    assert Journal(tmp_path).lines() == journal.lines()


@pytest.mark.parametrize(
    ("ordinal", "kept", "seconds"), [(9, 3, 2.0), (4, 3, 2.0), (3, 2, 1.0), (1, 1, 0.5), (0, 0, 0.0)]
)
def test_what_will_be_done_again_is_dropped(tmp_path: Path, ordinal: int, kept: int, seconds: float) -> None:
    journal = filled(tmp_path)
    assert journal.rewind_log(ordinal) == seconds
    assert [line["step"] for line in journal.lines()] == [1, 2, 4][:kept]
    journal.log({"step": ordinal + 1, "loss": 0.0, "seconds": 9.0})
    assert journal.lines()[-1]["step"] == ordinal + 1


def test_a_line_that_was_half_written_is_dropped_with_what_follows(tmp_path: Path) -> None:
    journal = filled(tmp_path)
    path = tmp_path / LOG
    path.write_text(path.read_text()[:-5])
    assert journal.rewind_log(9) == 1.0
    assert [line["step"] for line in journal.lines()] == [1, 2]


def test_an_empty_folder_has_no_lines(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    assert journal.lines() == [] and journal.rewind_log(3) == 0.0
    assert list(tmp_path.iterdir()) == []


def test_a_log_is_replaced_whole(tmp_path: Path) -> None:
    journal = filled(tmp_path)
    journal.write_log([{"step": 7}])
    assert [json.loads(line) for line in (tmp_path / LOG).read_text().splitlines()] == [{"step": 7}]
    assert [path.name for path in tmp_path.iterdir()] == [LOG]


def test_checkpoints_and_snapshots_lie_beside_it(tmp_path: Path) -> None:
    journal = Journal(tmp_path, (0, 2))
    journal.checkpoints.save(3, {"value": 1})
    assert (tmp_path / "checkpoints" / "step-000000003.safetensors").is_file()
    assert journal.checkpoints.latest(torch.device("cpu")) == {"value": 1}
    assert journal.snapshots.due(-1, 0) == (0,) and Journal(tmp_path).snapshots.due(-1, 5) == ()
