"""Costs of a page: means over the runs of a method, and machines each once."""

from __future__ import annotations

from collections.abc import Callable

from limbeck.reports.cost import cost_section
from limbeck.reports.entries import Entry

RECORD = {
    "steps": 1000,
    "final_loss": 2.0,
    "seconds": 10.0,
    "peak_memory_bytes": 2**20,
    "hardware": {"device": "cpu", "system": "Linux", "machine": "x86_64", "cores": 2, "threads": 1},
    "versions": {"limbeck": "0.1.0", "torch": "2.6.0", "git": None},
}


def test_times_and_losses_are_means_and_memory_is_the_most(entry: Callable[..., Entry]) -> None:
    other = {**RECORD, "seconds": 30.0, "final_loss": 3.0, "peak_memory_bytes": 2**21}
    section = cost_section([entry(record=RECORD), entry(seed=1, record=other), entry(seed=2)], {"idc": "#0072B2"})
    assert section is not None
    (row,) = section["costs"].rows
    assert [cell.text for cell in row] == ["1", "idc", "20.0 s", "2.00 MiB", "1,000", "2.5", "2"]
    assert row[2].exact == (20.0,) and row[3].exact == (2**21,)
    assert section["machines"] == ["CPU, Linux x86_64, 2 cores, 1 thread"]
    assert section["versions"][0] == "limbeck 0.1.0, torch 2.6.0"


def test_a_page_of_sets_without_records_has_no_costs(entry: Callable[..., Entry]) -> None:
    assert cost_section([entry()], {"idc": "#0072B2"}) is None
