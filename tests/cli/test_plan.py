"""``limbeck plan``: a table for people, JSON for programs."""

from __future__ import annotations

import json

import pytest

from limbeck.cli.main import main


def test_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "dream", "--ipc", "1", "--device", "cpu"]) == 0
    shown = capsys.readouterr().out
    assert "8 x 10 = 80" in shown and "memory" in shown and "the whole run" in shown


def test_json_with_a_changed_recipe(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["plan", "idc", "--device", "cpu", "--json", "--curriculum.iterations", "2", "--curriculum.steps", "3"]
    assert main(words) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["steps"] == 6 and found["seconds"] >= 6 * found["step_seconds"] > 0
    assert found["execution"]["compile"] is False and found["remedies"] == []


def test_a_baseline_without_steps(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "random"]) == 0
    assert "inner" not in capsys.readouterr().out


def test_wrong_input_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "nothing"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
