from __future__ import annotations

import io
import json
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
from limbeck.reports.robustness import robustness_as_plain, robustness_table, write_robustness
from limbeck.reports.runs import robustness_file

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
