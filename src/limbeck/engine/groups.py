"""Groups of images that are learnt apart: each a task of its own, resumable, the same wherever and whenever it runs."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from limbeck.core.context import Context, Group
from limbeck.core.contracts import State
from limbeck.core.distilled import Distilled, by_segment
from limbeck.core.errors import InputError, Interrupted, RunError
from limbeck.core.executor import Executor, InProcess
from limbeck.core.recipe import Recipe
from limbeck.engine.group_folder import GroupFolder, Learnt
from limbeck.engine.interrupt import Stop, stoppable
from limbeck.engine.loop import Loop, LoopState
from limbeck.engine.progress import Progress, progress
from limbeck.engine.run import Run
from limbeck.engine.segments import Finished, LessonLost, Segment
from limbeck.engine.settings import Settings
from limbeck.engine.workload import lengths

__all__ = ["GroupRun", "chains", "check_processes", "first_pool"]


def chains(recipe: Recipe, context: Context) -> list[tuple[Group, ...]]:
    """Groups that must follow one another, as segments all do; none where all is learnt together."""
    if recipe.curriculum is None or recipe.objective is None:
        return []
    groups = recipe.curriculum.groups(context)
    if recipe.curriculum.segments(context.ipc):
        return [groups]
    if recipe.pool is None or not recipe.pool.chained():
        return [(group,) for group in groups]
    by_image: dict[range, list[Group]] = {}
    for group in groups:
        by_image.setdefault(group.images, []).append(group)
    return [tuple(chain) for chain in by_image.values()]


def check_processes(recipe: Recipe, context: Context, settings: Settings) -> None:
    """Refuse several processes where there is nothing to share out.

    Raises:
        InputError: all images are learnt together, or none is learnt.
    """
    if settings.processes > 1 and recipe.curriculum is not None and recipe.curriculum.segments(context.ipc):
        raise InputError(
            f"recipe '{recipe.name}' learns one segment of images after the other, so that several processes have "
            "nothing to share; leave --processes out."
        )
    if settings.processes > 1 and not chains(recipe, context):
        raise InputError(
            f"recipe '{recipe.name}' has no groups of images that are learnt apart, for several processes to share; "
            "leave --processes out."
        )


@dataclass(frozen=True)
class _Work:
    """What a task needs beside its groups; what another process cannot have is left out of its copy."""

    recipe: Recipe
    context: Context
    settings: Settings
    folder: GroupFolder | None
    pool: State | None
    total: int
    threads: int
    segments: tuple[int, ...] = ()
    limit: float | None = None
    display: Progress | None = None
    stop: Stop | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        context = replace(self.context, say=_silent, executor=InProcess())
        settings = (self.recipe, context, self.settings, self.folder, self.pool, self.total, self.threads)
        return (_Work, (*settings, self.segments, self.limit))

    def steps(self, group: Group) -> int:
        """Inner steps of a group."""
        curriculum = self.recipe.curriculum
        assert curriculum is not None
        return self.segments[group.number] if self.segments else curriculum.length()

    def share(self, group: Group) -> float | None:
        """Seconds that a group may take: of those of the run as many as it has of the steps; None for any."""
        return None if self.limit is None else self.limit * self.steps(group) / self.total

    def before(self, group: Group) -> int:
        """Inner steps of the groups before one."""
        return sum(self.segments[: group.number]) if self.segments else group.number * self.steps(group)


def _silent(message: str) -> None:
    pass


def first_pool(recipe: Recipe, context: Context, folder: GroupFolder | None) -> State | None:
    """The state of the pool that all groups begin with, made now or as it was kept; None without a pool.

    Making it may take as long as the training of a teacher, which keeps itself on its way: nothing is lost when it is
    stopped in the middle.

    Args:
        recipe: a checked recipe.
        context: the run.
        folder: where groups are kept; None keeps nothing.
    """
    pool = recipe.pool
    if pool is None:
        return None
    return pool.init(context) if folder is None else folder.prepared(lambda: pool.init(context), context.device)


class GroupRun:
    """All groups of a run, through an executor.

    Args:
        recipe: a checked recipe whose curriculum has groups.
        context: the run.
        folder: where groups are kept; None keeps nothing.
        settings: how to save.
        display: what is told how far it is.
        stop: whether somebody asked to stop.
        pool: what `first_pool` gave.
        executor: where groups are learnt; that of the context by default.
        limit: seconds after which the run is cut, shared among groups by their steps; None for all steps.
    """

    def __init__(
        self,
        recipe: Recipe,
        context: Context,
        folder: GroupFolder | None,
        settings: Settings,
        display: Progress,
        stop: Stop,
        pool: State | None,
        executor: Executor | None = None,
        limit: float | None = None,
    ) -> None:
        self._chains = chains(recipe, context)
        self._folder, self._context, self._display, self._stop = folder, context, display, stop
        self._executor = executor or context.executor
        every, threads = lengths(recipe, context), torch.get_num_threads()
        segments = tuple(every) if recipe.curriculum and recipe.curriculum.segments(context.ipc) else ()
        total = sum(every)
        self._work = _Work(recipe, context, settings, folder, pool, total, threads, segments, limit, display, stop)
        self.lines: list[dict[str, Any]] = []
        self.seconds = 0.0
        self.steps = 0
        self.loss: float | None = None
        self.lessons: list[State] = []
        self.told: list[dict[str, Any]] = []
        self.learnt: dict[str, Tensor] = {}

    def to_the_end(self, kept: Callable[[Tensor], Tensor]) -> Tensor:
        """The stored images of all groups, ``[K, n, C, H, W]`` on the CPU.

        Args:
            kept: makes of those of a group what is kept of them, in another number format, say; so that all are never
                there in both.
        """
        every = [group for chain in self._chains for group in chain]
        done = [group for group in every if self._folder is not None and self._folder.finished(group)]
        if done:
            self._display.say(f"{len(done)} of {len(every)} groups were done before")
        begun = sum(self._work.steps(group) for group in done)
        self._display.start(self._work.recipe.name, self._work.total, begun)
        spec = self._context.spec
        stored: Tensor | None = None
        losses: list[float] = []
        beside: list[dict[str, Tensor]] = []
        for group, learnt in self._learn():
            part = kept(learnt.stored)
            if stored is None:
                stored = torch.empty(spec.classes, self._context.ipc, *spec.shape, dtype=part.dtype)
            stored[group.labels.start : group.labels.stop, group.images.start : group.images.stop] = part
            offset = self._work.before(group)
            self.lines += [
                {
                    **line,
                    "step": line["step"] + offset,
                    "seconds": line["seconds"] + self.seconds,
                    "group": group.number,
                }
                for line in learnt.lines
            ]
            self.seconds += learnt.seconds
            self.steps += learnt.steps
            losses += [] if learnt.loss is None else [learnt.loss]
            self.lessons += [] if learnt.lesson is None else [learnt.lesson]
            self.told.append(learnt.told)
            beside.append(learnt.beside)
            self._display.advance(offset + self._work.steps(group), learnt.loss)
        self.loss = sum(losses) / len(losses) if losses else None
        self.learnt = by_segment(beside)
        assert stored is not None  # a set has images, and every image a group
        return stored

    def _learn(self) -> Iterator[tuple[Group, Learnt]]:
        results = self._executor.map(functools.partial(_learn, self._work), self._chains)
        for chain, learnt in zip(self._chains, self._until_stopped(results), strict=True):
            for group, one in zip(chain, learnt, strict=True):
                found = one if self._folder is None else self._folder.read(group)
                if found is None:
                    raise RunError(
                        f"group {group.number} was learnt and cannot be read back; run the same command again."
                    )
                yield group, found

    def _until_stopped(self, results: Iterator[list[Learnt | None]]) -> Iterator[list[Learnt | None]]:
        """The results; what other processes say when they are stopped is put into words that are true of all."""
        try:
            yield from results
        except (Interrupted, KeyboardInterrupt) as error:
            number = self._stop.signal
            if number is None or isinstance(self._executor, InProcess):
                raise
            resumes = "" if self._folder is None else "; the same command resumes"
            raise Interrupted(f"stopped by {number.name}{resumes}.") from error


def _learn(work: _Work, chain: tuple[Group, ...]) -> list[Learnt | None]:
    """The groups of a chain; nothing where they are kept in files. A pure function of its arguments."""
    if work.stop is not None and work.display is not None:
        return _learn_chain(work, chain, work.display, work.stop)
    torch.set_num_threads(work.threads)  # how sums are rounded depends on it
    with stoppable() as stop, progress("quiet") as display:
        return _learn_chain(work, chain, display, stop)


def _learn_chain(work: _Work, chain: tuple[Group, ...], display: Progress, stop: Stop) -> list[Learnt | None]:
    results: list[Learnt | None] = []
    segmented = bool(work.recipe.curriculum and work.recipe.curriculum.segments(work.context.ipc))
    # Parts may change their state in place, and all chains, or segments, begin with this one.
    pool = None if segmented else copy.deepcopy(work.pool)
    finished: list[Learnt] = []
    for group in chain:
        home = "cpu" if segmented else work.context.device
        learnt = work.folder.read(group, home) if work.folder is not None else None
        if learnt is None:
            if segmented:
                learnt = _learn_segment(work, group, work.pool, finished, display, stop)
            else:
                learnt = _learn_group(work, group, pool, display, stop, keeps_pool=group is not chain[-1])
            if work.folder is not None:
                work.folder.write(group, learnt)
        if segmented:
            finished.append(learnt)
        pool = learnt.pool
        results.append(None if work.folder is not None else learnt)
    return results


def _learn_group(
    work: _Work, group: Group, pool: State | None, display: Progress, stop: Stop, *, keeps_pool: bool
) -> Learnt:
    loop = Loop(work.recipe, replace(work.context, group=group), work.settings.class_block)
    learnt, state = _run(work, group, loop, pool, display, stop)
    return replace(learnt, pool=state.parts.get("pool")) if keeps_pool else learnt


def _learn_segment(
    work: _Work, group: Group, pool: State | None, finished: Sequence[Learnt], display: Progress, stop: Stop
) -> Learnt:
    """A segment as a run of its own, with what those before have taught."""
    home = None if work.folder is None else work.folder.home(group)
    before = [Finished(one.stored, one.lesson or {}) for one in finished]
    segment = Segment(work.recipe, work.context, group, before, home, stop, work.settings.class_block)
    try:
        learnt, state = _run(work, group, segment.loop, segment.pool(pool), display, stop, segment)
    except LessonLost as error:
        if work.folder is None:
            raise
        display.say(f"{error}; segment {group.number} begins again")
        work.folder.forget(group)
        return _learn_segment(work, group, pool, finished, display, stop)
    seconds = segment.seconds
    lines = [{**line, "seconds": line["seconds"] + seconds} for line in learnt.lines]
    lesson, beside, told = segment.concluded(state), segment.loop.result(state)[1], segment.told(state)
    taken = learnt.seconds + segment.seconds
    return replace(learnt, lines=lines, seconds=taken, lesson=lesson, beside=beside, told=told)


def _run(
    work: _Work,
    group: Group,
    loop: Loop,
    pool: State | None,
    display: Progress,
    stop: Stop,
    segment: Segment | None = None,
) -> tuple[Learnt, LoopState]:
    """A group from its first step, or its newest checkpoint, to its last, after so many seconds of its lesson."""
    share = work.share(group)
    limit = None if share is None else share - (0.0 if segment is None else segment.seconds)
    journal = None if work.folder is None else work.folder.journal(group)
    renew = None if segment is None else segment.renew
    run = Run(loop, journal, _no_set, work.settings, display, stop, pool, work.before(group), work.total, renew, limit)
    state = run.to_the_end()
    lines = [] if journal is None else journal.lines()
    stored = loop.result(state)[0]
    return Learnt(stored=stored, lines=lines, seconds=run.seconds, loss=run.loss, steps=run.steps), state


def _no_set(state: LoopState) -> Distilled:
    raise RunError("groups of images have no snapshots")
