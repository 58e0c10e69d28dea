"""One contender in a process of its own: ``python -m benchmarks.speed.worker``.

It speaks JSON lines. The first line it reads says what it is; after each further one it takes a step and writes what
that cost. The allocator setting and the memory belong to the process, hence one process for each contender.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import sys
import time
import warnings
from pathlib import Path
from typing import Any, TextIO

__all__ = ["main", "peak_bytes", "resident_bytes"]

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4


def main() -> None:
    """Read what to be, and then step for every line until there are no more."""
    answers = _own_output()
    asked = json.loads(sys.stdin.readline())
    if asked["contender"] == "oracle-allocator":
        _keep_memory()
    began = time.perf_counter()
    contender, imported = _contender(asked)
    _say(answers, {"imports_bytes": imported, "start_bytes": resident_bytes(), "seconds": time.perf_counter() - began})
    for _ in sys.stdin:
        wall, cpu = time.perf_counter(), time.process_time()
        contender.step()
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        _say(answers, {"wall": wall, "cpu": cpu, "peak_bytes": peak_bytes()})


def _contender(asked: dict[str, Any]) -> tuple[Any, int]:
    """The contender, and the memory after its imports."""
    import torch

    from benchmarks.speed.cases import Case

    torch.set_num_threads(asked["threads"])
    fields = asked["case"]
    case = Case(**{**fields, "operations": tuple(fields["operations"]), "tokens": tuple(fields["tokens"])})
    if asked["contender"].startswith("oracle"):
        from benchmarks.speed import oracle

        imported = resident_bytes()
        return oracle.make(case, asked["start"]), imported
    from benchmarks.speed import product
    from limbeck.engine.settings import Settings

    # A step that runs eagerly after all would be timed as if it were compiled.
    warnings.filterwarnings("error", message=".*could not be compiled")
    imported = resident_bytes()
    apart = asked["contender"] == "apart"
    settings = Settings(
        device="cpu",
        compile=asked["compile"],
        precision="float32" if apart else asked["contender"],
        dtype=case.dtype,
        together=1 if apart else case.together,
        progress="quiet",
    )
    return product.make(case, settings), imported


def resident_bytes() -> int:
    """Memory that this process holds now; where that is not known, the most it ever held."""
    pages = Path("/proc/self/statm")
    if not pages.exists():
        return peak_bytes()
    return int(pages.read_text().split()[1]) * resource.getpagesize()


def peak_bytes() -> int:
    """The most memory that this process ever held."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _keep_memory() -> None:
    """Let glibc reuse large blocks instead of mapping fresh pages for each."""
    mallopt = ctypes.CDLL(None).mallopt
    if not (mallopt(_M_MMAP_MAX, 0) and mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)):
        raise RuntimeError("this C library does not take the allocator's settings")


def _own_output() -> TextIO:
    """Standard output for answers alone; what anybody else prints goes to standard error."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", buffering=1)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return answers


def _say(answers: TextIO, what: dict[str, Any]) -> None:
    answers.write(json.dumps(what) + "\n")
    answers.flush()


if __name__ == "__main__":
    main()
