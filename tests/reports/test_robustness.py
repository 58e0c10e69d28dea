from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from rich.console import Console

from limbeck.core.distilled import Distilled
from limbeck.data import Data
from limbeck.evaluation.protocols import Protocol
from limbeck.evaluation.robustness import Attack, Attacked, Robustness
from limbeck.methods.random import random
from limbeck.reports.entries import Entry
from limbeck.reports.page import write_page
from limbeck.reports.robustness import (
    attacked_curves,
    robustness_as_plain,
    robustness_section,
    robustness_table,
    write_robustness,
)
from limbeck.reports.runs import read_run, robustness_file
from limbeck.storage.directory import write_set

PROTOCOL, ATTACK = Protocol(name="tiny", networks=("mlp",)), Attack(epsilons=(2 / 255, 0.3))
ENTRY = Attacked("mlp", (0.8, 0.6), ((0.5, 0.1), (0.3, 0.1)), (1, 2), 0.01)
FOUND = Robustness(PROTOCOL, ATTACK, (ENTRY,), 1000, 4, 1.5, "1.20.1")


def test_every_budget_has_a_point_and_none_is_the_first() -> None:
    plain = robustness_as_plain(FOUND)
    assert [point["epsilon"] for point in plain["points"]] == [0.0, 2 / 255, 0.3]
    assert [point["mean"] for point in plain["points"]] == pytest.approx([0.7, 0.4, 0.1])
    assert (plain["attack"]["name"], plain["attack"]["steps"], plain["attack"]["toolbox"]) == ("pgd", 10, "1.20.1")


def test_what_came_out_is_written_beside_the_set(tmp_path: Path, digits: Data) -> None:
    distilled = Distilled(torch.zeros(10, 1, 1, 8, 8), digits.spec, random(), seed=0)
    path = write_robustness(tmp_path, FOUND, distilled)
    assert path.name == robustness_file(PROTOCOL, ATTACK, 4, "float32")
    assert json.loads(path.read_text()) == json.loads(json.dumps(robustness_as_plain(FOUND)))
    other = write_robustness(tmp_path, replace(FOUND, attack=replace(ATTACK, steps=20)), distilled)
    elsewhere = write_robustness(tmp_path, FOUND, distilled, replace(digits.spec, name="other", digest="other"))
    assert len({path, other, elsewhere}) == 3
    assert json.loads(elsewhere.read_text())["data"] == "other"


def test_a_table_has_a_column_for_every_budget() -> None:
    text = io.StringIO()
    Console(file=text, width=200).print(robustness_table(FOUND, "runs/a"))
    lines = [" ".join(line.split()) for line in text.getvalue().splitlines()]
    assert "runs/a: protocol tiny, 1,000 test images, PGD of 10 steps" in lines
    assert "network not attacked, % 2/255, % 0.3, %" in lines
    assert "mlp 70.0 ± 14.1 40.0 ± 14.1 10.0 ± 0.0" in lines


def test_a_page_has_one_table_and_figure_for_what_was_attacked_alike(entry: Callable[..., Entry]) -> None:
    plain = json.loads(json.dumps(robustness_as_plain(FOUND)))
    higher = {**plain, "networks": [{**plain["networks"][0], "clean": [0.9, 0.6]}]}
    stronger = {**plain, "attack": {**plain["attack"], "steps": 20}}
    entries = [
        entry(robustness=(plain, {**higher, "seed": 5})),
        entry(seed=1, robustness=(higher,)),
        entry(ipc=2, robustness=(stronger,)),
    ]
    section = robustness_section(entries, {"idc": "#000000"})
    assert section is not None and len(section) == 2
    table = section[0]["table"]
    assert [column.name for column in table.columns[2:]] == [
        "Not attacked, %",
        "2/255, %",
        "0.3, %",
        "Networks",
        "Runs",
    ]
    ((ipc, name, clean, near, far, networks, runs),) = table.rows
    assert (ipc.text, name.text, networks.text, runs.text) == ("1", "idc", "6", "2")
    assert clean.exact == pytest.approx([0.7375, 0.0177], abs=1e-4)  # of the runs' means 0.725 and 0.75
    assert (near.text, far.exact[0]) == ("40.0 ± 0.0", pytest.approx(0.1))
    assert "20 steps" in section[1]["sentence"] and section[1]["table"].name == "robustness-2"
    assert "idc, IPC 1: 73.8 at 0/255, 40.0 at 2/255, 10.0 at 0.3" in section[0]["figure"].alt
    assert section[0]["figure"].wide != section[0]["figure"].narrow
    assert robustness_section([entry()], {"idc": "#000000"}) is None
    with pytest.raises(ValueError, match="no curves"):
        attacked_curves([])


def test_files_of_a_run_are_read_and_shown(tmp_path: Path, digits: Data) -> None:
    distilled = Distilled(torch.zeros(10, 1, 1, 8, 8), digits.spec, random(), seed=0)
    write_set(tmp_path / "run", distilled)
    write_robustness(tmp_path / "run", FOUND, distilled)
    run = read_run(tmp_path / "run")
    assert [found["images"] for found in run.robustness] == [1000]
    write_page(tmp_path / "page.html", [run], None, "page")
    html = (tmp_path / "page.html").read_text()
    assert 'href="#robustness"' in html and "10 steps from a random start on 1,000 test images" in html
