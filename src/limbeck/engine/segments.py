"""A segment of images as a run of its own: what it is taught before it begins, and again on its way."""

from __future__ import annotations

import copy
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from limbeck.core.context import Context, Group
from limbeck.core.contracts import Earlier, State
from limbeck.core.errors import InputError, Interrupted, RunError
from limbeck.core.recipe import Recipe, part_name
from limbeck.core.streams import Streams
from limbeck.engine.interrupt import Stop
from limbeck.engine.loop import Loop, LoopState
from limbeck.storage.tree import load_tree, save_tree

__all__ = ["Finished", "LessonLost", "Segment", "check_segments", "united"]


class LessonLost(RunError):
    """A lesson that a run was in the middle of cannot be read, and what it was made of is gone."""


@dataclass(frozen=True)
class Finished:
    """What came of a segment.

    Args:
        stored: its images, ``[K, n, C, H, W]`` on the CPU.
        lesson: what the next one needs of its lesson.
    """

    stored: Tensor
    lesson: State


class Segment:
    """One segment, and the loops that take its steps: a new one whenever its lesson is made anew.

    The first lesson is kept in a file until the segment is done, others until the second after them, so that every
    checkpoint that there may be finds its own.

    Args:
        recipe: a checked recipe whose curriculum has segments.
        context: the run.
        group: the segment.
        finished: those before.
        folder: where it keeps its lessons; None keeps none.
        stop: whether somebody asked to stop.
        class_block: classes whose real batches are in memory at once.
    """

    def __init__(
        self,
        recipe: Recipe,
        context: Context,
        group: Group,
        finished: Sequence[Finished],
        folder: Path | None,
        stop: Stop,
        class_block: int,
    ) -> None:
        curriculum = recipe.curriculum
        assert curriculum is not None
        self._whole, self._group, self._folder, self._stop = recipe, group, folder, stop
        self._class_block = class_block
        self._recipe = replace(recipe, curriculum=curriculum.of_segment(context.ipc, group.number))
        self._context = replace(context, pause=self._pause)
        # Random numbers of its own, but for the first segment: it is a smaller run of the same recipe.
        streams = Streams(context.streams("segment", group.number).seed) if group.number else context.streams
        pieces = curriculum.pieces(context.ipc, group.number)
        self._own = replace(self._context, ipc=len(group.images), streams=streams, pieces=pieces)
        self._finished = tuple(finished)
        self._earlier = self._seen([one.stored for one in finished])
        self._iterations = curriculum.renewed(group.number)
        self._number = 0
        self._lesson, self.seconds = self._taught(0, None)
        self.loop = self._looped()

    def renew(self, state: LoopState, save: Callable[[], None]) -> tuple[Loop, LoopState]:
        """The loop that takes the next step of a state, and the state that it begins with.

        Args:
            state: the state before the step.
            save: keeps it as a checkpoint; called before a lesson is made of it.

        Raises:
            LessonLost: the state's lesson was damaged.
        """
        number = self._stretch(state.ordinal)
        if number != self._number:
            if state.ordinal == self._begins(number):
                save()
                if number - 1 != self._number:  # resumed here
                    self._lesson, _ = self._taught(number - 1, None)
            self._lesson, _ = self._taught(number, state)
            self._number, self.loop = number, self._looped()
        sampler = self._recipe.sampler
        if number and state.ordinal == self._begins(number) and sampler is not None:
            # What it remembers belongs to the images that it was shown before.
            state.parts["sampler"] = sampler.init(self._own)
        return self.loop, state

    def concluded(self, state: LoopState) -> State:
        """What the next segment and the record need of the segment, given its last state."""
        curriculum = self._whole.curriculum
        assert curriculum is not None
        iterations = self._recipe.curriculum.moment(state.ordinal - 1).iteration + 1 if self._recipe.curriculum else 0
        began, scratch = time.monotonic(), None if self._folder is None else self._folder / "conclusion"
        earlier = self._on_the_way(iterations, state)
        lesson = curriculum.concluded(replace(self._context, scratch=scratch), earlier, earlier.lesson)
        self.seconds += time.monotonic() - began
        return lesson

    def _stretch(self, ordinal: int) -> int:
        """How many lessons a step had before its own."""
        curriculum = self._recipe.curriculum
        assert curriculum is not None
        if not self._iterations or not curriculum.length():
            return 0
        return curriculum.moment(min(ordinal, curriculum.length() - 1)).iteration // self._iterations

    def _begins(self, number: int) -> int:
        """Inner steps before a stretch."""
        assert self._recipe.curriculum is not None
        return number * self._iterations * self._recipe.curriculum.moment(0).steps

    def _looped(self) -> Loop:
        curriculum = self._whole.curriculum
        assert curriculum is not None
        context, recipe = curriculum.focus(self._own, self._lesson, self._earlier), self._recipe
        if recipe.pool is not None:
            recipe = replace(recipe, pool=recipe.pool.of_segment(context))
        return Loop(recipe, context, self._class_block)

    def pool(self, first: State | None) -> State | None:
        """The state of the pool that the segment begins with: a copy of the first one; None if it is the segment's own.

        Args:
            first: what all segments begin with.
        """
        return copy.deepcopy(first) if self.loop.recipe.pool is self._whole.pool else None

    def told(self, state: LoopState) -> dict[str, Any]:
        """What the record tells of the networks that are the segment's own; nothing where they are not.

        Args:
            state: its last one.
        """
        pool = self.loop.recipe.pool
        return {} if pool is None or pool is self._whole.pool else pool.record(state.parts["pool"], self.loop.context)

    def _taught(self, number: int, state: LoopState | None) -> tuple[State, float]:
        """A lesson as it was kept, or made now and kept, and the seconds that it took."""
        path = None if self._folder is None else self._folder / f"lesson-{number:06d}.safetensors"
        if path is not None and path.is_file():
            try:
                kept = load_tree(path)
                return kept["lesson"], kept["seconds"]
            except RunError:
                path.unlink(missing_ok=True)  # damaged: it is made again
        if number and (state is None or state.ordinal != self._begins(number)):
            raise LessonLost(f"what a segment was taught at iteration {number * self._iterations} is lost.")
        began, scratch = time.monotonic(), None if path is None else path.with_suffix("")
        curriculum = self._whole.curriculum
        assert curriculum is not None
        earlier = self._earlier if state is None else self._on_the_way(number * self._iterations, state)
        lesson = curriculum.lesson(replace(self._context, scratch=scratch), earlier)
        seconds = time.monotonic() - began
        if path is not None:
            save_tree(path, {"lesson": lesson, "seconds": seconds})
            shutil.rmtree(path.with_suffix(""), ignore_errors=True)
            if number > 2:
                path.with_name(f"lesson-{number - 2:06d}.safetensors").unlink(missing_ok=True)
        return lesson, seconds

    def _on_the_way(self, iteration: int, state: LoopState) -> Earlier:
        """What is finished, and what the segment has become after some outer iterations."""
        seen = self._seen([*(one.stored for one in self._finished), self.loop.result(state)[0]])
        assert self._whole.curriculum is not None
        lesson = self._whole.curriculum.remembered(self._lesson)
        return replace(seen, number=self._earlier.number, lesson=lesson, iteration=iteration)

    def _seen(self, stored: Sequence[Tensor]) -> Earlier:
        """Images of segments, as a curriculum sees them before this one."""
        recipe, context, group = self._whole, self._context, self._group
        assert recipe.pool is not None
        images_of_class = sum(some.shape[1] for some in stored)
        before = replace(context, group=replace(group, images=range(images_of_class)))
        together = torch.empty(before.stored_shape, device=context.device, dtype=context.dtype)
        images, targets = together.flatten(0, 1), torch.empty(0, dtype=torch.int64, device=context.device)
        if stored:
            together = torch.cat(list(stored), dim=1).to(context.device, context.dtype)
            images, targets = Loop(recipe, before).decoded(together)
        return Earlier(
            number=len(self._finished),
            stored=together,
            images=images,
            targets=targets,
            network=recipe.pool.architecture(context),
            lesson=self._finished[-1].lesson if self._finished else {},
            decoded=recipe.parametrization.parts(len(group.images)),
            real=recipe.sampler.size(context) if recipe.sampler is not None else 0,
        )

    def _pause(self) -> None:
        number = self._stop.signal
        if number is not None:
            resumes = "" if self._folder is None else "; the same command resumes"
            raise Interrupted(f"stopped by {number.name} while segment {self._group.number} was prepared{resumes}.")


def check_segments(recipe: Recipe, context: Context) -> None:
    """Refuse segments where images of one would be decoded otherwise in the whole set, or matter to another's pool.

    Args:
        recipe: a checked recipe.
        context: the run.

    Raises:
        InputError: they would, an objective has no room for images of the segments before, or a pool cannot give a
            segment what it wants.
    """
    curriculum, ipc = recipe.curriculum, context.ipc
    sizes = curriculum.segments(ipc) if curriculum is not None else ()
    parts = recipe.parametrization.parts
    if curriculum is None or not sizes:
        return
    for number in range(len(sizes)):
        its = replace(context, pieces=curriculum.pieces(ipc, number))
        if recipe.pool is not None and its.pieces is not None:
            recipe.pool.of_segment(its).check(its)
    if parts(ipc) != sum(map(parts, sizes)):
        raise InputError(
            f"parametrization '{part_name(recipe.parametrization)}' decodes {ipc} images of a class otherwise than "
            f"segments of {sizes} of them; use another one (--with parametrization=plain) or one segment."
        )
    if recipe.pool is not None and recipe.pool.chained():
        raise InputError(
            f"pool '{part_name(recipe.pool)}' lets images change the network of those that follow, which segments, "
            "each with networks of its own, cannot do; use another pool, or --with curriculum=one_by_one."
        )
    if recipe.objective is None or not united(recipe):
        return
    most = max(map(parts, sizes[1:]))
    if recipe.objective.room(most) == 0:
        raise InputError(
            f"objective '{part_name(recipe.objective)}' has no room for images of earlier segments beside the {most} "
            "decoded ones of a class that a segment has; raise --objective.synthetic-batch above that (0: no limit), "
            "or make segments smaller."
        )


def united(recipe: Recipe) -> bool:
    """Whether images of finished segments are shown beside those that are learnt.

    Args:
        recipe: a checked recipe.
    """
    return recipe.curriculum is not None and "unions of segments" in recipe.curriculum.needs()
