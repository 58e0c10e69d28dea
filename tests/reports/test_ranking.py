from __future__ import annotations

import csv
import io
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from limbeck.data import Data
from limbeck.engine.distill import distill
from limbeck.engine.settings import Settings
from limbeck.evaluation.protocols import Protocol
from limbeck.evaluation.ranking import Ranking, RankingProtocol, RankingRun
from limbeck.reports.entries import labelled
from limbeck.reports.page import write_page
from limbeck.reports.ranking import ranking_as_plain, ranking_section, ranking_table, ranking_text, write_ranking
from limbeck.reports.runs import Run, ranking_file, read_run
from tests.engine.tiny import tiny_dream

PROTOCOL = RankingProtocol(base=Protocol(name="tiny", networks=("mlp",), length=1000))
NAMES = ("synthetic_hard", "full_hard", "synthetic", "random")


def run(seed: int, *accuracies: float) -> RankingRun:
    return RankingRun(seed, dict(zip(NAMES, accuracies, strict=True)), dict.fromkeys(NAMES, 0.01))


RANKING = Ranking(PROTOCOL, (run(7, 0.2, 0.8, 0.5, 0.35), run(8, 0.3, 0.8, 0.5, 0.25)), 4, "hard", None, 65.0)


@pytest.fixture
def folder(tmp_path: Path, digits: Data) -> Path:
    out = tmp_path / "run"
    distill(tiny_dream(), digits, ipc=1, seed=2, out=out, settings=Settings(device="cpu", progress="quiet"))
    return out


def test_a_file_holds_every_run_under_the_names_of_dd_ranking() -> None:
    plain = ranking_as_plain(RANKING)
    assert plain["runs"][0]["lrs"] == pytest.approx(0.1832, abs=5e-5)
    assert plain["mean"]["hard_label_recovery"] == pytest.approx(0.55)
    assert plain["std"]["improvement_over_random"] == pytest.approx(0.0707, abs=1e-4)
    rows = list(csv.reader(io.StringIO(ranking_text(plain))))
    assert rows[0][:5] == ["hard_label_recovery", "improvement_over_random", "lrs", "run", "seed"]
    assert [float(cell) for cell in rows[1][:2]] == pytest.approx([0.6, 0.15])
    assert (rows[2][rows[0].index("accuracy_random")], rows[2][rows[0].index("seed")]) == ("0.25", "8")
    assert len(rows) == 3


def test_scores_are_written_beside_the_set_and_read_back(folder: Path) -> None:
    distilled = read_run(folder).distilled
    path = write_ranking(folder, RANKING, distilled)
    assert path.name == ranking_file(PROTOCOL, 4, "float32")
    assert path.with_suffix(".csv").read_text() == ranking_text(ranking_as_plain(RANKING))
    (found,) = read_run(folder).rankings
    assert found == json.loads(json.dumps(ranking_as_plain(RANKING)))
    other = write_ranking(folder, RANKING, distilled, replace(distilled.spec, name="other", digest="other"))
    assert other != path and json.loads(other.read_text())["data"] == "other"
    more = replace(PROTOCOL, augment_hard=True)
    assert ranking_file(more, 4, "float32") != path.name != ranking_file(PROTOCOL, 4, "float32", labels="teacher")


def test_a_table_has_a_line_for_each_training_and_score() -> None:
    text = io.StringIO()
    Console(file=text, width=79).print(ranking_table(ranking_as_plain(RANKING), "runs/a"))
    lines = [" ".join(line.split()) for line in text.getvalue().splitlines()]
    assert "mean run 0 run 1" in lines
    assert "synthetic hard, % 25.0 ± 7.1 20.0 30.0" in lines
    assert "HLR, points 55.0 ± 7.1 60.0 50.0" in lines
    assert any(re.fullmatch(r"LRS 0\.2\d\d ± 0\.0\d\d 0\.183 0\.2\d\d", line) for line in lines), lines


def ranked(folder: Path, *rankings: dict[str, Any]) -> Run:
    return replace(read_run(folder), rankings=rankings)


def test_the_page_has_one_table_for_what_was_ranked_alike(folder: Path, tmp_path: Path) -> None:
    plain = json.loads(json.dumps(ranking_as_plain(RANKING)))
    other = {**plain, "protocol": {**plain["protocol"], "augment_hard": True}}
    entries = labelled([ranked(folder, plain, other)], None)
    colours = {entry.label: "#000000" for entry in entries}
    section = ranking_section(entries, colours)
    assert section is not None and len(section) == 2
    (row,) = section[0]["rows"]
    assert (row["accuracies"][0], row["cells"][0], row["runs"]) == ("25.0 ± 7.1", "55.0 ± 7.1", 2)
    assert row["seconds"] == "1 min 5 s"
    assert ranking_section(labelled([read_run(folder)], None), colours) is None
    write_page(tmp_path / "page.html", [ranked(folder, plain)], None, "page")
    html = (tmp_path / "page.html").read_text()
    assert 'id="ranking"' in html and "HLR, points" in html
    shutil.rmtree(folder)
