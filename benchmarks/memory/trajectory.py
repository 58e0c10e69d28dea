"""Memory and time of one iteration of trajectory matching over the student's steps, by how the gradient is found.

``python -m benchmarks.memory.trajectory`` (or ``make bench-trajectory``) takes an iteration with 10, 20, 40 and 80
student steps by each of the engines ``adjoint`` (exact), ``unroll`` (exact, one graph) and ``tesla`` (approximate),
each in a process of its own: ConvNet-3 of width 32, batches of 32 images of 32 pixels, eagerly, unless told otherwise.
The graph of ``unroll`` is not built where the first two figures say that it would not fit.

Shown is what an iteration takes beyond what the process held before it, at its peak, after one iteration that warms
up; and how much each further student step adds, by the two largest numbers of steps. On a CPU the allocator is told to
give back at once what is freed, which costs time: seconds compare engines, and `benchmarks.speed` has those of a run.

``adjoint`` and ``tesla`` keep the student's weights after each step, one parameter vector. The exit status is 1 where
``adjoint`` adds more than 1.5 of them and an allowance for what the allocator rounds (0.05 MB), or more than 20 MB.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from benchmarks.memory.streaming import MB, peak
from benchmarks.speed.cases import Case
from benchmarks.speed.product import TrajectorySteps
from limbeck.engine.identity import hardware, versions
from limbeck.engine.settings import Settings
from limbeck.reports.tables import listing
from limbeck.storage.atomic import write_text

__all__ = ["ENGINES", "growth", "judged", "main", "measure", "run", "too_large"]

ENGINES = ("adjoint", "unroll", "tesla")
STEPS = (10, 20, 40, 80)
VECTORS, MOST_MB, ALLOWANCE_MB = 1.5, 20.0, 0.05
"""Most that a student step may add: parameter vectors, MB, and MB more than those vectors."""
SHARE = 0.8
"""Of the memory that is free, what a graph may take."""


def measure(
    engine: str, steps: int, width: int, batch: int, side: int, compile: str = "off", device: str = "cpu"
) -> dict[str, Any]:
    """What one iteration takes in this process.

    Args:
        engine: how the gradient is found.
        steps: of the student.
        width: channels of the network.
        batch: images of a student step.
        side: rows and columns of an image.
        compile: ``on`` or ``off``.
        device: ``cpu`` or ``cuda``.

    Returns:
        ``peak_mb`` of the iteration beyond what was held before, ``process_mb`` at the highest, ``seconds``,
        ``parameter_mb`` of one set of weights.
    """
    per_class = max(10, -(-batch // 10))
    tokens = ("color", "crop", "cutout", "flip", "scale", "rotate")
    sizes = {"ipc": per_class, "per_class": per_class, "width": width, "side": side, "student_steps": steps}
    case = Case("trajectory_memory", "mtt", classes=10, tokens=tokens, lr=100.0, **sizes)
    settings = Settings(device=device, compile=compile, progress="quiet")  # type: ignore[arg-type]
    contender = TrajectorySteps(case, settings, engine, batch)
    contender.step()  # what is built once, and compiled
    _settle()
    before = _held(device)
    began = time.perf_counter()
    contender.step()
    if device == "cuda":
        torch.cuda.synchronize()
    seconds = time.perf_counter() - began
    return {
        "peak_mb": (_highest(device) - before) / MB,
        "process_mb": peak() / MB,
        "seconds": seconds,
        "parameter_mb": sum(one.numel() * one.element_size() for one in case.weights()) / MB,
    }


def _settle() -> None:
    """Give back what is free, and begin to watch for a new peak, as far as the system can."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)
        Path("/proc/self/clear_refs").write_text("5")


def _held(device: str) -> int:
    return torch.cuda.memory_allocated() if device == "cuda" else _status("VmRSS")


def _highest(device: str) -> int:
    return torch.cuda.max_memory_allocated() if device == "cuda" else _status("VmHWM")


def _status(name: str) -> int:
    """Bytes of a line of the process's status; the peak since the beginning where there is none (not on Linux)."""
    status = Path("/proc/self/status")
    if not status.exists():
        return peak()
    (line,) = (line for line in status.read_text().splitlines() if line.startswith(f"{name}:"))
    return 1024 * int(line.split()[1])


def run(engine: str, steps: int, options: argparse.Namespace) -> dict[str, Any]:
    """`measure` in a process of its own; what it died of where it died.

    Its allocator gives back at once what is freed, so that the peak is that of what is held.
    """
    words = ["--measure", engine, "--steps", str(steps)]
    for name in ("width", "batch", "side", "compile", "device", "threads"):
        words += [f"--{name}", str(getattr(options, name))]
    exact = {"MALLOC_MMAP_THRESHOLD_": "16384", "MALLOC_TRIM_THRESHOLD_": "0", "MALLOC_ARENA_MAX": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.memory.trajectory", *words],
        cwd=Path(__file__).resolve().parents[2],
        env={**os.environ, **(exact if options.device == "cpu" else {})},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no word"])[-1]
        return {"failure": f"ended with status {done.returncode}: {last}"}
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def growth(cells: dict[int, dict[str, Any]]) -> float | None:
    """MB that each further student step adds: between the two largest numbers of steps that were measured.

    With few steps the graph of one of them hides what is kept.
    """
    known = {steps: cell["peak_mb"] for steps, cell in cells.items() if "peak_mb" in cell}
    if len(known) < 2:
        return None
    few, many = sorted(known)[-2:]
    slope: float = (known[many] - known[few]) / (many - few)
    return slope


def too_large(cells: dict[int, dict[str, Any]], steps: int, free_mb: float) -> str | None:
    """Why so many steps are not tried after those that were, or None.

    Args:
        cells: what fewer steps took.
        steps: student steps.
        free_mb: memory that is free.
    """
    slope = growth(cells)
    if slope is None:
        return None
    most = max(taken for taken, cell in cells.items() if "peak_mb" in cell)
    predicted = cells[most]["peak_mb"] + slope * (steps - most)
    if predicted <= SHARE * free_mb:
        return None
    return f"not tried: it would take about {predicted:.0f} MB, and {free_mb:.0f} MB are free"


def judged(found: dict[str, dict[int, dict[str, Any]]]) -> list[str]:
    """A line for each measurement that died, and for each limit that ``adjoint`` exceeds.

    Args:
        found: cells by engine and student steps.
    """
    lines = [
        f"{engine}, {steps} steps: {cell['failure']}"
        for engine, cells in found.items()
        for steps, cell in cells.items()
        if "failure" in cell
    ]
    cells = found.get("adjoint", {})
    slope = growth(cells)
    if slope is not None:
        vector = next(cell["parameter_mb"] for cell in cells.values() if "parameter_mb" in cell)
        most = min(MOST_MB, VECTORS * vector + ALLOWANCE_MB)
        if slope > most:
            lines.append(
                f"adjoint adds {slope:.3f} MB with each student step; a parameter vector is {vector:.3f} MB, and at "
                f"most {most:.3f} MB are allowed"
            )
    return lines


def main(words: Sequence[str] | None = None) -> int:
    """Measure each, show, judge; the exit status."""
    options = _parser().parse_args(words)
    if options.measure:
        torch.set_num_threads(options.threads)
        each = (options.width, options.batch, options.side, options.compile, options.device)
        print(json.dumps(measure(options.measure, options.steps[0], *each)))
        return 0
    console, found = Console(), dict[str, dict[int, dict[str, Any]]]()
    for engine in options.engines:
        cells = found.setdefault(engine, {})
        for steps in sorted(options.steps):
            reason = too_large(cells, steps, options.limit_mb or _free_mb(options.device))
            cells[steps] = {"skipped": reason} if reason else run(engine, steps, options)
            told = reason or cells[steps].get("failure") or f"{cells[steps]['peak_mb']:.1f} MB"
            print(f"{engine}, {steps} steps: {told}", file=sys.stderr, flush=True)
    missed = judged(found)
    console.print(_table(found, options))
    for line in missed:
        console.print(f"MISSED {line}", highlight=False, markup=False)
    if options.out is not None:
        asked = {name: value for name, value in vars(options).items() if name not in ("out", "measure")}
        result = {
            "command": shlex.join(["python", "-m", "benchmarks.memory.trajectory", *(words or sys.argv[1:])]),
            "settings": asked,
            "limits": {"vectors": VECTORS, "allowance_mb": ALLOWANCE_MB, "most_mb": MOST_MB},
            "hardware": hardware(torch.device(options.device)),
            "versions": versions(),
            "cells": found,
            "mb_per_step": {engine: growth(cells) for engine, cells in found.items()},
            "missed": missed,
        }
        write_text(options.out, json.dumps(result, indent=1) + "\n")
    return 1 if missed else 0


def _table(found: dict[str, dict[int, dict[str, Any]]], options: argparse.Namespace) -> Any:
    """One row for each engine and number of steps."""
    rows = []
    for engine, cells in found.items():
        before: dict[int, dict[str, Any]] = {}
        for steps, cell in cells.items():
            before[steps] = cell
            if "peak_mb" not in cell:
                rows.append((engine, str(steps), cell.get("skipped") or cell["failure"], "", "", ""))
                continue
            added = growth(before)
            figures = ("" if added is None else f"{added:.3f}", f"{cell['parameter_mb']:.3f}", f"{cell['seconds']:.2f}")
            rows.append((engine, str(steps), f"{cell['peak_mb']:.1f}", *figures))
    title = f"ConvNet-3 of width {options.width}, batches of {options.batch} images of {options.side} pixels"
    return listing(("engine", "steps", "peak MB", "MB for a further step", "parameters, MB", "seconds"), rows, title)


def _free_mb(device: str) -> float:
    """Memory that can be had."""
    if device == "cuda":
        return float(torch.cuda.mem_get_info()[0]) / MB
    facts = Path("/proc/meminfo")
    if facts.exists():
        for line in facts.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return 1024 * int(line.split()[1]) / MB
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / MB


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engines", nargs="+", choices=ENGINES, default=list(ENGINES))
    parser.add_argument("--steps", nargs="+", type=int, default=list(STEPS), help="student steps N")
    parser.add_argument("--width", type=int, default=32, help="channels of the network")
    parser.add_argument("--batch", type=int, default=32, help="images of a student step")
    parser.add_argument("--side", type=int, default=32, help="rows and columns of an image, a multiple of 8")
    parser.add_argument("--compile", choices=("on", "off"), default="off")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--limit-mb", type=float, default=0.0, help="memory that may be used; what is free by default")
    parser.add_argument("--out", type=Path, help="file for all figures")
    parser.add_argument("--measure", choices=ENGINES, help="only measure, in this process")
    return parser


if __name__ == "__main__":
    sys.exit(main())
