"""Where independent tasks run. The contract, and the implementation that needs nothing: this process."""

from __future__ import annotations

import abc
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

__all__ = ["Executor", "InProcess"]

Task = TypeVar("Task")
Result = TypeVar("Result")


class Executor(abc.ABC):
    """Runs pure tasks that do not depend on one another.

    A task is a picklable value and the function a module-level callable; a result must not depend on where, when or
    in which order it was computed, so every executor gives the same results in the same order.
    """

    @abc.abstractmethod
    def map(self, function: Callable[[Task], Result], tasks: Sequence[Task]) -> Iterator[Result]:
        """Results of ``function`` over ``tasks``, in the order of the tasks, each as soon as it is known."""


class InProcess(Executor):
    """One task after another in this process."""

    def map(self, function: Callable[[Task], Result], tasks: Sequence[Task]) -> Iterator[Result]:
        """Results in order; each task starts when its result is asked for."""
        return map(function, tasks)
