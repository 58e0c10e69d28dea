"""Measure the next cells of the papers' tables: ``python -m benchmarks.campaign.run --budget MINUTES``.

Cells come in the order of `cells.priority`. A seed is a step: it is begun when `limbeck plan`, or an earlier seed, says
that it ends before the budget does, and cells that do not fit the device, the memory or the time are passed by. With
``--partly`` the first one that is too long is begun all the same; at the end of the budget it is stopped with a
checkpoint, and the next campaign goes on there. Whatever was measured is written to ``benchmarks/results`` after each
seed; nothing is committed. Several campaigns may run at once, with the same ``--out`` and ``--results``: each takes
cells that no other one is at work on.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from benchmarks.campaign.cells import TABLES, Cell, declared
from benchmarks.campaign.ledger import RESULTS, Ledger
from benchmarks.campaign.steps import Outcome, Step, data_for
from limbeck.core.errors import InputError, Interrupted, RunError
from limbeck.engine.settings import Settings
from limbeck.reports.runs import read_json
from limbeck.storage.atomic import write_text
from limbeck.storage.lock import InUse, alone

__all__ = ["Campaign", "main"]

_PREDICTIONS = "predictions.json"


@dataclass
class Campaign:
    """Steps within a budget.

    Args:
        cells: what to measure, the most urgent first.
        out: folder of run folders and predictions.
        data_dir: folder of data sets, each a folder by its name.
        ledger: what was measured, which is added to.
        settings: device and how steps are computed.
        note: what has to be known of measurements that are written now.
        partly: whether a step is begun that cannot be finished.
        say: reports what is done.
    """

    cells: Sequence[Cell]
    out: Path
    data_dir: Path
    ledger: Ledger
    settings: Settings
    note: str = ""
    partly: bool = False
    say: Callable[[str], None] = print

    def run(self, minutes: float) -> int:
        """Carry out steps; how many were.

        Args:
            minutes: the budget. A judgement that has begun is ended, so that it may be exceeded by one.
        """
        deadline = time.monotonic() + 60 * minutes
        done = self.take_over()
        for cell in self.cells:
            if cell.device != self._device or not self._missing(cell):
                continue
            try:
                with self._claimed(cell):
                    self.ledger.refresh()
                    for seed in self._missing(cell):
                        if time.monotonic() >= deadline:
                            self.say(f"the budget is spent; {done} steps done")
                            return done
                        if not self._step(cell, seed, deadline):
                            break
                        done += 1
            except InUse:
                self.say(f"{cell.data_title}, {cell.run}: another campaign is at work on it")
        self.say(f"nothing more that fits; {done} steps done")
        return done

    def _missing(self, cell: Cell) -> list[int]:
        return [seed for seed in range(cell.seeds) if not self.ledger.has(cell, seed)]

    def _claimed(self, cell: Cell) -> AbstractContextManager[None]:
        """Keep other campaigns away from the runs of a cell: its seeds often share networks that are trained first."""
        self.out.mkdir(parents=True, exist_ok=True)
        return alone(self.out, f"{cell.block}-{cell.run}")

    def take_over(self) -> int:
        """Write down what lies finished in run folders and is not in the ledger; how many steps that was."""
        count = 0
        for cell in self.cells:
            for seed in range(cell.seeds):
                if not self.ledger.has(cell, seed) and (found := self._found(cell, seed)) is not None:
                    self.ledger.add(cell, seed, *found)
                    self.say(f"{_name(cell, seed)}: taken over")
                    count += 1
        return count

    def _found(self, cell: Cell, seed: int) -> Outcome | None:
        try:
            return Step(cell, seed, self.out).found(self.note)
        except InputError as error:
            self.say(f"{_name(cell, seed)}: {error}")
            return None

    def _step(self, cell: Cell, seed: int, deadline: float) -> bool:
        """One seed of a cell; whether its outcome is in the ledger now."""
        name, step, begun = _name(cell, seed), Step(cell, seed, self.out), False
        try:
            data = data_for(cell, self.data_dir)
            if data is None:
                return False
            seconds = self._judging(cell)  # known without a probe, and it may be too long alone
            if seconds <= deadline - time.monotonic() or self.partly:
                seconds += self._distilling(step, lambda: step.distilling_seconds(data, self.settings))
            left = deadline - time.monotonic()
            if seconds > left and not self.partly:
                self.say(f"{name}: about {seconds / 60:.1f} minutes are needed, {max(0.0, left) / 60:.1f} are left")
                return False
            self.say(f"{name}: about {seconds / 60:.1f} minutes")
            begun = True
            with _until(deadline):
                distilled = step.distil(data, self.settings)
            entry, judged = step.judge(distilled, data, self.settings, self.note)
        except Interrupted as error:
            if time.monotonic() < deadline:
                raise
            self.say(f"{name}: {error}")
            return False
        except InputError as error:
            self.say(f"{name}: {error}")
            return False
        except RunError as error:
            self.say(f"{name}: {error}")
            if begun:  # what only could not be foretold is not measured
                self.ledger.add(cell, seed, {"failed": str(error)})
            return begun
        self.ledger.add(cell, seed, entry, judged)
        self.say(f"{name}: {100 * sum(judged['last']) / len(judged['last']):.1f} %")
        return True

    def _judging(self, cell: Cell) -> float:
        """Seconds of judging a seed, by earlier judgements; 0 before the first of its kind."""
        return self.ledger.judge_seconds(cell, self._device) or 0.0

    def _distilling(self, step: Step, planned: Callable[[], float]) -> float:
        """Seconds of distilling a seed: by the other seeds, else as it is planned, once for all campaigns."""
        if step.distilled() is not None:
            return 0.0
        known = self.ledger.distil_seconds(step.cell, self._device)
        if known is not None:
            return known
        path, key = self.out / _PREDICTIONS, f"{self._device} {step.cell.block} {step.cell.run}"
        predictions = read_json(path) if path.is_file() else {}
        if key not in predictions:
            predictions[key] = planned()
            path.parent.mkdir(parents=True, exist_ok=True)
            write_text(path, json.dumps(predictions, indent=1) + "\n")
        return float(predictions[key])

    @property
    def _device(self) -> str:
        return self.settings.torch_device().type


@contextmanager
def _until(deadline: float) -> Iterator[None]:
    """Within the block distilling is asked to stop, by SIGTERM, when the time has come; whatever else goes on ends."""
    previous, ours, ended = signal.getsignal(signal.SIGTERM), threading.Event(), threading.Event()

    def asked(number: int, frame: FrameType | None) -> None:
        if ours.is_set():
            ours.clear()
            return
        signal.signal(signal.SIGTERM, previous)
        signal.raise_signal(signal.SIGTERM)

    def ring() -> None:
        pause = max(0.0, deadline - time.monotonic())
        while not ended.wait(pause):  # more than once: the run may have been about to listen
            ours.set()
            signal.raise_signal(signal.SIGTERM)
            pause = 1.0

    clock = threading.Thread(target=ring, daemon=True)
    signal.signal(signal.SIGTERM, asked)
    clock.start()
    try:
        yield
    finally:
        ended.set()
        clock.join()
        signal.signal(signal.SIGTERM, previous)


def _name(cell: Cell, seed: int) -> str:
    return f"{cell.data_title}, {cell.run}, seed {seed}, {cell.judged_by}"


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--budget", type=float, required=True, metavar="MINUTES", help="0 only takes over")
    parser.add_argument("--data-dir", type=Path, default=Path("../shared/data"), help="folder of data sets")
    parser.add_argument("--out", type=Path, default=Path("runs/campaign"), help="folder of run folders")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the records")
    parser.add_argument("--tables", nargs="+", choices=TABLES, default=TABLES, help="only these")
    parser.add_argument("--only", nargs="+", default=(), metavar="METHOD", help="only cells of these methods")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--note", default="", help="what has to be known of these measurements")
    parser.add_argument("--partly", action="store_true", help="begin a run that is longer than the budget")
    parser.add_argument("--list", action="store_true", help="only say what is not measured, in order")
    given = parser.parse_args(arguments)
    settings, ledger = Settings(device=given.device, progress="quiet"), Ledger(given.results)
    cells = declared(given.tables)
    if given.only:
        if unknown := [name for name in given.only if name not in {cell.words[0] for cell in cells}]:
            parser.error(f"--only: no cell of these tables is of {', '.join(unknown)}.")
        cells = [cell for cell in cells if cell.words[0] in given.only]
    if given.list:
        for cell in cells:
            missing = [seed for seed in range(cell.seeds) if not ledger.has(cell, seed)]
            if missing:
                print(f"{cell.device}  {cell.data_title}, {cell.run}, {cell.judged_by}: {len(missing)} seeds")
        return 0
    try:
        Campaign(cells, given.out, given.data_dir, ledger, settings, given.note, given.partly, _print).run(given.budget)
    except (InputError, RunError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _print(message: str) -> None:
    print(message, flush=True)


if __name__ == "__main__":
    sys.exit(main())
