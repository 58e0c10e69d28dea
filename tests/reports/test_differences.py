from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console

from limbeck.reports.comparison import Comparison, differences
from limbeck.reports.differences import certainty, difference_table, differences_section, points
from tests.reports.test_comparison import HERDING, METHOD, PROTOCOL, RANDOM

ROWS = (RANDOM, HERDING, METHOD)
COLOURS = {"random": "#1", "herding": "#2", "dm": "#3"}


def test_points_and_their_interval() -> None:
    to_random, to_best = differences(ROWS)[2]
    # 10, 12 and 9 points: 10.33, deviation 1.53, t(2) is 4.303; and 5, 13 and 2: 6.67, deviation 5.69.
    assert points(to_random) == "+10.3 [6.5, 14.1]"
    assert points(to_best) == "+6.7 [-7.5, 20.8]"
    assert points(None) == "–"
    single = [replace(row, seeds=(0,), accuracies=row.accuracies[:2]) for row in (METHOD, RANDOM)]
    assert points(differences(single)[0][0]) == "+10.0"
    assert certainty(single) == "one seed, so no confidence interval"


def test_the_table_of_the_terminal() -> None:
    table = difference_table(Comparison("digits", PROTOCOL, ROWS))
    assert table is not None
    stream = io.StringIO()
    Console(file=stream, width=120).print(table)
    text = " ".join(stream.getvalue().split())
    assert "95 % confidence interval (Student's t over 3 seeds)" in text
    assert "1 dm hard +10.3 [6.5, 14.1] +6.7 [-7.5, 20.8] herding" in text
    assert "1 herding hard +3.7 [-6.7, 14.0] –" in text and "1 random" not in text
    assert difference_table(Comparison("digits", PROTOCOL, (METHOD,))) is None


def test_the_section_of_the_page() -> None:
    section = differences_section(ROWS, COLOURS)
    assert section is not None
    rows = section["table"].rows
    assert [(row[1].text, row[1].colour, row[4].text) for row in rows] == [
        ("herding", "#2", "–"),
        ("dm", "#3", "herding"),
    ]
    assert rows[1][3].text == "+6.7 [-7.5, 20.8]" and rows[1][3].exact[0] == pytest.approx(0.067, abs=5e-4)
    assert differences_section((METHOD,), COLOURS) is None
