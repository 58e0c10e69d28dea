"""How sets were made and judged, as a page tells it."""

from __future__ import annotations

from collections.abc import Callable

from limbeck.core.plain import encode
from limbeck.evaluation.protocol import Protocol
from limbeck.methods.random import random
from limbeck.reports.entries import Entry
from limbeck.reports.recipes import protocol_section, recipes_section

SHORT = Protocol(name="short", length=3)
COLOURS = {"idc": "#0072B2", "picked": "#E69F00"}


def test_equal_recipes_are_told_once_and_what_is_learnt_first(entry: Callable[..., Entry]) -> None:
    entries = [entry("picked", random()), entry(), entry(seed=1), entry(ipc=5)]
    section = recipes_section(entries, COLOURS)
    assert section["seeds"] == "0 and 1"
    assert [(shown["label"], shown["ipcs"]) for shown in section["recipes"]] == [("idc", "1 and 5"), ("picked", "1")]
    slots = {slot["slot"]: slot for slot in section["recipes"][0]["slots"]}
    assert slots["objective"]["part"] == "gradient_matching"
    assert {slot["slot"]: slot["part"] for slot in section["recipes"][1]["slots"]}["objective"] == ""


def test_a_protocol_is_told_once_for_all_runs(entry: Callable[..., Entry]) -> None:
    assert protocol_section([entry()], None) is None
    evaluation = {"protocol": encode(SHORT), "test_images": 901}
    section = protocol_section([entry(evaluations=(evaluation,)), entry(seed=1, evaluations=(evaluation,))], None)
    assert section is not None
    assert [shown["name"] for shown in section["protocols"]] == [SHORT.name]
