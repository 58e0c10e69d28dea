"""Independent tasks in several processes of this machine."""

from __future__ import annotations

import contextlib
import io
import os
import pickle
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import connection, parent_process, resource_tracker
from pathlib import Path
from types import FrameType
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.multiprocessing import get_context

from limbeck.core.errors import InputError, Interrupted, RunError
from limbeck.core.executor import Executor

__all__ = ["Processes"]

Task = TypeVar("Task")
Result = TypeVar("Result")

_ALIGNED = 4096
"""Where tensors begin in the file: at addresses at least as round as PyTorch's own, so that sums round alike."""
_PATIENCE = 20.0
"""Seconds that processes get to save what they have when one of them has died."""


class Processes(Executor):
    """Tasks in ``count`` new processes, which live as long as one `map`.

    The function goes to each process once; its tensors lie in one file that all of them map, so that they are in memory
    once until somebody writes to them. Threads are left as a task sets them: tasks that use all cores share them.

    SIGTERM and Ctrl-C, where this process handles them, are passed on to the tasks, which may stop in their own way.
    When this process dies, so do the others. A script that uses this needs ``if __name__ == "__main__":``, as with any
    processes that are spawned.

    Args:
        count: processes.

    Raises:
        InputError: ``count`` is below 1.
    """

    def __init__(self, count: int) -> None:
        if count < 1:
            raise InputError(f"processes (--processes) must be at least 1, not {count}.")
        self.count = count

    def map(self, function: Callable[[Task], Result], tasks: Sequence[Task]) -> Iterator[Result]:
        """Results in order, each as soon as it is known; all tasks start when the first is asked for.

        Raises:
            RunError: a process died.
        """
        tasks = list(tasks)
        if not tasks:
            return
        spawning = get_context("spawn")
        told, teller = spawning.Pipe(duplex=False)
        with contextlib.ExitStack() as stack:
            stack.callback(told.close)
            stack.callback(teller.close)
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="limbeck-")))
            sent = _pack(function, folder / "tensors")
            pool = ProcessPoolExecutor(min(self.count, len(tasks)), spawning, _begin, (sent, folder / "tensors", told))
            stack.callback(pool.shutdown, wait=True, cancel_futures=True)
            stack.enter_context(_told(teller.close))
            workers: list[Any] = []
            try:
                with _deaf():
                    futures = [pool.submit(_do, task) for task in tasks]
                    pool.submit(_rest)  # only now does the pool watch over the process that was started last
                workers = list(pool._processes.values())
                for future in futures:
                    yield future.result()
            except BrokenProcessPool as error:
                _end(workers)
                raise RunError(
                    "a process that computed has died, killed or out of memory; the same command resumes, with fewer "
                    "processes (--processes) if memory was short."
                ) from error
            except BaseException:
                teller.close()  # nobody waits any longer
                raise


@contextlib.contextmanager
def _deaf() -> Iterator[None]:
    """Processes that are started in the block do not hear of Ctrl-C until they are ready."""
    resource_tracker.ensure_running()  # it would change what is blocked
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _end(workers: Sequence[Any]) -> None:
    """Wait until processes that were told to stop have stopped, but not forever: one may wait for one that is dead."""
    last = time.monotonic() + _PATIENCE
    for worker in workers:
        if not connection.wait([worker.sentinel], max(0.0, last - time.monotonic())):
            worker.kill()


@contextlib.contextmanager
def _told(tell: Callable[[], None]) -> Iterator[None]:
    """Within the block a signal that this process handles is told to the others as well."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may set handlers
        return
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    previous = {number: handler for number, handler in handlers.items() if callable(handler)}

    def note(number: int, frame: FrameType | None) -> None:
        tell()
        handler = previous[signal.Signals(number)]
        signal.signal(number, handler)
        handler(number, frame)

    for number in previous:
        signal.signal(number, note)
    try:
        yield
    finally:
        for number, handler in previous.items():
            if signal.getsignal(number) is note:
                signal.signal(number, handler)


# What follows runs in the other processes.


class _Worker:
    """What a process has to do, and whether it has been told to stop."""

    function: Callable[[Any], Any]
    busy = False
    told = False


def _begin(sent: bytes, tensors: Path, told: connection.Connection) -> None:
    """Called once in each process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of Ctrl-C the first process learns, and tells
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
    signal.signal(signal.SIGTERM, _stop)
    threading.Thread(target=_listen, args=(told, tensors), daemon=True).start()
    _Worker.function = _unpack(sent, tensors)


def _stop(number: int, frame: FrameType | None) -> None:
    """End a task that does not look out for signals itself."""
    if _Worker.busy:
        raise KeyboardInterrupt
    if not _Worker.told:
        os._exit(1)


def _listen(told: connection.Connection, tensors: Path) -> None:
    """Wait until the first process says that it is enough, by closing its end, or dies."""
    parent = parent_process()
    assert parent is not None
    if parent.sentinel not in connection.wait([told, parent.sentinel]):
        _Worker.told = True
        if _Worker.busy:
            os.kill(os.getpid(), signal.SIGTERM)
        connection.wait([parent.sentinel])
    shutil.rmtree(tensors.parent, ignore_errors=True)  # nobody else is left to do it
    os._exit(1)


def _rest() -> None:
    """Nothing to do."""


def _do(task: Any) -> Any:
    """One task."""
    try:
        _Worker.busy = True
        if _Worker.told:
            raise KeyboardInterrupt
        return _Worker.function(task)
    except (KeyboardInterrupt, Interrupted):
        if not _Worker.told:  # this process alone is to end, because another one has died
            os._exit(1)
        raise
    finally:
        _Worker.busy = False


# A function with its tensors, from one process to another.


def _pack(function: Any, path: Path) -> bytes:
    """The function without its tensors, which go to a file, memory that several share once."""
    buffer = io.BytesIO()
    with path.open("wb") as file:
        _Packer(buffer, file).dump(function)
    return buffer.getvalue()


def _unpack(sent: bytes, path: Path) -> Any:
    """The function with its tensors, which are read when they are looked at."""
    size = path.stat().st_size
    # Not shared: what one process writes, no other sees.
    file = torch.from_file(str(path), shared=False, size=size, dtype=torch.uint8) if size else torch.empty(0).byte()
    return _Unpacker(io.BytesIO(sent), file).load()


class _Packer(pickle.Pickler):
    def __init__(self, buffer: io.BytesIO, file: io.BufferedWriter) -> None:
        super().__init__(buffer)
        self._file = file
        self._places: dict[tuple[torch.device, int], int] = {}

    def persistent_id(self, value: Any) -> Any:
        if type(value) is not Tensor or value.layout != torch.strided or value.device.type not in ("cpu", "cuda"):
            return None
        storage = value.untyped_storage()
        key = (value.device, storage.data_ptr())
        if key not in self._places:
            self._file.write(bytes(-self._file.tell() % _ALIGNED))
            self._places[key] = self._file.tell()
            flat = torch.empty(0, dtype=torch.uint8, device=value.device).set_(storage)
            flat.cpu().numpy().tofile(self._file)
        layout = (tuple(value.shape), value.stride(), value.storage_offset())
        return (self._places[key], storage.nbytes(), value.dtype, value.device, layout)


class _Unpacker(pickle.Unpickler):
    def __init__(self, buffer: io.BytesIO, file: Tensor) -> None:
        super().__init__(buffer)
        self._file = file
        self._known: dict[tuple[int, torch.device], Tensor] = {}

    def persistent_load(self, key: Any) -> Tensor:
        place, length, dtype, device, layout = key
        if (place, device) not in self._known:
            self._known[place, device] = self._file[place : place + length].to(device)
        flat = self._known[place, device].view(dtype)
        size, stride, offset = layout
        return flat.as_strided(size, stride, flat.storage_offset() + offset)
