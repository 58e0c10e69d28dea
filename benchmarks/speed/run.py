"""Run the comparison: ``python -m benchmarks.speed.run``, or ``make bench``.

For each step all contenders are started, each in a process of its own, and take one step in turn, round after round,
so that whatever else the machine does meets all of them. The first round, in which the product compiles, does not
count. Every target that is missed is a line, and the exit status is then 1.
"""

from __future__ import annotations

import contextlib
import json
import platform
import shlex
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch
import tyro
from rich.console import Console

from benchmarks.speed import flops, judge, product
from benchmarks.speed.cases import CASES, QUICK, Case
from benchmarks.speed.contender import Contender, Died
from benchmarks.speed.report import table
from limbeck.engine.identity import hardware, versions
from limbeck.storage.atomic import write_text

__all__ = ["Options", "main", "measure", "run"]

_RESULTS = Path(__file__).resolve().parents[1] / "results"
_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@dataclass(frozen=True)
class Options:
    """Speed of limbeck's steps beside a plain oracle."""

    quick: bool = False
    """Two steps, three rounds, no second compilation from the cache."""
    rounds: int = 0
    """Rounds that count; 0 for 5, or 3 if quick."""
    only: tuple[str, ...] = ()
    """Steps to run; all if none is named."""
    oracle_allocator: bool = False
    """Whether a second oracle runs whose allocator keeps its memory (glibc), for comparison."""
    bfloat16: Literal["judged", "always"] = "judged"
    """Whether bfloat16 runs as well: where it is judged, by how fast this machine's convolutions are, or always."""
    threads: int = 2
    """Threads of each contender."""
    timeout: float = 600.0
    """Most seconds for one step of one contender, compiling included."""
    out: Path | None = None
    """The file with all times; by default in benchmarks/results."""

    def names(self) -> list[str]:
        """The steps to run."""
        return list(self.only or (QUICK if self.quick else CASES))

    def count(self) -> int:
        """Rounds that count."""
        return self.rounds or (3 if self.quick else 5)

    def file(self) -> Path:
        """Where the result goes; only a whole run goes to the file that is published."""
        whole = not self.quick and not self.only
        name = "speed.json" if whole else "speed-quick.json" if self.quick else "speed-part.json"
        return self.out or _RESULTS / name


def main(options: Options) -> int:
    """Run, show, write; the exit status."""
    console = Console()
    unknown = sorted(set(options.names()) - set(CASES))
    if unknown:
        console.print(f"no step is called {', '.join(unknown)}; there are {', '.join(CASES)}")
        return 2
    result = run(options, console.log)
    write_text(options.file(), json.dumps(result, indent=1) + "\n")
    console.print(table(result))
    for line in (*result["notes"], *(f"MISSED {line}" for line in result["missed"])):
        console.print(line, highlight=False, markup=False)
    console.print(f"{result['seconds']:.0f} s; all times are in {options.file()}")
    return 1 if result["missed"] else 0


def run(options: Options, say: Callable[[str], None], cases: dict[str, Case] = CASES) -> dict[str, Any]:
    """Measure all steps and judge them.

    Args:
        options: what to do.
        say: reports progress.
        cases: the steps by name.
    """
    began = time.monotonic()
    torch.set_num_threads(options.threads)
    limits = dict.fromkeys(_DTYPES, 0.0)
    steps = {}
    for name in options.names():
        for format, dtype in _DTYPES.items():
            limits[format] = max(limits[format], flops.conv_limit(dtype))
        low = options.bfloat16 == "always" or judge.matrix_units(limits) is None
        steps[name] = measure(cases[name], options, say, low=low)
    result = {
        "command": shlex.join(["python", "-m", "benchmarks.speed.run", *sys.argv[1:]]),
        "versions": versions(),
        "hardware": {**hardware(torch.device("cpu")), "cpu": _cpu()},
        "limits_flops_per_second": limits,
        "targets": {
            "speed": judge.TARGETS,
            "stretch": judge.STRETCH,
            "memory": judge.MEMORY,
            "compile_seconds": judge.SECONDS,
        },
        "steps": steps,
    }
    missed = [line for name, found in steps.items() for line in judge.misses(name, found, limits)]
    note = judge.matrix_units(limits)
    notes = [f"bfloat16 {note}"] if note else []
    notes += [line for name, found in steps.items() for line in judge.stretches(name, found)]
    return {**result, "notes": notes, "missed": missed, "seconds": time.monotonic() - began}


def measure(
    case: Case, options: Options, say: Callable[[str], None], compile: str = "on", low: bool = True
) -> dict[str, Any]:
    """All contenders of one step, round after round.

    Args:
        case: the step.
        options: how many rounds, and with whom.
        say: reports progress.
        compile: whether the product compiles, ``on`` or ``off``.
        low: whether bfloat16 runs as well.
    """
    names = ["oracle", *(["oracle-allocator"] if options.oracle_allocator else []), "float32"]
    if case.together > 1:
        names.append("apart")
    if case.dtype == "float32" and low:
        names.append("bfloat16")
    start, failures, contenders = product.cluster_start(case), {}, {}

    def worker(name: str) -> Contender:
        return Contender(name, case, start, options.threads, Path(folder) / name, compile, options.timeout)

    with tempfile.TemporaryDirectory(prefix="limbeck-speed-") as folder:
        with contextlib.ExitStack() as stack:
            for name in names:
                say(f"{case.name}: starting {name}")
                try:
                    contenders[name] = stack.enter_context(worker(name))
                except Died as death:
                    failures[name] = str(death)
            for number in range(options.count() + 1):
                for name, contender in contenders.items():
                    if name in failures:
                        continue
                    try:
                        sample = contender.step()
                    except Died as death:
                        failures[name] = str(death)
                        continue
                    if number == 0:
                        say(f"{case.name}: first step of {name} took {sample.wall:.1f} s")
            say(f"{case.name}: {options.count()} rounds done")
        found = {
            "case": asdict(case),
            "flops": flops.needed(case),
            "failures": failures,
            "contenders": {name: _record(one) for name, one in contenders.items() if name not in failures},
        }
        if not options.quick and "float32" in found["contenders"]:
            try:
                with worker("float32") as again:
                    again.step()
                found["warm"] = _record(again)
            except Died as death:
                failures["float32 from the cache"] = str(death)
    return {**found, **judge.summary(found)}


def _record(contender: Contender) -> dict[str, Any]:
    """What there is to say of a contender."""
    first, *rounds = contender.samples
    return {"start": contender.born, "first": asdict(first), "rounds": [asdict(sample) for sample in rounds]}


def _cpu() -> str:
    """The model of the processor."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor()


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Options)))
