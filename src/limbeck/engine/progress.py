"""Progress of long work on standard error: a live bar, a plain line a minute, JSON lines, or nothing."""

from __future__ import annotations

import abc
import json
import sys
import time
from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, TextIO

from limbeck.engine.settings import ProgressMode

if TYPE_CHECKING:
    from rich.progress import TaskID

__all__ = ["Progress", "progress"]


class Progress(abc.ABC):
    """Reports one long piece of work; used as a context manager."""

    def __enter__(self) -> Progress:
        """Begin."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End, whatever happened."""
        self.close()

    @abc.abstractmethod
    def start(self, title: str, total: int, done: int = 0) -> None:
        """A new piece of work of ``total`` steps, of which ``done`` had been done earlier."""

    @abc.abstractmethod
    def advance(self, done: int, loss: float | None = None, figures: Mapping[str, float] | None = None) -> None:
        """``done`` steps are done.

        Args:
            done: how many.
            loss: the last one known; None for no news.
            figures: what else is known by name, as the log has it (``student_lr``); None for no news.
        """

    @abc.abstractmethod
    def say(self, message: str) -> None:
        """A line on what happens now."""

    @abc.abstractmethod
    def close(self) -> None:
        """No more will come."""


def progress(mode: ProgressMode, stream: TextIO | None = None) -> Progress:
    """The progress display of a mode.

    Args:
        mode: how; ``auto`` is ``rich`` on a terminal and ``plain`` elsewhere.
        stream: where to; standard error by default.
    """
    stream = stream or sys.stderr
    if mode == "auto":
        mode = "rich" if stream.isatty() else "plain"
    if mode == "rich":
        return _Bar(stream)
    if mode == "quiet":
        return _Quiet()
    return _JsonLines(stream) if mode == "jsonl" else _Plain(stream)


class _Quiet(Progress):
    def start(self, title: str, total: int, done: int = 0) -> None:
        pass

    def advance(self, done: int, loss: float | None = None, figures: Mapping[str, float] | None = None) -> None:
        pass

    def say(self, message: str) -> None:
        pass

    def close(self) -> None:
        pass


class _Bar(Progress):
    def __init__(self, stream: TextIO) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[status]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=Console(file=stream),
        )
        self._task: TaskID | None = None
        self._since, self._first = 0.0, 0
        self._loss: float | None = None
        self._figures: Mapping[str, float] = {}

    def start(self, title: str, total: int, done: int = 0) -> None:
        if self._task is not None:
            self._bar.remove_task(self._task)
        self._task = self._bar.add_task(title, total=total, completed=done, status="")
        self._since, self._first, self._loss, self._figures = time.monotonic(), done, None, {}
        self._bar.start()

    def advance(self, done: int, loss: float | None = None, figures: Mapping[str, float] | None = None) -> None:
        if self._task is None:
            return
        self._loss = self._loss if loss is None else loss
        self._figures = self._figures if figures is None else figures
        rate = (done - self._first) / max(time.monotonic() - self._since, 1e-9)
        status = "  ".join([f"{rate:.2f}/s", *_in_words(self._loss, self._figures)])
        self._bar.update(self._task, completed=done, status=status)

    def say(self, message: str) -> None:
        self._bar.console.print(message, highlight=False, markup=False)

    def close(self) -> None:
        self._bar.stop()


class _Lines(Progress):
    """Both line modes: when to write, and rate and time left."""

    every_seconds: float

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._title, self._total, self._first = "", 0, 0
        self._since = self._written = time.monotonic()
        self._loss: float | None = None
        self._figures: Mapping[str, float] = {}

    def start(self, title: str, total: int, done: int = 0) -> None:
        self._title, self._total, self._first, self._loss, self._figures = title, total, done, None, {}
        self._since = self._written = time.monotonic()

    def advance(self, done: int, loss: float | None = None, figures: Mapping[str, float] | None = None) -> None:
        self._loss = self._loss if loss is None else loss
        self._figures = self._figures if figures is None else figures
        now = time.monotonic()
        if now - self._written < self.every_seconds and done < self._total:
            return
        self._written = now
        # After a roll back less may be done than at the start.
        rate = max(0.0, (done - self._first) / max(now - self._since, 1e-9))
        self._write_progress(done, rate, (self._total - done) / rate if rate > 0 else None)

    def close(self) -> None:
        self._stream.flush()

    @abc.abstractmethod
    def _write_progress(self, done: int, rate: float, left: float | None) -> None: ...


class _Plain(_Lines):
    every_seconds = 60.0

    def _write_progress(self, done: int, rate: float, left: float | None) -> None:
        remaining = [] if left is None else [f"{left:.0f} s left"]
        known = [f"{self._title}: {done}/{self._total}", f"{rate:.2f}/s", *remaining]
        print(", ".join([*known, *_in_words(self._loss, self._figures)]), file=self._stream, flush=True)

    def say(self, message: str) -> None:
        print(message, file=self._stream, flush=True)


class _JsonLines(_Lines):
    every_seconds = 5.0

    def _write_progress(self, done: int, rate: float, left: float | None) -> None:
        entry = {"work": self._title, "done": done, "total": self._total, "rate": rate, "seconds_left": left}
        print(json.dumps({**entry, "loss": self._loss, **self._figures}), file=self._stream, flush=True)

    def say(self, message: str) -> None:
        print(json.dumps({"message": message}), file=self._stream, flush=True)


def _in_words(loss: float | None, figures: Mapping[str, float]) -> list[str]:
    """What is known of a run beside how far it is."""
    known = {} if loss is None else {"loss": loss}
    return [f"{name.replace('_', ' ')} {value:.4g}" for name, value in {**known, **figures}.items()]
