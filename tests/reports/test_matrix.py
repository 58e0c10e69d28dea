from __future__ import annotations

import csv
import io
from dataclasses import replace

import pytest
from rich.console import Console

from limbeck.reports.comparison import Comparison, Row, TrainedOn
from limbeck.reports.matrix import as_csv, cells, matrix_section, matrix_table, on_network
from tests.reports.test_comparison import PROTOCOL, RANDOM


def row(network: str, first: tuple[float, ...], second: tuple[float, ...], method: str = "") -> Row:
    name = method or on_network("dm", network)
    trained = (TrainedOn("convnet3", first, (0.01,)), TrainedOn("resnet10", second, (0.01, 0.1)))
    return Row(name, 1, 640, 10, (*first, *second), 1.0, 1.0, (0,), distilled_on=network, trained_on=trained)


ROWS = (
    replace(row("", (0.3, 0.3), (0.2, 0.2), "random"), coreset="random"),
    row("convnet3", (0.6, 0.7), (0.4, 0.5)),
    row("resnet10", (0.55, 0.55), (0.5, 0.6)),
)
COLOURS = {"random": "#0", "dm@convnet3": "#1", "dm@resnet10": "#2"}


def test_names_are_good_for_folders() -> None:
    assert on_network("dm", "convnet3:width=32,norm=batch") == "dm@convnet3-width=32,norm=batch"
    assert on_network("dm", "timm:resnet10t") == "dm@timm-resnet10t"


def test_one_flat_entry_for_each_cell() -> None:
    found = cells(ROWS)
    assert [(one["method"], one["distilled_on"], one["trained_on"]) for one in found] == [
        (method, distilled, trained)
        for method, distilled in (("random", ""), ("dm", "convnet3"), ("dm", "resnet10"))
        for trained in ("convnet3", "resnet10")
    ]
    assert (
        found[2]["mean"] == pytest.approx(0.65) and found[2]["networks"] == 2 and found[3]["step_sizes"] == "0.01 0.1"
    )
    text = as_csv(ROWS)
    assert text is not None
    read = list(csv.DictReader(io.StringIO(text)))
    assert len(read) == 6 and float(read[5]["mean"]) == pytest.approx(0.55) and read[5]["distilled_on"] == "resnet10"
    assert cells([replace(ROWS[0], ipc=0)]) == []


def test_the_table_of_the_terminal() -> None:
    table = matrix_table(Comparison("digits", PROTOCOL, ROWS))
    assert table is not None
    stream = io.StringIO()
    Console(file=stream, width=140).print(table)
    text = " ".join(stream.getvalue().split())
    assert "Step sizes: convnet3 0.01, resnet10 0.01 and 0.1; all else" in text
    assert "1 random hard – 30.0 ± 0.0 20.0 ± 0.0" in text
    assert "1 dm hard convnet3 65.0 ± 7.1 45.0 ± 7.1" in text and "1 dm hard resnet10 55.0 ± 0.0 55.0 ± 7.1" in text


def test_the_section_of_the_page() -> None:
    section = matrix_section(ROWS, COLOURS)
    assert section is not None
    table = section["table"]
    assert [column.name for column in table.columns[3:]] == ["convnet3", "resnet10"]
    assert [(row[1].text, row[1].colour, row[2].text) for row in table.rows] == [
        *(("random", "#0", "–"), ("dm", "#1", "convnet3"), ("dm", "#2", "resnet10")),
    ]


def test_sets_of_one_network_are_no_matrix() -> None:
    for rows in (ROWS[:2], (RANDOM,)):
        assert as_csv(rows) is None and matrix_section(rows, {}) is None
        assert matrix_table(Comparison("digits", PROTOCOL, tuple(rows))) is None
