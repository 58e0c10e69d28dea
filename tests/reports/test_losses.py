"""Losses of a page: one figure per data set, and what is said beside them."""

from __future__ import annotations

from collections.abc import Callable

from limbeck.methods.random import random
from limbeck.reports.entries import Entry
from limbeck.reports.losses import losses_section

COLOURS = {"idc": "#0072B2", "picked": "#E69F00"}


def test_runs_that_logged_nothing_have_no_section(entry: Callable[..., Entry]) -> None:
    assert losses_section([entry("picked", random())], COLOURS) is None


def test_final_losses_and_steps_not_taken_are_said(entry: Callable[..., Entry]) -> None:
    run = entry(losses=((1, 9.0), (2, 1.25)), rates=((1, 0.01), (2, 0.02)), skipped=3, record={"steps": 2000})
    section = losses_section([run, entry("picked", random())], COLOURS)
    assert section is not None
    (loss,), (rate,) = section["losses"], section["rates"]
    assert loss["name"] == "" and loss["figure"].alt.endswith("At the end: idc, digits, IPC 1, seed 0: 1.25.")
    assert b"<svg" in loss["figure"].draw(400, "svg")
    assert "0.01 at first, 0.02 at the end" in rate["figure"].alt
    assert section["skipped"] == ["idc, digits, IPC 1, seed 0: 3 of 2,000"]
    assert not section["experts"]
