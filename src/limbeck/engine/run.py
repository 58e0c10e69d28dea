"""One run, or one group of it, from the first step or the newest checkpoint to the last: logged, guarded, saved."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from limbeck.core.contracts import State
from limbeck.core.distilled import Distilled
from limbeck.core.errors import Interrupted, RunError
from limbeck.engine.interrupt import Stop
from limbeck.engine.journal import Journal
from limbeck.engine.loop import Loop, LoopState
from limbeck.engine.progress import Progress
from limbeck.engine.settings import Settings
from limbeck.engine.watch import look

__all__ = ["Renew", "Run"]

Renew = Callable[[LoopState, Callable[[], None]], tuple[Loop, LoopState]]
"""Gives the loop that takes the next step of a state, and the state that it begins with; may save the state first."""

_LOG_LINES = 500
"""About how many lines the log of a run has."""


@dataclass
class _Tally:
    """Losses since the last log line; part of the checkpoint, so that a resumed log has the same lines."""

    total: Tensor
    count: int = 0


class Run:
    """A loop, and what surrounds it.

    Args:
        loop: the recipe on the data, or on a group of images.
        journal: where the log, checkpoints, snapshots and looks go; None keeps nothing.
        as_set: makes a snapshot of a state.
        settings: how often to save.
        display: what is told how far it is.
        stop: whether somebody asked to stop.
        pool: the state of the pool at the start, where it is known already.
        done: steps of earlier groups.
        total: steps of all groups; None for a run without groups, which announces itself to the display.
        renew: gives the loop that takes the next step, where that changes on the way.
        limit: seconds after which it is cut: no step begins any more; None for all steps.
    """

    def __init__(
        self,
        loop: Loop,
        journal: Journal | None,
        as_set: Callable[[LoopState], Distilled],
        settings: Settings,
        display: Progress,
        stop: Stop,
        pool: State | None = None,
        done: int = 0,
        total: int | None = None,
        renew: Renew | None = None,
        limit: float | None = None,
    ) -> None:
        self._loop = loop
        self._limit = limit
        self._journal = journal
        self._pool = pool
        self._done = done
        self._all = total
        self._renew = renew
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
        self._figures: dict[str, float] = {}
        self.steps = 0

    def to_the_end(self) -> LoopState:
        """All steps that are left, or as many as the time allows; ``steps`` is how many the run then has."""
        total, name = self._loop.length(), self._loop.recipe.name
        state, tally = self._begin()
        state = self._renewed(state, tally)
        self._keep_if_due(state, tally, state.ordinal - 1)
        if self._all is None:
            self._display.start(name, total, state.ordinal)
        every = max(1, total // _LOG_LINES)
        cut = self._time_is_up()
        while state.ordinal < total and not cut:
            state = self._renewed(state, tally)
            before = state.ordinal
            state, losses = self._loop.step(state)
            if len(losses):  # a step that was not taken has none
                tally = _Tally(tally.total + losses.sum(), tally.count + 1)
            cut = self._time_is_up()
            # A network's life may end early, and with it the steps of its iteration.
            due = state.ordinal // every > before // every or state.ordinal == total or cut
            if due and tally.count:
                loss = float(tally.total) / tally.count
                if not _finite(loss, state.stored):
                    state, tally = self._roll_back(state, loss)
                    continue
                self._write_log(state, loss)
                tally = self._no_losses()
            self._keep_if_due(state, tally, before)
            self._display.advance(self._done + state.ordinal, self._last_loss, self._figures)
            self._save_if_due(state, tally, total)
        self.steps = state.ordinal
        return state

    @property
    def seconds(self) -> float:
        """Time that the run has taken so far, without interruptions, the writing of snapshots and looks."""
        return self._seconds()

    @property
    def loss(self) -> float | None:
        """The last loss that was logged."""
        return self._last_loss

    def _time_is_up(self) -> bool:
        """Whether no step may begin any more."""
        if self._limit is None:
            return False
        if self._loop.context.device.type == "cuda":  # what was only asked for has not taken its time yet
            torch.cuda.synchronize(self._loop.context.device)
        return self._seconds() >= self._limit

    def _begin(self) -> tuple[LoopState, _Tally]:
        """The newest checkpoint, or the initial state, which becomes the first one."""
        found = self._resume()
        if found is not None and self._journal is not None:
            self._journal.snapshots.require(found[0].ordinal)
            self._journal.looks.require(found[0].ordinal)
            self._display.say(f"resumed at step {self._done + found[0].ordinal}")
            return found
        state, tally = self._loop.start(self._pool), self._no_losses()
        if self._journal is not None and self._loop.length():
            self._journal.rewind_log(0)
            self._save(state, tally)
        return state, tally

    def _resume(self) -> tuple[LoopState, _Tally] | None:
        tree = self._journal.checkpoints.latest(self._loop.context.device) if self._journal else None
        if self._journal is None or tree is None:
            return None
        self._earlier_seconds = tree["seconds"]
        self._began = time.monotonic()
        self._journal.rewind_log(tree["state"]["ordinal"])
        self._last_loss = tree["last_loss"]
        self._saved_at = tree["state"]["ordinal"]
        return LoopState(**tree["state"]), _Tally(**tree["tally"])

    def _renewed(self, state: LoopState, tally: _Tally) -> LoopState:
        """The state that the next step begins with, and with it the loop."""
        if self._renew is not None:
            self._loop, state = self._renew(state, lambda: self._save(state, tally) if _sound(state, tally) else None)
        return state

    def _no_losses(self) -> _Tally:
        return _Tally(torch.zeros((), dtype=self._loop.context.dtype, device=self._loop.context.device))

    def _keep_if_due(self, state: LoopState, tally: _Tally, before: int) -> None:
        """Take snapshots and looks that are due since a step, if any; the clock of the run stands still meanwhile."""
        if self._journal is None:
            return
        due = self._journal.snapshots.due(before, state.ordinal)
        looks = self._journal.looks.due(before, state.ordinal)
        if (due or looks) and _sound(state, tally):
            seconds = self._seconds()
            for step in due:
                self._journal.snapshots.write(self._as_set(state), step, seconds)
            if looks:
                self._journal.looks.write(looks, look(self._loop, state, before))
            self._began += self._seconds() - seconds

    def _save_if_due(self, state: LoopState, tally: _Tally, total: int) -> None:
        stopped_by = self._stop.signal
        waited = time.monotonic() - self._saved
        due = waited >= 60 * self._settings.checkpoint_minutes or stopped_by is not None
        # A state that is not finite must never replace one that is: losses are only looked at when they are logged.
        if self._journal is not None and due and state.ordinal < total and _sound(state, tally):
            self._save(state, tally)
        if stopped_by is not None and state.ordinal < total:
            saved = None if self._saved_at is None else self._done + self._saved_at
            where = f"; the same command resumes at step {saved}" if saved is not None else ""
            raise Interrupted(
                f"stopped by {stopped_by.name} at step {self._done + state.ordinal} of {self._all or total}{where}."
            )

    def _save(self, state: LoopState, tally: _Tally) -> None:
        if self._journal is not None:
            tree = {
                "state": state.tree(),
                "tally": {"total": tally.total, "count": tally.count},
                "seconds": self._seconds(),
                "last_loss": self._last_loss,
            }
            self._journal.checkpoints.save(state.ordinal, tree)
            self._saved, self._saved_at = time.monotonic(), state.ordinal

    def _roll_back(self, state: LoopState, loss: float) -> tuple[LoopState, _Tally]:
        cause = f"the loss is {loss} by step {state.ordinal}"
        if self._rolled_back or self._journal is None:
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

    def _write_log(self, state: LoopState, loss: float) -> None:
        self._last_loss, self._figures = loss, self._loop.figures(state)
        if self._journal is not None:
            line = {"step": state.ordinal, "loss": loss, "seconds": self._seconds()}
            self._journal.log({**line, **self._figures})

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
