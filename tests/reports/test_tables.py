"""Tables for the terminal."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console
from rich.table import Table

import limbeck as lb
from limbeck.data.splits import Data
from limbeck.evaluation.details import Details
from limbeck.evaluation.protocols import Protocol
from limbeck.evaluation.scores import NetworkScores, Scores
from limbeck.methods.random import random
from limbeck.reports.comparison import Comparison, Row
from limbeck.reports.tables import (
    SELECTED,
    best_rows,
    class_table,
    comparison_table,
    curve_table,
    diversity_table,
    human_bytes,
    human_seconds,
    label_size,
    listing,
    percent,
    scores_table,
)

PROTOCOL = Protocol(name="tiny", networks=("convnet1:width=4",), repeats=2, budget="updates", length=3)


def shown(table: Table, styled: bool = False) -> str:
    stream = io.StringIO()
    Console(file=stream, width=110, force_terminal=styled, color_system="standard" if styled else None).print(table)
    return stream.getvalue()


def cells(text: str, start: str) -> str:
    """The line that starts with these two words, with single blanks."""
    (line,) = (line for line in text.splitlines() if line.split()[:2] == start.split())
    return " ".join(line.split())


def row(method: str, ipc: int, accuracies: tuple[float, ...]) -> Row:
    return Row(method, ipc, 640 * ipc, 10 * ipc, accuracies, 65.0, 2.0, (0, 1))


ROWS = (
    row("random", 1, (0.5, 0.6)),
    row("idc[x]", 1, (0.7, 0.72)),
    row("random", 10, (0.8,)),
    Row("full", 0, 82752, 1293, (0.97, 0.98), 0.0, 3.0, (0, 1)),
)


def test_a_row_shows_every_figure() -> None:
    text = shown(comparison_table(Comparison("digits", PROTOCOL, ROWS)))
    assert "digits, protocol tiny, 2 seeds" in text
    assert cells(text, "1 random") == "1 random 640 B 0 B 10 55.0 ± 7.1 2 1 min 5 s 2.0 s"
    assert cells(text, "10 random") == "10 random 6.25 KiB 0 B 100 80.0 1 1 min 5 s 2.0 s"
    assert cells(text, "- full") == "- full 80.8 KiB 0 B 1,293 97.5 ± 0.7 2 - 3.0 s"
    assert "idc[x]" in text


def test_the_best_of_every_ipc_is_bold() -> None:
    assert best_rows(ROWS) == (ROWS[1],)
    ties = (row("a", 1, (0.5,)), row("b", 1, (0.5,)), row("c", 1, (0.4,)))
    assert best_rows(ties) == ties[:2]
    text = shown(comparison_table(Comparison("digits", PROTOCOL, ROWS)), styled=True)
    bold = [line for line in text.splitlines() if "\x1b[1m" in line and "seeds" not in line]
    assert len(bold) == 1
    assert "\x1b[1midc[x]\x1b[0m" in bold[0]
    assert "\x1b[1m 71.0 ± 1.4\x1b[0m" in bold[0]


def test_labels_are_counted_and_each_kind_has_its_best() -> None:
    taught = replace(row("random", 1, (0.9, 0.8)), bytes_labels=44_800_000, label_kind="teacher")
    stored = replace(row("b", 1, (0.6, 0.6)), bytes_labels=2048, label_kind="stored")
    assert best_rows((*ROWS, taught)) == (ROWS[1],)
    other = replace(taught, method="c", accuracies=(0.1,))
    assert best_rows((*ROWS, taught, other)) == (ROWS[1], taught)
    text = shown(comparison_table(Comparison("digits", PROTOCOL, (*ROWS, taught, stored))))
    assert "1 random 640 B teacher, 10 85.0" in " ".join(text.split()) and "42.7 MiB" in text
    assert "1 b 640 B stored, 10 60.0" in " ".join(text.split()) and "2.00 KiB" in text
    assert label_size("hard", 0) == "0 B" and label_size("stored", 2048) == "stored, 2.00 KiB"


def test_an_empty_comparison_has_no_rows() -> None:
    assert comparison_table(Comparison("digits", PROTOCOL, ())).row_count == 0


def test_scores_of_a_real_evaluation(digits: Data) -> None:
    distilled = lb.distill(random(), digits, ipc=1, settings=lb.Settings(progress="quiet"))
    scores = lb.evaluate(distilled, digits.require_test(), PROTOCOL)
    text = shown(scores_table(scores, "random [1]", distilled.bytes))
    assert "random [1]: protocol tiny, 10 training and 901 test images;" in text
    assert "images 2.50 KiB, labels 0 B" in " ".join(text.split())
    assert f"{100 * scores.mean:.1f} ± {100 * scores.std:.1f}" in text
    assert "all" not in text.split()


def test_several_architectures_are_summed_up() -> None:
    entries = (NetworkScores("a", (0.5, 0.7), (1, 2), 0.01), NetworkScores("b", (0.9, 0.9), (3, 4), 0.02))
    text = shown(scores_table(Scores(PROTOCOL, entries, 10, 20, 0, 1.0)))
    assert cells(text, "a 60.0") == "a 60.0 ± 14.1 2 0.01"
    assert cells(text, "all 75.0") == "all 75.0 ± 19.1 4"


def test_a_curve_has_a_line_for_every_point() -> None:
    networks = [{"network": "a", "accuracies": [0.5, 0.7]}]
    points = [
        {"step": 0, "iteration": 0, "seconds": 0.5, "mean": 0.6, "std": 0.1, "networks": networks},
        {"step": 2500, "iteration": 25, "seconds": 65.0, "mean": 0.7, "std": 0.0, "networks": networks},
    ]
    text = shown(curve_table({"protocol": {"name": "tiny"}, "test_images": 901, "points": points}, "runs/a"))
    assert "runs/a: protocol tiny, 901 test images" in text
    assert cells(text, "0 0") == "0 0 0.50 s 60.0 ± 10.0 2"
    assert cells(text, "2,500 25") == "2,500 25 1 min 5 s 70.0 ± 0.0 2"


def test_a_listing_shows_cells_as_they_are() -> None:
    text = shown(listing(("name", "what"), [("[bold]idc", None), ("dream", 3)], "methods"))
    assert "methods" in text
    assert "[bold]idc" in text
    assert cells(text, "dream 3") == "dream 3"
    with pytest.raises(ValueError, match="1 cells for 2 columns"):
        listing(("a", "b"), [("x",)])


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "0.98 KiB"),
        (1024, "1.00 KiB"),
        (6400, "6.25 KiB"),
        (30720, "30.0 KiB"),
        (307200, "300 KiB"),
        (153_600_000, "146 MiB"),
        (5 * 2**40, "5.00 TiB"),
        (2**60, "1048576 TiB"),
    ],
)
def test_bytes_have_three_digits(count: int, text: str) -> None:
    assert human_bytes(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0 ms"),
        (0.0123, "12 ms"),
        (0.0996, "0.10 s"),
        (0.5, "0.50 s"),
        (4.21, "4.2 s"),
        (59.97, "1 min 0 s"),
        (185.4, "3 min 5 s"),
        (3599.7, "1 h 0 min"),
        (7455, "2 h 4 min"),
    ],
)
def test_durations_are_rounded_to_what_matters(seconds: float, text: str) -> None:
    assert human_seconds(seconds) == text


def test_one_network_has_no_deviation() -> None:
    assert percent(0.5, 0.0, 1) == "50.0"
    assert percent(0.5, 0.0, 2) == "50.0 ± 0.0"


def test_diversity_beside_that_of_the_real_images() -> None:
    figures = {
        **{"feature_distance": 12345.6, "pair_distance": None, "covariance_trace": 0.5, "effective_rank": 4.7},
        **{"neighbour_distance": 0.0, "coverage": 0.298, "mmd2": 0.23612, "real_pair_distance": 1.671},
        **{"real_covariance_trace": 0.8252, "real_effective_rank": 9.93, "real_neighbour_distance": 0.4797},
    }
    protocol = {"network": "convnet3", "epochs": 20}
    found = {
        "protocol": protocol,
        "dimensions": 2048,
        "features": "flattened map",
        "mean": figures,
        "classes": [figures],
    }
    text = shown(diversity_table(found, "runs/a"))
    assert "features of convnet3 after 20 epochs (2,048 numbers, flattened map)" in text
    assert cells(text, "mean 12,346") == "mean 12,346 – 0.5000 4.700 0.000 29.8 0.2361"
    assert cells(text, "0 12,346") == "0 12,346 – 0.5000 4.700 0.000 29.8 0.2361"
    assert cells(text, "real –") == "real – 1.671 0.8252 9.930 0.4797 – –"


def test_what_is_selected_on_test_data_says_so_beside_the_last_epoch() -> None:
    entries = (
        NetworkScores("a", (0.5, 0.7), (1, 2), 0.01, best=(0.6, 0.8)),
        NetworkScores("b", (0.9, 0.9), (3, 4), 0.02, best=(0.9, 0.9)),
    )
    table = scores_table(Scores(PROTOCOL, entries, 10, 20, 0, 1.0))
    assert [column.header for column in table.columns][-1] == SELECTED
    text = shown(table)
    assert all(words in text for words in ("best look, %", "(selected on", "test data)"))
    assert cells(text, "a 60.0") == "a 60.0 ± 14.1 2 0.01 70.0 ± 14.1"
    assert cells(text, "all 75.0") == "all 75.0 ± 19.1 4 80.0 ± 14.1"
    plain = scores_table(Scores(PROTOCOL, (NetworkScores("a", (0.5,), (1,), 0.01),), 10, 20, 0, 1.0))
    assert SELECTED not in [column.header for column in plain.columns]


def test_classes_and_calibration_of_several_networks() -> None:
    details = (Details(((3, 1), (0, 4)), 0.1, 0.5, 0.25), Details(((1, 3), (0, 4)), 0.3, 0.7, 0.35))
    entry = NetworkScores("a", (0.875, 0.625), (1, 2), 0.01, details=details)
    text = shown(class_table(Scores(PROTOCOL, (entry,), 10, 8, 0, 1.0), ("cat", "dog [1]")))
    assert cells(text, "a cat") == "a cat 4 50.0 ± 35.4 dog [1] (50.0 %)"
    assert cells(text, "a dog") == "a dog [1] 4 100.0 ± 0.0 –"
    assert cells(text, "a calibration") == "a calibration error 0.2000"
    assert cells(text, "a negative") == "a negative log-likelihood 0.6000"
    assert cells(text, "a Brier") == "a Brier score 0.3000"
