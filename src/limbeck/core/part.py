"""What a part is: its facts, its state, and what it costs.

A part is a frozen, keyword-only dataclass of plain fields: the object is its own configuration. What it remembers
during a run is a separate *state*, a tree of dicts, lists, tensors and numbers, made by `Part.init` and returned by
every call that changes it, so that the engine checkpoints all parts alike. Contracts are abstract, parts are final.
"""

from __future__ import annotations

import abc
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from limbeck.core.context import Context

__all__ = ["FACTS", "Part", "State", "Workload"]

State = dict[str, Any]

FACTS: dict[str, str] = {
    "real batches": "sampler",
    "networks": "pool",
    "embeddings": "pool",
    "training accuracy": "pool",
    "gradients left over": "objective",
    "initial images": "initializer",
    "decoded images": "parametrization",
    "shared augmentation": "augmentation",
    "schedule": "curriculum",
    "targets": "labeler",
    "teacher": "pool",
    "expert trajectories": "pool",
    "labelling networks": "pool",
    "image updates": "optimizer",
    "image gradients": "objective",
    "unions of segments": "objective",
    "networks trained on chosen images": "pool",
}
"""What parts can offer to one another, and the slot where each is usually found."""


@dataclass(frozen=True)
class Workload:
    """How much a run has to do.

    Args:
        iterations: outer iterations.
        steps: inner steps of each.
        real: real images of a class in a step.
        decoded: decoded synthetic images of a class.
    """

    iterations: int
    steps: int
    real: int
    decoded: int


@dataclass(frozen=True, kw_only=True)
class Part(abc.ABC):
    """Base of all parts. ``needs``, ``reads`` and ``offers`` are what `Recipe.check` compares, both ways."""

    slot: ClassVar[str]
    references: ClassVar[tuple[str, ...]] = ()
    added: ClassVar[Mapping[str, Any]] = {}
    """Fields that run files of earlier versions lack, and the values that say what those runs did."""

    def needs(self) -> frozenset[str]:
        """Facts without which this part cannot work."""
        return frozenset()

    def reads(self) -> frozenset[str]:
        """Facts that this part makes use of when they are there."""
        return frozenset()

    def offers(self) -> frozenset[str]:
        """Facts that this part brings; one of them must be used by another part, else it would have no effect."""
        return frozenset(fact for fact, slot in FACTS.items() if slot == self.slot)

    def check(self, context: Context) -> None:
        """Refuse data or an IPC that this part cannot work on, with an `InputError`, before anything runs."""
        return None

    def init(self, context: Context) -> State:
        """The state at the beginning of a run."""
        return {}

    def passes(self, context: Context, load: Workload) -> float:
        """Forward passes of one image that this part costs in a whole run, for predictions; a gradient counts as two.

        Args:
            context: the run.
            load: how much there is to do.
        """
        return 0.0
