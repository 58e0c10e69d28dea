"""Command lines in child processes that may be killed, with the imports paid once.

Run as a program it reads command lines as JSON lists, runs each in a forked child, and writes the child's process id
and, when it has ended, its exit status.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


class Killable:
    """Starts one child at a time."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def start(self, arguments: list[str]) -> int:
        """Process id of a child that runs ``limbeck`` with these arguments."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(arguments) + "\n")
        self._process.stdin.flush()
        return self._number()

    def status(self) -> int:
        """Exit status of the child, when it has ended; minus the signal that killed it."""
        return self._number()

    def _number(self) -> int:
        assert self._process.stdout is not None
        return int(self._process.stdout.readline())


@contextmanager
def killable(errors: Path) -> Iterator[Killable]:
    """A server of children, whose standard error goes to a file."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path]), "OMP_NUM_THREADS": "1"}
    with errors.open("a") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.engine.killable"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=file,
            env=environment,
            cwd=errors.parent,
            text=True,
        )
        with process:
            yield Killable(process)
            assert process.stdin is not None
            process.stdin.close()


def _serve() -> None:
    import torch

    from limbeck.cli.distill import Distill as Distill
    from limbeck.cli.main import main
    from limbeck.data import load

    torch.set_num_threads(1)
    load("digits")
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            os._exit(main(json.loads(line)))
        print(child, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


if __name__ == "__main__":
    _serve()
