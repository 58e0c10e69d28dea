"""The teacher that labels sets: that of the recipe, or another one, trained on the real images or brought along."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch

from limbeck.core.context import Context
from limbeck.core.execution import ExecutionSettings, use_allocator
from limbeck.core.real import RealSet
from limbeck.core.recipe import Recipe
from limbeck.core.streams import Streams
from limbeck.evaluation.labels import ByTeacher
from limbeck.networks import build
from limbeck.training.pretraining import cache_folder
from limbeck.training.taught import KnownTeacher
from limbeck.training.teacher import Teacher

__all__ = ["recipe_teacher", "taught_by", "teacher_context", "teacher_labels"]


def recipe_teacher(recipe: Recipe) -> Teacher | None:
    """The teacher by which a recipe's images are made, unchanged: its pool's, or another part's; None without one."""
    held = (getattr(part, "teacher", None) for part in (recipe.pool, *(part for _, part in recipe.parts())))
    return next((teacher for teacher in held if isinstance(teacher, Teacher)), None)


def taught_by(
    teacher: Teacher,
    train: RealSet,
    *,
    device: torch.device | None = None,
    execution: ExecutionSettings | None = None,
    cache: bool | Path = True,
    say: Callable[[str], None] = lambda message: None,
) -> ByTeacher:
    """Soft labels by a teacher: `teacher_labels` in the surroundings of `teacher_context`.

    Args:
        teacher: who.
        train: the real training images, whose classes it knows.
        device: where; the CPU by default.
        execution: how training steps are computed.
        cache: where trained networks are kept: the usual folder (True), another one, or nowhere (False).
        say: reports what is being done.

    Raises:
        InputError: the teacher cannot be made, or knows other classes.
    """
    context = teacher_context(teacher, train, device=device, execution=execution, cache=cache, say=say)
    return teacher_labels(teacher, context)


def teacher_context(
    teacher: Teacher,
    train: RealSet,
    *,
    device: torch.device | None = None,
    execution: ExecutionSettings | None = None,
    cache: bool | Path = True,
    say: Callable[[str], None] = lambda message: None,
) -> Context:
    """Surroundings in which a teacher that no recipe brings is trained or loaded.

    Args:
        teacher: who.
        train: the real training images, whose classes it knows.
        device: where; the CPU by default.
        execution: how training steps are computed.
        cache: where trained networks are kept: the usual folder (True), another one, or nowhere (False).
        say: reports what is being done.

    Raises:
        InputError: the network does not exist or does not fit the images.
    """
    device, settings = device or torch.device("cpu"), execution or ExecutionSettings()
    use_allocator(settings.allocator)
    context = Context(
        data=train.to(device, torch.float32),
        ipc=1,
        streams=Streams(0),
        build=build,
        device=device,
        say=say,
        cache=cache_folder(cache),
    )
    flops = teacher.passes(context) * teacher.architecture(context).flops(train.spec.shape)
    return replace(context, execution=settings.resolve(device, torch.float32, flops))


def teacher_labels(teacher: Teacher, context: Context, where: str = "the protocol") -> ByTeacher:
    """Labels by a teacher, which is checked, and then trained or loaded.

    Args:
        teacher: who.
        context: that of the run whose pool it belongs to, so that the same network comes from the cache; or
            `teacher_context`.
        where: what errors call its owner.

    Raises:
        InputError: it cannot be made, or knows other classes.
    """
    teacher.check(context, where)
    weights = {name: tensor.detach() for name, tensor in teacher.load(context).items()}
    known = KnownTeacher(teacher.architecture(context), weights, context.spec.class_names)
    return ByTeacher(known.on(context.device))
