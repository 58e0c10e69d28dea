"""One process at a time in a folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from limbeck.core.errors import InputError

__all__ = ["LOCK", "alone"]

LOCK = ".tmp-lock"


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Keep other processes out of a folder within the block; the system lets them in when this one ends, however.

    File systems that know no locks are worked in without one.

    Args:
        folder: which exists.

    Raises:
        InputError: another process is at work there.
    """
    lock = FileLock(folder / LOCK, timeout=0, thread_local=False)
    try:
        lock.acquire()
    except Timeout as error:
        raise InputError(
            f"another process is at work in {folder}; wait for it or stop it, or choose another --out."
        ) from error
    except (NotImplementedError, OSError):
        yield
        return
    try:
        yield
    finally:
        lock.release()
