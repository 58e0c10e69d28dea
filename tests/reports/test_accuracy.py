"""Accuracies of a page: what is best, what stands beside it, what is left out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from limbeck.core.plain import encode
from limbeck.evaluation.protocol import Protocol
from limbeck.reports.accuracy import accuracy_section, findings
from limbeck.reports.comparison import Comparison, Row
from limbeck.reports.entries import Entry
from limbeck.reports.figures import FULL

TWO = Protocol(name="tiny", networks=("convnet2:width=8", "convnet1:width=4"), length=3)
ROWS = (
    Row("idc", 1, 640, 10, (0.5, 0.7), 3.0, 1.0, (0, 1)),
    Row("picked", 1, 640, 10, (0.4, 0.4), 0.1, 1.0, (0, 1), 2048, "teacher"),
    Row("mtt", 1, 640, 10, (0.3, 0.3), 3.0, 1.0, (0, 1)),
    Row(FULL, 0, 51584, 806, (0.9,), 0.0, 1.0, (0,)),
)
COLOURS = {"idc": "#111111", "picked": "#222222", "mtt": "#333333", FULL: "#444444"}


def judged(*accuracies: float, **changes: Any) -> dict[str, Any]:
    """An evaluation as it is written, by the protocol of the comparison."""
    networks = [
        {"network": name, "mean": value, "std": 0.0, "accuracies": [value], "seeds": [0], "lr": 0.01}
        for name, value in zip(TWO.networks, accuracies, strict=True)
    ]
    return {"protocol": encode(TWO), "networks": networks, "test_images": 901, **changes}


def test_findings_are_the_best_of_an_ipc_and_all_real_images() -> None:
    found = findings(ROWS)
    assert [(one["name"], one["value"]) for one in found] == [("idc", "60.0 ± 14.1"), ("all real images", "90.0")]
    assert found[0]["note"] == "best at 1 image per class, 640 B"


def test_there_is_no_section_where_nothing_was_judged(entry: Callable[..., Entry]) -> None:
    assert accuracy_section([entry()], COLOURS, None, ()) is None


def test_architectures_are_means_over_seeds_of_what_the_protocol_of_the_comparison_judged(
    entry: Callable[..., Entry],
) -> None:
    entries = [
        entry(evaluations=(judged(0.5, 0.2), judged(0.9, 0.9, label_kind="stored"))),
        entry(seed=1, evaluations=(judged(0.7, 0.4), {**judged(0.9, 0.9), "protocol": {**encode(TWO), "length": 7}})),
    ]
    section = accuracy_section(entries, COLOURS, Comparison("digits", TWO, ROWS), ROWS)
    assert section is not None
    (row,) = section["architectures"].rows
    assert [cell.text for cell in row] == ["1", "idc", "60.0 ± 14.1", "30.0 ± 14.1"]
    assert len(section["evaluations"].rows) == 8
    table = section["comparison"]["table"]
    assert [row[1].bold for row in table.rows] == [True, False, False, False]
    assert table.rows[0][2].exact == (0.6, pytest.approx(0.1414213562))
    assert table.rows[3][2].exact == (0.9, None) and table.rows[3][7].text == "–"
    assert table.rules == {0, 3}
    assert "picked, IPC 1: 40.0 ± 0.0; mtt" in section["comparison"]["figure"].alt
