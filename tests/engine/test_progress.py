from __future__ import annotations

import io
import json
from typing import Any

import pytest

from limbeck.engine import progress as module
from limbeck.engine.progress import progress
from limbeck.engine.settings import ProgressMode


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module.time, "monotonic", clock)
    return clock


def strict(line: str) -> Any:
    """JSON as every parser reads it, without NaN."""

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    return json.loads(line, parse_constant=refuse)


def run(mode: ProgressMode, clock: Clock, seconds: float, steps: int) -> list[str]:
    """Output lines of ``steps`` steps of ``seconds`` each."""
    stream = io.StringIO()
    with progress(mode, stream) as display:
        display.start("work", steps)
        for done in range(1, steps + 1):
            clock.now += seconds
            display.advance(done, 0.5 if done > 1 else None)
    return stream.getvalue().splitlines()


def test_plain_writes_a_line_a_minute_and_one_at_the_end(clock: Clock) -> None:
    assert run("plain", clock, 10.0, 15) == [
        "work: 6/15, 0.10/s, 90 s left, loss 0.5",
        "work: 12/15, 0.10/s, 30 s left, loss 0.5",
        "work: 15/15, 0.10/s, 0 s left, loss 0.5",
    ]


def test_plain_leaves_out_a_loss_that_is_not_known(clock: Clock) -> None:
    assert run("plain", clock, 1.0, 1) == ["work: 1/1, 1.00/s, 0 s left"]


def test_jsonl_writes_objects(clock: Clock) -> None:
    lines = [strict(line) for line in run("jsonl", clock, 2.0, 4)]
    assert lines == [
        {"work": "work", "done": 3, "total": 4, "rate": 0.5, "seconds_left": 2.0, "loss": 0.5},
        {"work": "work", "done": 4, "total": 4, "rate": 0.5, "seconds_left": 0.0, "loss": 0.5},
    ]


def test_what_is_learnt_beside_images_stands_beside_the_loss(clock: Clock) -> None:
    shown: dict[str, str] = {}
    modes: tuple[ProgressMode, ...] = ("plain", "jsonl", "rich")
    for mode in modes:
        stream = io.StringIO()
        with progress(mode, stream) as display:
            display.start("work", 2)
            clock.now += 100
            display.advance(1, 0.875, {"student_lr": 0.0123456, "skipped": 3.0})
            clock.now += 100
            display.advance(2)  # no news: what was known is still shown
        shown[mode] = stream.getvalue().splitlines()[-1]
    assert shown["plain"] == "work: 2/2, 0.01/s, 0 s left, loss 0.875, student lr 0.01235, skipped 3"
    assert strict(shown["jsonl"])["student_lr"] == 0.0123456
    assert {"loss", "skipped"} <= set(strict(shown["jsonl"]))
    assert "loss 0.875" in shown["rich"] and "student lr 0.01235" in shown["rich"]


@pytest.mark.parametrize("mode", ["plain", "jsonl"])
def test_new_work_forgets_what_was_known_of_the_work_before(mode: ProgressMode, clock: Clock) -> None:
    stream = io.StringIO()
    display = progress(mode, stream)
    display.start("first", 1)
    display.advance(1, 0.5, {"student_lr": 0.01})
    display.start("second", 1)
    display.advance(1)
    last = stream.getvalue().splitlines()[-1]
    assert "second" in last and "student" not in last


def test_jsonl_messages_are_objects_too() -> None:
    stream = io.StringIO()
    progress("jsonl", stream).say('a "quoted"\nmessage')
    assert strict(stream.getvalue()) == {"message": 'a "quoted"\nmessage'}


@pytest.mark.parametrize("mode", ["plain", "jsonl"])
def test_a_resumed_rate_counts_only_steps_of_now(mode: ProgressMode, clock: Clock) -> None:
    stream = io.StringIO()
    display = progress(mode, stream)
    display.start("work", 100, 90)
    clock.now += 100
    display.advance(95)
    line = stream.getvalue()
    assert "0.05/s, 100 s left" in line if mode == "plain" else strict(line)["rate"] == 0.05


@pytest.mark.parametrize("done", [3, 5])
def test_work_that_was_rolled_back_has_no_rate(done: int, clock: Clock) -> None:
    stream = io.StringIO()
    display = progress("jsonl", stream)
    display.start("work", 10, 5)
    clock.now += 60
    display.advance(done, 1.0)
    entry = strict(stream.getvalue())
    assert entry["rate"] == 0.0
    assert entry["seconds_left"] is None
    plain = io.StringIO()
    display = progress("plain", plain)
    display.start("work", 10, 5)
    clock.now += 60
    display.advance(done, 1.0)
    assert plain.getvalue() == f"work: {done}/10, 0.00/s, loss 1\n"


def test_quiet_says_nothing(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("quiet", clock, 100.0, 3) == []
    progress("quiet").say("message")
    captured = capsys.readouterr()
    assert captured.out == captured.err == ""


def test_rich_survives_a_stream_that_is_no_terminal() -> None:
    stream = io.StringIO()
    with progress("rich", stream) as display:
        display.say("a [markup] message")
        display.advance(1)  # before any start
        for title in ("first", "second"):
            display.start(title, 4, 1)
            display.advance(2, 0.25)
            display.advance(3)
    assert "a [markup] message" in stream.getvalue()
    assert "second" in stream.getvalue()
    assert "loss 0.25" in stream.getvalue()


def test_auto_looks_at_the_stream() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    assert type(progress("auto", io.StringIO())) is type(progress("plain"))
    assert type(progress("auto", Terminal())) is type(progress("rich"))


def test_progress_goes_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    progress("plain").say("message")
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "message\n")
