"""A run by itself; what `distill` makes of it is tested in test_distill.py, and of groups in test_groups.py."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from limbeck.core.errors import Interrupted, RunError
from limbeck.data import Data
from limbeck.engine.distill import make_context
from limbeck.engine.interrupt import Stop
from limbeck.engine.journal import Journal
from limbeck.engine.loop import Loop, LoopState
from limbeck.engine.progress import Progress
from limbeck.engine.run import Run
from limbeck.engine.settings import Settings
from tests.engine.tiny import tiny_idc

QUIET = Settings(device="cpu", progress="quiet")
EVERY_STEP = Settings(device="cpu", progress="quiet", checkpoint_minutes=0)


class Heard(Progress):
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.started: list[tuple[str, int, int]] = []
        self.done: list[tuple[int, float | None]] = []
        self.said: list[str] = []

    def start(self, title: str, total: int, done: int = 0) -> None:
        self.started.append((title, total, done))

    def advance(self, done: int, loss: float | None = None, figures: Mapping[str, float] | None = None) -> None:
        self.done.append((done, loss))

    def say(self, message: str) -> None:
        self.said.append(message)

    def close(self) -> None:
        pass


def no_set(state: LoopState) -> Any:
    raise AssertionError("nobody asked for a snapshot")


def loop_of(digits: Data) -> Loop:
    return Loop(tiny_idc(), make_context(tiny_idc(), digits, 1, 0, QUIET))


def begin(loop: Loop, journal: Journal | None, stop: Stop | None = None, **more: Any) -> tuple[Run, Heard]:
    heard = Heard()
    return Run(loop, journal, no_set, more.pop("settings", QUIET), heard, stop or Stop(), **more), heard


@pytest.fixture(scope="module")
def stored(digits: Data) -> Tensor:
    loop = loop_of(digits)
    state = loop.start()
    while state.ordinal < loop.length():
        state, _ = loop.step(state)
    return state.stored


@pytest.mark.parametrize("kept", [True, False])
def test_all_steps_are_done_logged_and_told(digits: Data, stored: Tensor, tmp_path: Path, kept: bool) -> None:
    journal = Journal(tmp_path) if kept else None
    run, heard = begin(loop_of(digits), journal)
    state = run.to_the_end()
    assert state.ordinal == 6 and torch.equal(state.stored, stored)
    assert heard.started == [("idc", 6, 0)]
    assert [done for done, _ in heard.done] == [1, 2, 3, 4, 5, 6]
    assert run.loss == heard.done[-1][1] and run.seconds > 0
    if journal is not None:
        lines = journal.lines()
        assert [(line["step"], line["loss"]) for line in lines] == heard.done
        assert all(line["seconds"] <= run.seconds for line in lines)
        # The first checkpoint, which a run that has only just begun goes back to.
        assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step-000000000.safetensors"]


def test_a_group_counts_from_those_before_it_and_leaves_the_display_to_them(digits: Data, tmp_path: Path) -> None:
    run, heard = begin(loop_of(digits), Journal(tmp_path), done=12, total=30)
    run.to_the_end()
    assert heard.started == []
    assert [done for done, _ in heard.done] == [13, 14, 15, 16, 17, 18]
    assert [line["step"] for line in Journal(tmp_path).lines()] == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("settings", [QUIET, EVERY_STEP])
def test_a_stop_is_resumed_with_the_time_that_was_spent(
    digits: Data, stored: Tensor, tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop, original = Stop(), Loop.step

    def step(self: Loop, state: LoopState) -> tuple[LoopState, Tensor]:
        stop.signal = signal.SIGTERM if state.ordinal == 3 else None
        return original(self, state)

    monkeypatch.setattr(Loop, "step", step)
    first, _ = begin(loop_of(digits), Journal(tmp_path), stop, done=6, total=12, settings=settings)
    with pytest.raises(
        Interrupted, match=r"^stopped by SIGTERM at step 10 of 12; the same command resumes at step 10\.$"
    ):
        first.to_the_end()
    spent = Journal(tmp_path).lines()[-1]["seconds"]
    monkeypatch.undo()
    second, heard = begin(loop_of(digits), Journal(tmp_path), done=6, total=12, settings=settings)
    assert torch.equal(second.to_the_end().stored, stored)
    assert heard.said == ["resumed at step 10"]
    assert [done for done, _ in heard.done] == [11, 12]
    assert second.seconds > spent > 0
    assert [line["step"] for line in Journal(tmp_path).lines()] == [1, 2, 3, 4, 5, 6]


def test_a_pool_that_is_known_is_not_made_again(digits: Data, monkeypatch: pytest.MonkeyPatch) -> None:
    loop = loop_of(digits)
    given = {"weights": {}, "velocity": {}, "start": {}}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(loop.recipe.pool), "init", None)
        run, _ = begin(loop, None, pool=given)
        assert torch.isfinite(run.to_the_end().stored).all()
    assert given == {"weights": {}, "velocity": {}, "start": {}}


def test_a_loss_that_is_no_number_ends_it_without_a_place_to_go_back_to(
    digits: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = Loop.step

    def step(self: Loop, state: LoopState) -> tuple[LoopState, Tensor]:
        after, losses = original(self, state)
        return after, losses * (float("nan") if state.ordinal == 1 else 1.0)

    monkeypatch.setattr(Loop, "step", step)
    run, _ = begin(loop_of(digits), None)
    with pytest.raises(RunError, match="the loss is nan by step 2, and nothing to go back to"):
        run.to_the_end()


@pytest.fixture
def ticking(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that stands still but for each step, which takes a second."""
    now, original = [0.0], Loop.step

    def step(self: Loop, state: LoopState) -> tuple[LoopState, Tensor]:
        now[0] += 1
        return original(self, state)

    monkeypatch.setattr(Loop, "step", step)
    monkeypatch.setattr("limbeck.engine.run.time.monotonic", lambda: now[0])


@pytest.mark.parametrize(("limit", "steps"), [(1e-9, 1), (2.5, 3), (3.0, 3), (100.0, 6), (None, 6)])
def test_no_step_begins_when_the_time_is_up(
    digits: Data, tmp_path: Path, ticking: None, limit: float | None, steps: int
) -> None:
    run, heard = begin(loop_of(digits), Journal(tmp_path), limit=limit)
    state = run.to_the_end()
    assert state.ordinal == run.steps == len(heard.done) == steps
    assert [line["step"] for line in Journal(tmp_path).lines()] == list(range(1, steps + 1))


def test_the_last_losses_before_the_cut_are_logged(
    digits: Data, tmp_path: Path, ticking: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("limbeck.engine.run._LOG_LINES", 2)
    run, _ = begin(loop_of(digits), Journal(tmp_path), limit=4)
    run.to_the_end()
    assert [line["step"] for line in Journal(tmp_path).lines()] == [3, 4]


def test_time_before_an_interruption_counts(digits: Data, tmp_path: Path, ticking: None) -> None:
    """Stopped after two seconds of four: the second half has two, not four."""
    stop = Stop()
    run, _ = begin(loop_of(digits), Journal(tmp_path), stop, limit=4, settings=EVERY_STEP)
    step = run._loop.step

    def stopping(state: LoopState) -> tuple[LoopState, Tensor]:
        stop.signal = signal.SIGTERM if state.ordinal == 1 else None
        return step(state)

    run._loop.step = stopping  # type: ignore[method-assign]
    with pytest.raises(Interrupted):
        run.to_the_end()
    again, _ = begin(loop_of(digits), Journal(tmp_path), limit=4, settings=EVERY_STEP)
    assert again.to_the_end().ordinal == 4


def test_a_cut_state_that_is_not_finite_is_not_the_result(
    digits: Data, tmp_path: Path, ticking: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = Loop.step

    def spoilt(self: Loop, state: LoopState) -> tuple[LoopState, Tensor]:
        after, losses = original(self, state)
        return after, losses * (float("nan") if state.ordinal == 2 else 1.0)

    monkeypatch.setattr(Loop, "step", spoilt)
    run, heard = begin(loop_of(digits), Journal(tmp_path), limit=3, settings=EVERY_STEP)
    assert run.to_the_end().ordinal == 2
    assert heard.said == ["the loss is nan by step 3; going back to step 2"]
