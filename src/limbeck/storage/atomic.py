"""Files and folders that appear complete or not at all.

Everything is written under a temporary name in the same folder, flushed to the disk and then renamed, so that
a reader, or a run that is killed meanwhile, never finds half a file. Parent folders are made when missing.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["replacing", "replacing_folder", "write_bytes", "write_text"]

_RENAME_ATTEMPTS = 10


def write_bytes(path: str | Path, data: bytes) -> None:
    """Write ``data`` as the whole of the file ``path``, replacing what was there."""
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def write_text(path: str | Path, text: str) -> None:
    """Write ``text`` as UTF-8, line ends as given, as the whole of the file ``path``."""
    write_bytes(path, text.encode("utf-8"))


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """A temporary path that becomes the file ``path`` when the block ends without an error.

    The caller creates the file under the path it is given, which keeps the suffix of ``path`` because some
    writers choose their format by it. After an error nothing is left behind and ``path`` is as it was.

    Raises:
        FileNotFoundError: the block ended without creating the file.
    """
    path = Path(path)
    temporary = _beside(path)
    try:
        yield temporary
        _sync(temporary)
        os.replace(temporary, path)
        _sync_folder(path.parent)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


@contextmanager
def replacing_folder(path: str | Path) -> Iterator[Path]:
    """An empty temporary folder that becomes the folder ``path`` when the block ends without an error.

    A folder that is already there is moved aside first and removed afterwards: systems offer no single step
    for this, so a crash between two renames can leave ``path`` missing, never half filled. Of two processes
    that replace the same folder at once the later one wins. After an error ``path`` is as it was.
    """
    path = Path(path)
    temporary = _beside(path)
    temporary.mkdir()
    try:
        yield temporary
        for file in temporary.rglob("*"):
            if file.is_file():
                _sync(file)
            elif file.is_dir():
                _sync_folder(file)
        _sync_folder(temporary)
        _swap(temporary, path)
        _sync_folder(path.parent)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def _beside(path: Path) -> Path:
    """A free name in the folder of ``path``; the token, not the process id, keeps threads apart as well."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.parent / f".tmp-{secrets.token_hex(6)}-{path.name}"


def _swap(temporary: Path, path: Path) -> None:
    for attempt in range(_RENAME_ATTEMPTS):
        aside = _beside(path)
        moved = False
        if path.exists():
            # Another process may move it first, which is as good.
            with contextlib.suppress(FileNotFoundError):
                os.rename(path, aside)
                moved = True
        try:
            os.rename(temporary, path)
        except OSError as error:
            taken = error.errno in (errno.ENOTEMPTY, errno.EEXIST)
            if taken and attempt + 1 < _RENAME_ATTEMPTS:
                # Another process put its own there in between: what we moved aside is older than that.
                shutil.rmtree(aside, ignore_errors=True)
                continue
            if moved and not path.exists():
                os.rename(aside, path)
            raise
        shutil.rmtree(aside, ignore_errors=True)
        return


def _sync(file: Path) -> None:
    # Windows flushes only descriptors that are open for writing.
    descriptor = os.open(file, os.O_RDWR | getattr(os, "O_BINARY", 0))
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":  # folders cannot be opened there
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
