"""A teacher of digits and sets to be labelled, for tests; and a pool that brings a teacher."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field

from limbeck.core.distilled import Distilled
from limbeck.data import Data, load
from limbeck.engine.distill import distill
from limbeck.engine.settings import Settings
from limbeck.evaluation.labels import ByTeacher
from limbeck.evaluation.protocols import Protocol, limbeck_soft
from limbeck.evaluation.teaching import teacher_context, teacher_labels
from limbeck.methods.random import random
from limbeck.training.settings import Training
from limbeck.training.teacher import Teacher

TEACHER = Teacher(network="convnet3:width=16,norm=batch", training=Training(lr=0.05, batch_size=64), epochs=3)
STUDENT = "convnet2:width=4"
QUIET = Settings(device="cpu", progress="quiet")


@dataclass(frozen=True)
class PoolWithTeacher:
    """Stands for the pool of a method that brings a teacher."""

    teacher: Teacher = field(default=TEACHER)


def protocol(updates: int = 6, batch_size: int = 8) -> Protocol:
    """Three epochs over twenty images in a moment."""
    from dataclasses import replace

    ours = limbeck_soft(networks=(STUDENT,), updates=updates, side=8, flip=False)
    return replace(ours, repeats=1, training=replace(ours.training, batch_size=batch_size))


@functools.cache
def random_set(seed: int = 0, ipc: int = 2) -> Distilled:
    return distill(random(), load("digits"), ipc=ipc, seed=seed, settings=QUIET)


@functools.cache
def by_teacher() -> ByTeacher:
    data: Data = load("digits")
    return teacher_labels(TEACHER, teacher_context(TEACHER, data.train, cache=False))
