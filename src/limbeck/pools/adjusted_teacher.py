"""A teacher moved away from what it knows of the images that are to be learnt (DWA)."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from limbeck.core.batch import Moment, View
from limbeck.core.context import Context
from limbeck.core.contracts import Pool, State, SyntheticImages, Workload
from limbeck.core.errors import InputError
from limbeck.core.network import FunctionalNetwork, Weights, gradient_and_value
from limbeck.core.streams import Stream
from limbeck.ops.weight_adjustment import ascend
from limbeck.training.teacher import Teacher

__all__ = ["AdjustedTeacher"]


@dataclass(frozen=True, kw_only=True)
class AdjustedTeacher(Pool):
    """A teacher in evaluation mode whose weights are moved before the first inner step of each outer iteration.

    ``steps`` steps go up the gradient of the mean cross-entropy of the images as the first inner step shows them, each
    of length ``magnitude / steps``; all parameters move, running statistics stay. The moved weights then serve for all
    inner steps (DWA, Algorithm 1). Every group of images starts from the teacher's own weights.
    """

    references = ("du2024dwa",)

    teacher: Teacher = field(default_factory=Teacher)
    """The network, and how it was trained."""
    steps: int = 12
    """Steps K; 0 moves nothing."""
    magnitude: float = 0.015
    """Length rho of the whole way, at most."""
    direction: Literal["normalized", "printed", "random"] = "normalized"
    """Steps along the gradient divided by its global norm (code), along the gradient as it is (Algorithm 1 as printed),
    or in random directions of the same length (the ablation of table 3)."""
    restore: Literal["group", "image"] = "group"
    """How long moved weights last: for one group, or, as in the authors' script for ImageNet, for all groups of one
    image number, which then follow one another, each starting from the weights of the one before."""
    accumulate: bool = False
    """Whether gradients are left standing as in the authors' code: those in the images by the steps are added to the
    first gradient of the images, and, where weights last for several groups, those in the weights by all inner
    steps of a group to the first step of the next. For comparisons with that code alone."""

    def needs(self) -> frozenset[str]:
        """With ``accumulate``, somebody who adds the gradients that are left over."""
        return frozenset({"gradients left over"}) if self.accumulate else frozenset()

    def offers(self) -> frozenset[str]:
        """What every pool offers, and its teacher."""
        return super().offers() | {"teacher"}

    def check(self, context: Context) -> None:
        """The teacher can be had for these data, and the steps have a length."""
        self.teacher.check(context, "pool 'adjusted_teacher'")
        if self.steps < 0 or not self.magnitude >= 0:
            raise InputError(
                f"pool 'adjusted_teacher' needs steps >= 0 and magnitude >= 0, not {self.steps} and {self.magnitude}."
            )
        if self.accumulate and self.direction == "random":
            raise InputError(
                "pool 'adjusted_teacher' takes no gradients with direction 'random', so that accumulate has nothing to "
                "leave standing; set one of the two."
            )

    def init(self, context: Context) -> State:
        """The teacher's weights, from the cache, a file, or trained now."""
        return {"teacher": self.teacher.load(context), "moved": {}, "left": None, "standing": {}}

    def copies(self) -> int:
        """The teacher, its moved weights, and gradients that are left standing."""
        return 3 if self._stands() else 2

    def passes(self, context: Context, load: Workload) -> float:
        """Training the teacher, and a gradient of all images for each step."""
        moved = 3.0 * self.steps * load.iterations * context.spec.classes * load.decoded
        return self.teacher.passes(context) + (0.0 if self.direction == "random" else moved)

    def kept(self, context: Context) -> float:
        """Whether the teacher was trained before."""
        return self.teacher.kept(context)

    def draw(self, state: State, context: Context, iteration: int) -> State:
        """The teacher as it is, or, where moved weights last, as it was left."""
        if self.restore == "image" and state["moved"]:
            return state
        return {**state, "moved": {}, "left": None, "standing": {}}

    def view(self, state: State, context: Context) -> View:
        """The moved teacher, with the running statistics of its own."""
        return View(
            self.architecture(context),
            state["moved"] or state["teacher"],
            train=False,
            original=state["teacher"],
            left=state["left"],
            collect=partial(_add, state["standing"]) if self._stands() else None,
        )

    def architecture(self, context: Context) -> FunctionalNetwork:
        """What the teacher looks like."""
        return self.teacher.architecture(context)

    def prepare(self, state: State, context: Context, moment: Moment, shown: SyntheticImages) -> State:
        """The weights, moved for these images."""
        network, weights = self.architecture(context), state["moved"] or state["teacher"]
        length = self.magnitude / self.steps if self.steps else 0.0
        if self.direction == "random":
            for step in range(self.steps):
                direction = _random(network, weights, context.streams("weight adjustment", moment.iteration, step))
                weights = ascend(weights, direction, length, normalized=True)
            return {**state, "moved": weights}
        images, targets = shown()
        standing, left = state["standing"], torch.zeros_like(images)
        for _ in range(self.steps):
            gradient, pull = _gradients(network, weights, images, targets)
            if standing:  # gradients in the weights that nobody cleared
                gradient = {name: one + standing[name] for name, one in gradient.items()}
                standing = {}
            weights = ascend(weights, gradient, length, normalized=self.direction == "normalized")
            left = left + pull
        return {**state, "moved": weights, "left": left if self.accumulate else None, "standing": {}}

    def advance(self, state: State, context: Context, moment: Moment, synthetic: SyntheticImages) -> State:
        """What was left has been used."""
        return {**state, "left": None}

    def chained(self) -> bool:
        """Where weights last for all groups of one image number."""
        return self.restore == "image"

    def _stands(self) -> bool:
        return self.accumulate and self.restore == "image"


def _gradients(network: FunctionalNetwork, weights: Weights, images: Tensor, targets: Tensor) -> tuple[Weights, Tensor]:
    """Gradient of the mean cross-entropy in all parameters, and in the images."""
    names = network.parameter_names()

    def entropy(leaves: Weights) -> tuple[Tensor, tuple[Any, ...]]:
        moved = {**weights, **{name: leaves[name] for name in names}}
        return F.cross_entropy(network(moved, leaves["shown images"], train=False), targets), ()

    leaves = {**{name: weights[name] for name in names}, "shown images": images}
    found, _, _ = gradient_and_value(entropy, leaves, functional=False)
    return found, found.pop("shown images")


def _random(network: FunctionalNetwork, weights: Weights, stream: Stream) -> Weights:
    """A random direction in the space of all parameters."""
    return {name: stream.normal(*weights[name].shape).to(weights[name]) for name in network.parameter_names()}


def _add(sum_: Weights, gradient: Weights) -> None:
    """Add a gradient to a sum, in place; an empty sum becomes the gradient."""
    for name, one in gradient.items():
        sum_[name] = sum_[name] + one if name in sum_ else one
