"""`distill`: one call that checks, resumes, runs, guards and saves."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from limbeck.core.context import Context
from limbeck.core.distilled import Distilled, Storage
from limbeck.core.errors import InputError, Interrupted, RunError
from limbeck.core.execution import use_allocator
from limbeck.core.executor import Executor, InProcess
from limbeck.core.plain import encode
from limbeck.core.recipe import Recipe
from limbeck.core.streams import Streams
from limbeck.data import Data
from limbeck.data.images import check_ipc
from limbeck.engine.folder import RunFolder
from limbeck.engine.identity import hardware, peak_memory_bytes, versions
from limbeck.engine.interrupt import Stop, stoppable
from limbeck.engine.loop import Loop, LoopState
from limbeck.engine.plan import shortage
from limbeck.engine.progress import Progress, progress
from limbeck.engine.run_file import DataReference, RunFile
from limbeck.engine.settings import Settings
from limbeck.engine.snapshots import due_steps
from limbeck.engine.workload import flops
from limbeck.networks import build
from limbeck.training.pretraining import cache_folder

__all__ = ["distill", "make_context"]

_LOG_LINES = 500
"""About how many lines the log of a run has."""


def make_context(
    recipe: Recipe,
    data: Data,
    ipc: int,
    seed: int,
    settings: Settings,
    executor: Executor | None = None,
    say: Any = None,
) -> Context:
    """The surroundings of a run, and the check that the recipe can run in them.

    Raises:
        InputError: the recipe makes no sense, or not on this data or with this IPC.
    """
    recipe.check()
    if ipc < 1:
        raise InputError(f"IPC must be at least 1, not {ipc}.")
    check_ipc(data.train, ipc)
    use_allocator(settings.allocator)
    device, dtype = settings.torch_device(), settings.torch_dtype()
    context = Context(
        data=data.train.to(device, dtype),
        ipc=ipc,
        streams=Streams(seed),
        build=build,
        device=device,
        dtype=dtype,
        executor=executor or InProcess(),
        say=say or (lambda message: None),
        cache=cache_folder(settings.network_cache),
    )
    recipe.check(context)
    return replace(context, execution=settings.resolve(device, dtype, flops(recipe, context), settings.blocks))


def distill(
    recipe: Recipe,
    data: Data,
    *,
    ipc: int,
    seed: int = 0,
    out: str | Path | None = None,
    storage: Storage = "float32",
    settings: Settings | None = None,
    executor: Executor | None = None,
) -> Distilled:
    """Distil the training part of a data set.

    Args:
        recipe: what to do.
        data: what to do it to; only its training part is looked at.
        ipc: stored synthetic images per class.
        seed: seed of all random streams.
        out: folder for checkpoints and the result. A run that was interrupted there is resumed, one that has finished
            is read back. None keeps everything in memory.
        storage: how stored pixels are kept at the end: ``float32``, or ``uint8`` like the real images.
        settings: device, dtype, checkpoints, snapshots, progress.
        executor: where independent tasks run; this process by default.

    Returns:
        The distilled set.

    Raises:
        InputError: something given is wrong; raised before any work.
        Interrupted: SIGTERM or Ctrl-C; the same call resumes.
        RunError: the loss was not finite, twice.
    """
    settings = settings or Settings()
    display = progress(settings.progress)
    context = make_context(recipe, data, ipc, seed, settings, executor, display.say)
    if storage == "uint8" and recipe.parametrization.space != "unit":
        raise InputError("uint8 storage needs images in [0, 1]; use --storage float32 with this recipe.")
    loop = Loop(recipe, context, settings.class_block)
    _check_snapshots(settings.snapshots, loop, out)
    asked = RunFile(
        data=DataReference(name=data.spec.name, digest=data.spec.digest, source=data.source, options=data.options),
        ipc=ipc,
        seed=seed,
        dtype=settings.dtype,
        precision=settings.precision,
        storage=storage,
        recipe=recipe,
    )
    steps = due_steps(settings.snapshots, loop.length())
    folder = RunFolder(Path(out), asked, steps) if out is not None else None
    empty = Distilled(torch.empty(0), context.spec, recipe, seed, storage, {"versions": versions()})

    def as_set(stored: Tensor) -> Distilled:
        return replace(empty, stored=stored.detach().cpu().float()).stored_as(storage)

    if folder is not None and folder.finished():
        folder.snapshots.require(loop.length())
        display.say(f"{folder.path} is finished already")
        return folder.result(empty)
    for warning in shortage(recipe, context, folder.path if folder else None, storage, settings.class_block):
        display.say(f"warning: {warning}")
    with stoppable() as stop, display:
        run = _Run(loop, folder, as_set, settings, display, stop)
        distilled = as_set(run.to_the_end().stored)
        if folder is not None:
            folder.finish(distilled, run.record())
    return distilled


def _check_snapshots(count: int, loop: Loop, out: str | Path | None) -> None:
    if count and out is None:
        raise InputError("snapshots are kept in the folder of a run; give one (--out) or ask for none (--snapshots 0).")
    if count and not loop.length():
        raise InputError(f"recipe '{loop.recipe.name}' takes no steps to take snapshots of; leave --snapshots out.")


@dataclass
class _Tally:
    """Losses since the last log line; part of the checkpoint, so that a resumed log has the same lines."""

    total: Tensor
    count: int = 0


class _Run:
    """One run: the loop, and what surrounds it."""

    def __init__(
        self,
        loop: Loop,
        folder: RunFolder | None,
        as_set: Callable[[Tensor], Distilled],
        settings: Settings,
        display: Progress,
        stop: Stop,
    ) -> None:
        self._loop = loop
        self._folder = folder
        self._as_set = as_set
        self._settings = settings
        self._display = display
        self._stop = stop
        self._earlier_seconds = 0.0
        self._began = time.monotonic()
        self._saved = time.monotonic()
        self._saved_at: int | None = None
        self._rolled_back = False
        self._last_loss: float | None = None

    def to_the_end(self) -> LoopState:
        """All steps that are left."""
        total, name = self._loop.length(), self._loop.recipe.name
        state, tally = self._begin()
        self._keep_if_due(state, tally, state.ordinal - 1)
        self._display.start(name, total, state.ordinal)
        every = max(1, total // _LOG_LINES)
        while state.ordinal < total:
            before = state.ordinal
            state, losses = self._loop.step(state)
            tally = _Tally(tally.total + losses.sum(), tally.count + 1)
            # A network's life may end early, and with it the steps of its iteration.
            if state.ordinal // every > before // every or state.ordinal == total:
                loss = float(tally.total) / tally.count
                if not _finite(loss, state.stored):
                    state, tally = self._roll_back(state, loss)
                    continue
                self._write_log(state.ordinal, loss)
                tally = self._no_losses()
            self._keep_if_due(state, tally, before)
            self._display.advance(state.ordinal, self._last_loss)
            self._save_if_due(state, tally, total)
        return state

    def record(self) -> dict[str, Any]:
        """What the run cost, and on what."""
        device = self._loop.context.device
        return {
            "method": self._loop.recipe.name,
            "steps": self._loop.length(),
            "seconds": self._seconds(),
            "peak_memory_bytes": peak_memory_bytes(device),
            "final_loss": self._last_loss,
            "execution": encode(self._loop.context.execution),
            "versions": versions(),
            "hardware": hardware(device),
        }

    def _begin(self) -> tuple[LoopState, _Tally]:
        """The newest checkpoint, or the initial state, which becomes the first one."""
        found = self._resume()
        if found is not None and self._folder is not None:
            self._folder.snapshots.require(found[0].ordinal)
            self._display.say(f"resumed at step {found[0].ordinal}")
            return found
        state, tally = self._loop.start(), self._no_losses()
        if self._folder is not None and self._loop.length():
            self._folder.rewind_log(0)
            self._save(state, tally)
        return state, tally

    def _resume(self) -> tuple[LoopState, _Tally] | None:
        tree = self._folder.checkpoints.latest(self._loop.context.device) if self._folder else None
        if self._folder is None or tree is None:
            return None
        self._earlier_seconds = tree["seconds"]
        self._began = time.monotonic()
        self._folder.rewind_log(tree["state"]["ordinal"])
        self._last_loss = tree["last_loss"]
        self._saved_at = tree["state"]["ordinal"]
        return LoopState(**tree["state"]), _Tally(**tree["tally"])

    def _no_losses(self) -> _Tally:
        return _Tally(torch.zeros((), dtype=self._loop.context.dtype, device=self._loop.context.device))

    def _keep_if_due(self, state: LoopState, tally: _Tally, before: int) -> None:
        """Take the snapshots that are due since a step, if any; the clock of the run stands still meanwhile."""
        due = self._folder.snapshots.due(before, state.ordinal) if self._folder is not None else ()
        if self._folder is not None and due and _sound(state, tally):
            seconds = self._seconds()
            for step in due:
                self._folder.snapshots.write(self._as_set(state.stored), step, seconds)
            self._began += self._seconds() - seconds

    def _save_if_due(self, state: LoopState, tally: _Tally, total: int) -> None:
        stopped_by = self._stop.signal
        waited = time.monotonic() - self._saved
        due = waited >= 60 * self._settings.checkpoint_minutes or stopped_by is not None
        # A state that is not finite must never replace one that is: losses are only looked at when they are logged.
        if self._folder is not None and due and state.ordinal < total and _sound(state, tally):
            self._save(state, tally)
        if stopped_by is not None and state.ordinal < total:
            where = f"; the same command resumes at step {self._saved_at}" if self._saved_at is not None else ""
            raise Interrupted(f"stopped by {stopped_by.name} at step {state.ordinal} of {total}{where}.")

    def _save(self, state: LoopState, tally: _Tally) -> None:
        if self._folder is not None:
            tree = {
                "state": state.tree(),
                "tally": {"total": tally.total, "count": tally.count},
                "seconds": self._seconds(),
                "last_loss": self._last_loss,
            }
            self._folder.checkpoints.save(state.ordinal, tree)
            self._saved, self._saved_at = time.monotonic(), state.ordinal

    def _roll_back(self, state: LoopState, loss: float) -> tuple[LoopState, _Tally]:
        cause = f"the loss is {loss} by step {state.ordinal}"
        if self._rolled_back or self._folder is None:
            again = (
                "again, after going back to the last checkpoint" if self._rolled_back else "and nothing to go back to"
            )
            raise RunError(
                f"{cause}, {again}; lower the step size of the images (--optimizer.lr) or of the network "
                "(--pool.training.lr)."
            )
        self._rolled_back = True
        found = self._resume()
        if found is None:
            raise RunError(f"{cause}, and there is no checkpoint to go back to.")
        self._display.say(f"{cause}; going back to step {found[0].ordinal}")
        return found

    def _write_log(self, ordinal: int, loss: float) -> None:
        self._last_loss = loss
        if self._folder is not None:
            self._folder.log({"step": ordinal, "loss": loss, "seconds": self._seconds()})

    def _seconds(self) -> float:
        return self._earlier_seconds + time.monotonic() - self._began


def _finite(loss: float, stored: Tensor) -> bool:
    """Whether neither the loss nor any pixel is infinite or no number."""
    return bool(torch.isfinite(torch.tensor(loss))) and bool(torch.isfinite(stored).all())


def _sound(state: LoopState, tally: _Tally) -> bool:
    """Whether a state may become a checkpoint: finite images and losses, and no part that remembers a NaN."""
    return _finite(float(tally.total), state.stored) and not _any_nan(state.parts)


def _any_nan(node: Any) -> bool:
    if isinstance(node, Tensor):
        return bool(torch.isnan(node).any())
    if isinstance(node, dict):
        return any(_any_nan(child) for child in node.values())
    return isinstance(node, (list, tuple)) and any(_any_nan(child) for child in node)
