"""The runs of a page: their names and order, and figures that are drawn when asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from limbeck.evaluation.protocol import Protocol
from limbeck.methods.random import random
from limbeck.reports.canvas import Format, data_uri
from limbeck.reports.comparison import Comparison, Row
from limbeck.reports.entries import NARROW, WIDE, Entry, Figure, by_data, labelled

SHORT = Protocol(name="short", length=3)


def test_runs_go_by_ipc_then_as_in_the_comparison_then_by_seed(entry: Callable[..., Entry]) -> None:
    made = [entry("b", seed=1), entry("b"), entry("a", ipc=2), entry("a", random())]
    rows = tuple(Row(name, 1, 64, 10, (0.5,), 1.0, 1.0, (0,)) for name in ("b", "a"))
    found = labelled([one.run for one in made], Comparison("digits", SHORT, rows))
    assert [(one.distilled.ipc, one.label, one.distilled.seed) for one in found] == [
        (1, "b", 0),
        (1, "b", 1),
        (1, "a", 0),
        (2, "a", 0),
    ]


def test_runs_without_a_comparison_have_the_names_of_their_recipes(entry: Callable[..., Entry]) -> None:
    found = labelled([entry("b").run, entry("a", random()).run], None)
    assert [(one.label, one.learnt) for one in found] == [("idc", True), ("random", False)]


def test_runs_of_equal_data_stand_together(entry: Callable[..., Entry]) -> None:
    one, two = entry(), entry(seed=1)
    spec = replace(one.distilled.spec, digest="other")
    other = replace(one, run=replace(one.run, distilled=replace(one.distilled, spec=spec)))
    assert by_data([one, other, two]) == [[one, two], [other]]


def test_a_figure_is_drawn_at_both_widths_in_its_form() -> None:
    def draw(width: int, form: Format) -> bytes:
        return f"{width} {form}".encode()

    figure = Figure("words", draw, "png")
    assert figure.wide == data_uri(f"{WIDE} png".encode(), "png")
    assert figure.narrow == data_uri(f"{NARROW} png".encode(), "png")
