"""Stopping on SIGTERM or Ctrl-C between two steps instead of in the middle of one."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["Stop", "stoppable"]


class Stop:
    """Whether somebody asked to stop, and how."""

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None


@contextmanager
def stoppable(stop: Stop | None = None) -> Iterator[Stop]:
    """Within the block the first SIGTERM or SIGINT only sets the yielded `Stop`; a second one acts as usual.

    A signal to which the block has not reacted with an error is delivered again when the block ends, so that work
    which comes after it (the next run of a comparison) is stopped as well.

    Args:
        stop: which is set and yielded; a new one by default.
    """
    stop = stop or Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop  # only the main thread may set handlers
        return
    # A signal that is ignored stays ignored: a shell starts jobs in the background so.
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    previous = {number: handler for number, handler in handlers.items() if handler != signal.SIG_IGN}

    def note(number: int, frame: FrameType | None) -> None:
        stop.signal = signal.Signals(number)
        signal.signal(number, previous[stop.signal])

    for number in previous:
        signal.signal(number, note)
    try:
        yield stop
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
    if stop.signal is not None:
        signal.raise_signal(stop.signal)
