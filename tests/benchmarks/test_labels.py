"""The table of labels runs from end to end, and again without work."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.tables.labels import kinds, table
from limbeck.data import Data
from limbeck.methods.random import random
from limbeck.reports import judging
from tests.evaluation.taught import QUIET, STUDENT, TEACHER, protocol


def test_every_row_has_its_bytes(digits: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert STUDENT in protocol().networks
    arguments = {"teacher": TEACHER, "protocol": protocol(updates=12), "ipc": 2, "seeds": (0,), "settings": QUIET}
    found = table(digits, random(), tmp_path, **arguments)  # type: ignore[arg-type]
    assert [row["labels"] for row in found["rows"]] == [kind.name for kind in kinds(10)]
    bytes_of = {row["labels"]: row["bytes_labels"] for row in found["rows"]}
    assert bytes_of["hard"] == 0 and bytes_of["teacher on the fly"] == found["teacher"]["bytes"]
    assert bytes_of["float32"] > bytes_of["float16"] > bytes_of["int8"]
    assert bytes_of["float16"] > 2 * bytes_of["float16, 1/4 of the epochs"]
    assert {row["bytes"] for row in found["rows"]} == {1280}
    assert all(len(row["accuracies"]) == 1 for row in found["rows"])
    monkeypatch.setattr(judging, "evaluate", None)
    again = table(digits, random(), tmp_path, **arguments)  # type: ignore[arg-type]
    assert again["rows"] == found["rows"]
