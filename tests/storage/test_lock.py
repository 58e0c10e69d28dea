from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest
from filelock import FileLock

from limbeck.core.errors import InputError
from limbeck.storage.lock import LOCK, InUse, alone

HOLDER = """
import sys
from pathlib import Path
from limbeck.storage.lock import alone
with alone(Path(sys.argv[1])):
    print("inside", flush=True)
    sys.stdin.read()
"""


def test_a_second_process_is_refused_until_the_first_ends_even_by_a_kill(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout is not None and first.stdout.readline() == "inside\n"
        with (
            pytest.raises(InputError, match="another process is at work in"),
            alone(tmp_path),
        ):
            pass
        first.kill()
    with alone(tmp_path):
        assert (tmp_path / LOCK).is_file()


def test_parts_are_not_in_each_others_way(tmp_path: Path) -> None:
    with (
        alone(tmp_path, "one"),
        alone(tmp_path, "two"),
        alone(tmp_path),
        pytest.raises(InUse),
        alone(tmp_path, "one"),
    ):
        pass


def test_who_waits_gets_in_once_the_other_is_done(tmp_path: Path) -> None:
    lock = FileLock(tmp_path / LOCK, thread_local=False)
    lock.acquire()
    clock = threading.Timer(0.2, lock.release)
    clock.start()
    with alone(tmp_path, wait=60):
        assert not lock.is_locked
    clock.join()


def test_it_is_free_again_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), alone(tmp_path):
        raise RuntimeError
    with alone(tmp_path):
        pass


def test_a_file_system_without_locks_is_worked_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: FileLock) -> None:
        raise NotImplementedError

    monkeypatch.setattr(FileLock, "acquire", refuse)
    with alone(tmp_path):
        pass
