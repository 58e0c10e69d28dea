"""Experts as records tell of them: read whole or refused, each set once, drawn with a band."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import limbeck as lb
from limbeck.core.errors import InputError
from limbeck.data.splits import Data
from limbeck.methods.random import random
from limbeck.reports.experts import ExpertSet, UsedExperts, expert_set, experts_of, weight_changes
from limbeck.reports.runs import Run, read_run

RECORD = [
    {"accuracy": 0.5, "avg_var": 2.0, "changes": [3.0, 1.0]},
    {"accuracy": 0.7, "avg_var": 3.0, "changes": [4.0, 2.0]},
]
"""What the pool of experts says of itself (`Pool.record`)."""


@pytest.fixture(scope="module")
def bare(digits: Data, tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("runs") / "run"
    lb.distill(random(), digits, ipc=1, out=folder, settings=lb.Settings(progress="quiet"))
    return read_run(folder)


def with_experts(run: Run, experts: Any = RECORD) -> Run:
    return replace(run, record={**run.record, "experts": experts})


def texts(svg: bytes) -> set[str]:
    return {text.strip() for text in re.findall(r"<!--(.*?)-->", svg.decode(), flags=re.DOTALL)}


def used(changes: tuple[tuple[float, ...], ...], method: str = "mtt", shade: float = 0.0) -> UsedExperts:
    return UsedExperts(ExpertSet("k", changes, (1.0,), (0.5,)), (method,), (1,), shade)


def test_what_a_record_says(bare: Run) -> None:
    assert expert_set(bare) is None
    found = expert_set(with_experts(bare))
    assert found is not None
    assert found == ExpertSet(found.key, ((3.0, 1.0), (4.0, 2.0)), (2.0, 3.0), (0.5, 0.7))
    assert found.count == 2


@pytest.mark.parametrize("experts", [[{"accuracy": 0.5}], [1], 7, [{**RECORD[0], "changes": "x"}]])
def test_a_damaged_record_is_refused(bare: Run, experts: Any) -> None:
    with pytest.raises(InputError, match=r"record\.json says of experts is damaged"):
        expert_set(with_experts(bare, experts))


def test_each_set_comes_once_with_all_methods_that_use_it(bare: Run) -> None:
    ten = replace(bare, distilled=replace(bare.distilled, stored=bare.distilled.stored.expand(-1, 10, -1, -1, -1)))
    runs = [with_experts(bare), bare, with_experts(ten), with_experts(bare), with_experts(bare, RECORD[:1])]
    found = experts_of(runs, ["mtt", "random", "mtt", "tesla", "mtt"])
    assert [(one.experts.count, one.methods, one.ipcs) for one in found] == [
        (2, ("mtt", "tesla"), (1, 10)),
        (1, ("mtt",), (1,)),
    ]
    assert [one.label for one in found] == ["mtt and tesla", "mtt"]
    # One colour, told apart by how light it is.
    colours = {"mtt": "#000000", "tesla": "#ff0000"}
    assert found[0].colour(colours) == "#000000"
    assert found[1].colour(colours) not in ("#000000", "#ffffff")


def test_the_line_is_the_mean_and_the_band_goes_from_least_to_most(monkeypatch: pytest.MonkeyPatch) -> None:
    from matplotlib.axes import Axes

    drawn: list[tuple[list[int], list[float]]] = []
    bands: list[tuple[list[float], list[float]]] = []
    plot, fill = Axes.plot, Axes.fill_between

    def plotted(self: Axes, x: list[int], y: list[float], **look: Any) -> Any:
        drawn.append((x, y))
        return plot(self, x, y, **look)

    def filled(self: Axes, x: list[int], low: list[float], high: list[float], **look: Any) -> Any:
        bands.append((low, high))
        return fill(self, x, low, high, **look)

    monkeypatch.setattr(Axes, "plot", plotted)
    monkeypatch.setattr(Axes, "fill_between", filled)
    svg = weight_changes([used(((3.0, 1.0), (5.0, 2.0), (4.0, 6.0)))])
    assert drawn == [([1, 2], [4.0, 3.0])]
    assert bands == [([3.0, 1.0], [5.0, 6.0])]
    assert {"mtt", "epoch", "squared weight change"} <= texts(svg)


def test_one_expert_has_no_band() -> None:
    one, two = (weight_changes([used(((3.0, 1.0),) * count)]) for count in (1, 2))
    assert b"PolyCollection" not in one
    assert b"PolyCollection" in two


def test_a_large_range_is_logarithmic_and_a_small_one_begins_at_zero() -> None:
    small, large = (weight_changes([used(((1.0, 1.2),)), used(((high, high),), "ast")]) for high in (2.0, 50.0))
    assert "0.0" in texts(small) or "0.00" in texts(small)
    assert any("10^" in text for text in texts(large))
    assert weight_changes([used(((0.0, 50.0),))])


def test_without_changes_nothing_is_drawn() -> None:
    for sets in ([], [used(())]):
        with pytest.raises(ValueError, match="no changes"):
            weight_changes(sets)


def test_equal_figures_are_equal_bytes() -> None:
    sets = [used(((3.0, 1.0), (5.0, 2.0)))]
    assert weight_changes(sets) == weight_changes(sets)
    picture = weight_changes(sets, width=350, form="png")
    assert picture.startswith(b"\x89PNG")


def test_read_from_the_files_of_a_run(bare: Run, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(bare.folder, tmp_path / "run"))
    (folder / "record.json").write_text(json.dumps({**bare.record, "experts": RECORD[:1]}), encoding="utf-8")
    found = expert_set(read_run(folder))
    assert found is not None and found.weight_change == ((3.0, 1.0),)
