"""Accuracy against bytes and seconds: what is drawn, how axes are cut, what is said."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from limbeck.reports.entries import Entry
from limbeck.reports.points import reached
from limbeck.reports.tradeoff import tradeoff_curves, tradeoff_section
from tests.reports.test_points import judged

COLOURS = {"idc": "#0072B2"}


def texts(svg: bytes) -> set[str]:
    return {text.strip() for text in re.findall(r"<!--(.*?)-->", svg.decode(), flags=re.DOTALL)}


def test_a_single_set_is_no_curve(entry: Callable[..., Entry]) -> None:
    assert tradeoff_section([entry(evaluations=(judged(a=(0.5,)),))], COLOURS) is None


def test_all_sets_of_a_protocol_are_said_and_drawn(entry: Callable[..., Entry]) -> None:
    entries = [
        entry(evaluations=(judged(a=(0.5, 0.7)),), record={"seconds": 2.0}),
        entry(ipc=10, evaluations=(judged(a=(0.9,)),), record={"seconds": 200.0}),
    ]
    section = tradeoff_section(entries, COLOURS)
    assert section is not None
    ((figure, name),) = [(shown["figure"], shown["name"]) for shown in section]
    assert name == "" and figure.name == "tradeoff"
    assert figure.alt.endswith("idc, IPC 1: 60.0 ± 14.1, 2.60 KiB, 2.0 s; idc, IPC 10: 90.0, 25.1 KiB, 3 min 20 s.")
    drawn = texts(figure.draw(960, "svg"))
    assert {"bytes of images and labels", "seconds of distilling", "idc"} <= drawn
    assert any("mathdefault{10^" in text for text in drawn), "100 times as long asks for a logarithmic axis"


def test_times_that_nobody_knows_are_left_out(entry: Callable[..., Entry]) -> None:
    (figure,) = reached([entry(evaluations=(judged(a=(0.5,)),))])
    assert "seconds of distilling" not in texts(tradeoff_curves(figure.points))
    with pytest.raises(ValueError, match="no points"):
        tradeoff_curves([])
