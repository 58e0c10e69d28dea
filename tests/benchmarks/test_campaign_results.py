"""``RESULTS.md`` says what the records say, misses and gaps included, and is up to date."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from benchmarks.campaign.cells import Table, tables
from benchmarks.campaign.figure import LEAST, bars, described, draw
from benchmarks.campaign.ledger import Ledger, Measured
from benchmarks.campaign.results import PAGE, page, pictures, verdict
from tests.benchmarks.campaign_cells import TOY, judgement, spent

PUBLISHED = replace(TOY, kind="main", paper=60.0, paper_std=1.0, seeds=2)


def measured(mean: float) -> Measured:
    return Measured(seeds=(0,), means=(mean,), best=(), failed=(), hardware=("CPU",), seconds=(1.0, 1.0), notes=())


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(tables(), Ledger()), "make results"


def test_its_pictures_are_up_to_date() -> None:
    shown = pictures(tables(), Ledger())
    assert shown
    for name, (table, rows) in shown.items():
        with Image.open(PAGE.parent / name) as picture:
            assert picture.info["Description"] == described(rows), f"{table.title}: make results"
        assert f"]({name})" in PAGE.read_text(encoding="utf-8")


def test_a_picture_has_the_most_accurate_on_top_and_needs_some_methods(tmp_path: Path) -> None:
    ledger, names = Ledger(tmp_path), ("random", "herding", "dc", "dsa", "dm", "idc", "dream", "dsdm", "idm", "mtt")
    cells = [replace(TOY, label=name, words=(name,)) for name in names]
    for place, cell in enumerate(cells):
        assert bars(Table(title="T", cells=tuple(cells)), ledger) == []
        for seed in (0, 1):
            ledger.add(cell, seed, spent(1.0), judgement(0.3 + 0.05 * (place * 7 % LEAST) + 0.01 * seed))
    rows = bars(Table(title="T", cells=tuple(cells)), ledger)
    expected = sorted((30.5 + 5 * place for place in range(LEAST)), reverse=True)
    assert [measured.mean for _, measured in rows] == pytest.approx(expected)
    content = draw(rows, "T")
    assert content == draw(rows, "T")
    with Image.open(io.BytesIO(content)) as picture:
        assert json.loads(picture.info["Description"])[rows[0][0]] == [75.0, 76.0]
    published = Table(title="T", cells=tuple(replace(cell, kind="main") for cell in cells))
    assert bars(published, ledger) == []


@pytest.mark.parametrize(
    ("mean", "paper", "std", "word"),
    [
        (58.0, 60.0, 1.0, ""),
        (57.9, 60.0, 1.0, "miss"),
        (62.1, 60.0, 1.0, "above"),
        (59.0, 60.0, 0.1, ""),
        (58.9, 60.0, None, "miss"),
        (58.9, None, None, ""),
    ],
)
def test_a_miss_is_two_deviations_and_a_point(mean: float, paper: float | None, std: float | None, word: str) -> None:
    assert verdict(replace(PUBLISHED, paper=paper, paper_std=std), measured(mean)) == word


def test_settings_of_our_own_are_not_compared() -> None:
    assert verdict(replace(PUBLISHED, kind="small"), measured(10.0)) == ""


def test_rows(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.add(PUBLISHED, 0, spent(30.0), judgement(0.5, 0.52, best=(0.55, 0.57), seconds=4.0, note="busy"))
    ours = replace(TOY, paper=61.0, label="small")
    for seed in (0, 1):
        ledger.add(ours, seed, spent(1.0), judgement(0.5 + 0.1 * seed))
    unmeasured = replace(PUBLISHED, label="later", ipc=50, note="uncertain")
    nobody = replace(PUBLISHED, label="frepo", words=())
    failed = replace(PUBLISHED, label="wild", ipc=10)
    ledger.add(failed, 0, {"failed": "no number"})
    text = page([Table(title="T", cells=(PUBLISHED, ours, unmeasured, nobody, failed), text="About it.")], ledger)
    lines = [line for line in text.splitlines() if line.startswith("|")]
    net = "convnet1:width=4"
    for row in (
        f"| dm | digits | 1 | {net} | 60.0 ± 1.0 | 51.0 (*best* 56.0) | -9.0, **miss** | 1 of 2 | 30 + 4 (1) |",
        f"| small | digits | 1 | {net} | 61.0 | 55.0 ± 7.1 | not comparable | 2 | 1 + 1 | CPU, 1 of 2 cores |",
        f"| later | digits | 50 | {net} | 60.0 ± 1.0 (uncertain) | not measured |",
        f"| frepo | digits | 1 | {net} | 60.0 ± 1.0 | no recipe here |",
        f"| wild | digits | 10 | {net} | 60.0 ± 1.0 | failed: no number |  | 0 of 2 |",
    ):
        assert any(line.startswith(row) for line in lines), row
    assert "(1) busy" in text and "About it." in text
    assert "| [T](#t) | 5 | 2 | 1 |" in lines
