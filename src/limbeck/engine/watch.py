"""Looks at the real images that a run samples: how well they stand for their class, and how strongly they pull.

A look is made of what the run holds after a step and of random numbers by key. It changes nothing, so that a run that
is watched gives the images of one that is not, and a run that was killed and resumed has the looks of one that never
stopped. After Figs. 2c and 3 of DREAM (Liu et al., ICCV 2023).
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from limbeck.core.batch import View
from limbeck.core.errors import InputError
from limbeck.engine.lines import Lines
from limbeck.engine.loop import Loop, LoopState
from limbeck.ops.diversity import mmd2_mixture
from limbeck.training.embedding import embed
from limbeck.training.gradient_norms import gradient_norms

__all__ = ["WATCH", "Looks", "look", "look_steps"]

WATCH = "watch.jsonl"

_CLASSES = 10
"""Classes that are looked at, at most; evenly spread."""
_SAMPLE = 1000
"""Images of a class that stand for all of it, at most."""
_PULLING = 64
"""Images of a batch whose gradients are taken, at most."""


class Looks:
    """The looks of a run that is under way, one line each.

    Args:
        folder: of the run.
        steps: inner steps after which a look is due.
    """

    def __init__(self, folder: Path, steps: Collection[int]) -> None:
        self._folder = folder
        self._lines = Lines(folder / WATCH)
        self._steps = steps

    def due(self, before: int, step: int) -> tuple[int, ...]:
        """Steps whose looks are to be taken and have not been taken yet.

        Args:
            before: inner steps done when this was asked last.
            step: inner steps done now.
        """
        due = [each for each in self._steps if before < each <= step]
        taken = {line["step"] for line in self._lines.read()} if due else set()
        return tuple(each for each in due if each not in taken)

    def write(self, steps: Collection[int], found: dict[str, Any]) -> None:
        """Write a look, once for each step that it was due after."""
        self._lines.add(*({"step": step, **found} for step in steps))

    def rewind(self, ordinal: int) -> None:
        """Drop the looks after steps past ``ordinal``, which will be done again."""
        self._lines.rewind(ordinal)

    def require(self, until: int) -> None:
        """Refuse to go on when looks after earlier steps are missing: they cannot be taken any more.

        Args:
            until: inner steps done.

        Raises:
            InputError: the run was begun without them.
        """
        missing = self.due(0, until)
        if missing:
            raise InputError(
                f"{self._folder} is past step {missing[0]}, after which nobody looked at its real batches; ask for as "
                "many looks (--watch) as when it was begun, or choose another --out."
            )


def look_steps(count: int, total: int) -> tuple[int, ...]:
    """Steps after which ``count`` looks are due, evenly spread up to the last step.

    Args:
        count: how many looks; at most one per step is taken.
        total: inner steps of the run.
    """
    return tuple(dict.fromkeys(-(-(index + 1) * total // count) for index in range(count))) if total else ()


def look(loop: Loop, state: LoopState, ordinal: int) -> dict[str, Any]:
    """What can be said of the real batches of a step, as plain data.

    Through the network that the pool holds after it. Of each class the squared maximum mean discrepancy between the
    features of its batch and those of the class, and the norms of the gradients of single images of the batch; beside
    them the same for as many random images of the class.

    Args:
        loop: the recipe on the data.
        state: after the step.
        ordinal: inner steps before it.
    """
    context, view, moment = loop.context, loop.view(state), loop.moment(ordinal)
    assert view is not None
    classes = []
    for label in context.labels[:: -(-len(context.labels) // _CLASSES)]:
        rows, members = loop.sampled(state, ordinal, label), context.data.class_rows(label)
        others = members[context.streams("watched beside", ordinal, label).permutation(len(members))[: len(rows)]]
        standing = members[context.streams("watched class", label).permutation(len(members))[:_SAMPLE]]
        every = embed(view, context.data, standing)
        found: dict[str, Any] = {"label": label, "images": len(rows)}
        for side, some in (("", rows), ("random_", others)):
            found[f"{side}mmd2"] = max(0.0, float(mmd2_mixture(embed(view, context.data, some), every)))
            found[f"{side}norms"] = _norms(loop, view, some, label)
        classes.append(found)
    return {"iteration": moment.iteration, "inner": moment.step, "classes": classes}


def _norms(loop: Loop, view: View, rows: Tensor, label: int) -> list[float]:
    """Norms of the gradients of the first of some images of a class, with five digits."""
    data = loop.context.data
    images = data.spec.normalization.apply(data.images(rows[:_PULLING]))
    norms = gradient_norms(view, images, torch.full((len(images),), label))
    return [float(f"{norm:.5g}") for norm in norms.tolist()]
