"""Command lines in child processes that are sent a signal, with the imports paid once.

Run as a program it reads requests as JSON lines, runs each command line in a forked child, sends the child a signal
and writes its exit status. The signal comes before the child is waited for, so it never meets another process.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


class Killable:
    """Runs one child at a time."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def run(self, arguments: list[str], number: int = 0, after: float = 0.0, once_there: Path | None = None) -> int:
        """Exit status of ``limbeck`` with these arguments, or minus the signal that killed it.

        Args:
            arguments: of the command line.
            number: the signal; 0 sends none.
            after: seconds until it is sent.
            once_there: a file that is waited for before it is sent.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        request = {"arguments": arguments, "signal": int(number), "after": after, "once_there": str(once_there or "")}
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())


@contextmanager
def killable(errors: Path) -> Iterator[Killable]:
    """A server of children, whose standard error goes to a file."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path]), "OMP_NUM_THREADS": "1"}
    with (
        errors.open("a") as file,
        subprocess.Popen(
            [sys.executable, "-m", "tests.engine.killable"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=file,
            env=environment,
            cwd=errors.parent,
            text=True,
        ) as process,
    ):
        yield Killable(process)
        assert process.stdin is not None
        process.stdin.close()


def _serve() -> None:
    import torch

    from limbeck.cli.main import main

    torch.set_num_threads(1)
    warm = False
    for line in sys.stdin:
        request = json.loads(line)
        if not warm:
            # A first run in this process, whose imports and compiled kernels all children inherit.
            warm = main([*request["arguments"], "--out", "warm"]) == 0
        child = os.fork()
        if child == 0:
            os._exit(main(request["arguments"]))
        if request["signal"]:
            _signal(child, request)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


def _signal(child: int, request: dict[str, Any]) -> None:
    time.sleep(request["after"])
    while request["once_there"] and not os.path.exists(request["once_there"]):
        time.sleep(0.002)
    os.kill(child, request["signal"])


if __name__ == "__main__":
    _serve()
