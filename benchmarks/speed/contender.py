"""The other end of a worker: start it, ask it for steps, stop it, and say why it died."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.speed.cases import Case

__all__ = ["Contender", "Died", "Sample"]

_ROOT = Path(__file__).resolve().parents[2]
_TAIL_LINES = 15


class Died(Exception):
    """A worker ended or was silent for too long."""


@dataclass(frozen=True)
class Sample:
    """What one step cost.

    Args:
        wall: seconds.
        cpu: seconds of all threads together.
        peak_bytes: most memory that the process ever held, until then.
    """

    wall: float
    cpu: float
    peak_bytes: int


@dataclass
class Contender:
    """One worker process; a context manager that ends it.

    Args:
        name: ``oracle``, ``oracle-allocator``, ``float32``, ``bfloat16``, or ``apart``: the product in float32 with
            several networks one after another.
        case: what it does.
        start: rows that clustering starts from.
        threads: threads of the process.
        cache: folder for compiled programs.
        compile: whether the product compiles its steps, ``on`` or ``off``.
        timeout: seconds that it may take to start, and for each step.
    """

    name: str
    case: Case
    start: list[int]
    threads: int
    cache: Path
    compile: str = "on"
    timeout: float = 600.0
    born: dict[str, Any] = field(default_factory=dict)
    samples: list[Sample] = field(default_factory=list)

    def __enter__(self) -> Contender:
        """Start the process and wait until it is ready."""
        self._errors = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")
        threads = str(self.threads)
        environment = {
            **os.environ,
            "OMP_NUM_THREADS": threads,
            "MKL_NUM_THREADS": threads,
            "TORCHINDUCTOR_CACHE_DIR": str(self.cache),
        }
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.speed.worker"],
            cwd=_ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            start_new_session=True,  # compilers that it starts end with it
        )
        self._answers: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._listen, daemon=True).start()
        asked = {
            "contender": self.name,
            "case": asdict(self.case),
            "start": self.start,
            "threads": self.threads,
            "compile": self.compile,
        }
        try:
            self.born = self._ask(asked)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        """End the process and all that it started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        for stream in (self._process.stdin, self._errors):
            with contextlib.suppress(OSError):
                stream.close()  # type: ignore[union-attr]

    def step(self) -> Sample:
        """Let it take one step.

        Raises:
            Died: it did not answer.
        """
        sample = Sample(**self._ask({}))
        self.samples.append(sample)
        return sample

    def _ask(self, what: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(what) + "\n")
            self._process.stdin.flush()
            line = self._answers.get(timeout=self.timeout)
        except queue.Empty:
            raise Died(f"{self.name} was silent for {self.timeout:.0f} seconds\n{self._tail()}") from None
        except OSError:
            line = ""
        if not line:
            self._process.wait(timeout=30)
            raise Died(f"{self.name} ended with status {self._process.returncode}\n{self._tail()}")
        return json.loads(line)

    def _listen(self) -> None:
        """Pass on its lines; an empty one when there are no more."""
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                self._answers.put(line)
        self._answers.put("")

    def _tail(self) -> str:
        self._errors.seek(0)
        return "\n".join(self._errors.read().splitlines()[-_TAIL_LINES:])
