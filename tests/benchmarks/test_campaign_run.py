"""A campaign measures what fits, stops at its budget, goes on where it was, and repeats nothing."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from torch import Tensor

from benchmarks.campaign import run, steps
from benchmarks.campaign.cells import Cell
from benchmarks.campaign.ledger import Ledger
from benchmarks.campaign.run import Campaign
from limbeck.core.errors import RunError
from limbeck.engine.loop import Loop, LoopState
from tests.benchmarks.campaign_cells import EAGER, TOY, judgement, longer, spent


def campaign(folder: Path, cells: Sequence[Cell] = (TOY,), **changes: object) -> tuple[Campaign, list[str]]:
    said: list[str] = []
    made = Campaign(cells, folder / "runs", folder / "data", Ledger(folder / "results"), EAGER, say=said.append)
    return replace(made, **changes), said  # type: ignore[arg-type]


def test_seeds_are_measured_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, _ = campaign(tmp_path, note="alone")
    assert first.run(5) == 2
    measured = Ledger(tmp_path / "results").measured(TOY)
    assert measured is not None and measured.seeds == (0, 1) and measured.notes == ("alone",)
    record = json.loads((tmp_path / "results/campaign-digits.json").read_text(encoding="utf-8"))
    (entry,) = record["runs"].values()
    assert entry["command"] == TOY.command
    judged = entry["seeds"]["1"]["judged"][TOY.judged_by]
    assert len(judged["last"]) == 3 and judged["best"] == [] and judged["training_images"] == 10
    assert entry["seeds"]["1"]["bytes"] == 640 and entry["seeds"]["1"]["versions"]["torch"]

    monkeypatch.setattr(steps, "distill", None)  # nothing may be computed again
    monkeypatch.setattr(steps, "judge", None)
    again, said = campaign(tmp_path)
    assert again.run(5) == 0 and said == ["nothing more that fits; 0 steps done"]


def test_a_cell_with_published_settings_is_taught_by_its_own_teacher(tmp_path: Path) -> None:
    teacher = ("--pool.teacher.network", "convnet1:width=4,norm=batch", "--pool.teacher.epochs", "1")
    words = ("sre2l", "--preset", "digits", *teacher, "--curriculum.steps", "2")
    cell = replace(TOY, kind="main", words=words, protocol="limbeck_soft", storage="float32", seeds=1)
    made, said = campaign(tmp_path, [cell])
    assert made.run(5) == 1, said
    record = json.loads((tmp_path / "results/campaign-digits-published.json").read_text(encoding="utf-8"))
    (entry,) = record["runs"].values()
    seed = entry["seeds"]["0"]
    assert seed["bytes"] == 4 * 640
    judged = seed["judged"][cell.judged_by]
    assert judged["label_kind"] == "teacher" and judged["bytes_labels"] > 0
    (folder,) = (tmp_path / "runs/digits-published").iterdir()
    loaded = yaml.safe_load((folder / "run.yaml").read_text(encoding="utf-8"))["data"]["options"]
    assert loaded["validation"] == 0


def test_what_lies_in_run_folders_is_taken_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, _ = campaign(tmp_path)
    first.run(5)
    before = (tmp_path / "results/campaign-digits.json").read_text(encoding="utf-8")
    (tmp_path / "results/campaign-digits.json").unlink()
    monkeypatch.setattr(steps, "distill", None)
    monkeypatch.setattr(steps, "judge", None)
    second, said = campaign(tmp_path)
    assert second.run(0) == 2 and sum("taken over" in line for line in said) == 2
    assert (tmp_path / "results/campaign-digits.json").read_text(encoding="utf-8") == before


def test_another_run_in_the_folder_is_not_taken_for_it(tmp_path: Path) -> None:
    first, _ = campaign(tmp_path)
    first.run(5)
    folder = tmp_path / "runs/digits"
    other = replace(TOY, words=(*TOY.words, "--optimizer.lr", "0.5"))
    for path in list(folder.iterdir()):
        path.rename(folder / path.name.replace(TOY.run, other.run))
    second, said = campaign(tmp_path, [other])
    assert second.run(5) == 0 and any("holds another run" in line for line in said)


def test_a_seed_that_is_too_long_is_passed_by(tmp_path: Path) -> None:
    made, said = campaign(tmp_path, [longer(10**7), TOY])
    assert made.run(3) == 2
    assert "minutes are needed" in said[0]
    assert Ledger(tmp_path / "results").measured(longer(10**7)) is None


def test_nothing_is_planned_where_judging_alone_is_too_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made, said = campaign(tmp_path)
    made.ledger.add(replace(TOY, words=("dsa",)), 0, spent(1.0), judgement(0.5, seconds=500.0))
    monkeypatch.setattr(steps.Step, "distilling_seconds", None)
    assert made.run(1) == 0
    assert "about 8.3 minutes are needed, 1.0 are left" in said[0]


def test_the_budget_ends_a_run_which_goes_on_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cell, taken, step = longer(10**6), [], Loop.step

    def watched(loop: Loop, state: LoopState) -> tuple[LoopState, Tensor]:
        taken.append(state.ordinal)
        return step(loop, state)

    monkeypatch.setattr(Loop, "step", watched)
    before, counts = signal.getsignal(signal.SIGTERM), []
    for _ in range(2):
        made, said = campaign(tmp_path, [cell], partly=True)
        assert made.run(2 / 60) == 0 and any("stopped by SIGTERM" in line for line in said)
        counts.append(len(taken))
    assert signal.getsignal(signal.SIGTERM) is before
    assert 0 < counts[0] < counts[1] and taken == list(range(counts[1]))
    assert Ledger(tmp_path / "results").measured(cell) is None


def test_somebody_elses_signal_stops_the_campaign(tmp_path: Path) -> None:
    heard: list[int] = []
    previous = signal.signal(signal.SIGTERM, lambda number, frame: heard.append(number))
    try:
        with run._until(time.monotonic() + 60):
            os.kill(os.getpid(), signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, previous)
    assert heard == [signal.SIGTERM]


def test_a_run_that_fails_is_a_cell_that_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def diverged(*given: object, **named: object) -> None:
        raise RunError("the loss was not finite, twice.")

    monkeypatch.setattr(steps, "distill", diverged)
    made, _ = campaign(tmp_path)
    assert made.run(5) == 2
    measured = Ledger(tmp_path / "results").measured(TOY)
    assert measured is not None and measured.means == () and "not finite" in measured.failed[0]
    assert campaign(tmp_path)[0].run(5) == 0


def test_a_plan_that_fails_is_no_measurement(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*given: object) -> float:
        raise RunError("nobody can tell.")

    monkeypatch.setattr(steps.Step, "distilling_seconds", unknown)
    made, _ = campaign(tmp_path)
    assert made.run(5) == 0
    assert Ledger(tmp_path / "results").measured(TOY) is None


def test_cells_for_a_gpu_and_without_data_wait(tmp_path: Path) -> None:
    made, _ = campaign(tmp_path, [replace(TOY, device="cuda"), replace(TOY, data="cifar10")])
    assert made.run(5) == 0


def test_what_another_campaign_is_at_work_on_is_passed_by(tmp_path: Path) -> None:
    other = replace(TOY, words=(*TOY.words[:-1], "6"))
    first, _ = campaign(tmp_path)
    with first._claimed(TOY):
        second, said = campaign(tmp_path, [TOY, other])
        assert second.run(5) == 2
    assert any("another campaign is at work on it" in line for line in said)
    found = Ledger(tmp_path / "results")
    assert found.measured(TOY) is None and found.measured(other) is not None
    assert second.run(5) == 2  # the other one is gone


def test_what_another_campaign_measured_meanwhile_is_not_measured_again(tmp_path: Path) -> None:
    late, _ = campaign(tmp_path)
    assert not late.ledger.has(TOY, 0)
    early, _ = campaign(tmp_path)
    early.run(5)
    late.out = tmp_path / "other runs"  # where nothing can be taken over
    assert late.run(5) == 0


def test_methods_are_chosen_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--budget", "0", "--list", "--tables", "small_campaign", "--results", str(tmp_path), "--only"]
    assert run.main([*arguments, "idm", "dm"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 8
    with pytest.raises(SystemExit):
        run.main([*arguments, "dmm"])
    assert "no cell of these tables is of dmm" in capsys.readouterr().err


def test_the_command_line_lists(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--budget", "0", "--list", "--tables", "small_campaign", "--results", str(tmp_path)]
    assert run.main(arguments) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 80 and lines[0].startswith("cpu  Fashion-MNIST (other tone curve), random-ipc10")
