"""One process at a time in a folder, or at a part of what is done there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from limbeck.core.errors import InputError

__all__ = ["LOCK", "InUse", "alone"]

LOCK = ".tmp-lock"


class InUse(InputError):
    """Another process is at work there."""


@contextmanager
def alone(folder: Path, part: str = "", *, wait: float = 0.0) -> Iterator[None]:
    """Keep other processes out of a folder within the block; the system lets them in when this one ends, however.

    File systems that know no locks are worked in without one.

    Args:
        folder: which exists.
        part: what of the work there is kept for this process; two parts are not in each other's way.
        wait: seconds for which another process may still be at work.

    Raises:
        InUse: another process is at work there.
    """
    lock = FileLock(folder / (f"{LOCK}-{part}" if part else LOCK), timeout=wait, thread_local=False)
    try:
        lock.acquire()
    except Timeout as error:
        raise InUse(
            f"another process is at work in {folder}; wait for it or stop it, or choose another --out."
        ) from error
    except (NotImplementedError, OSError):
        yield
        return
    try:
        yield
    finally:
        lock.release()
