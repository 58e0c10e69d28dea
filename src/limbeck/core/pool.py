"""The contract of pools: which network looks at the images, and how it changes."""

from __future__ import annotations

import abc
from collections.abc import Callable, Iterator
from typing import Any

from torch import Tensor

from limbeck.core.batch import Moment, View
from limbeck.core.context import Context
from limbeck.core.network import FunctionalNetwork
from limbeck.core.part import Part, State

__all__ = ["Pool", "SyntheticImages"]

SyntheticImages = Callable[[], tuple[Tensor, Tensor]]
"""Gives decoded images in normalized space ``[N, C, H, W]`` and their targets ``[N]``."""


class Pool(Part):
    """Which network looks at the images, and how it changes between inner steps.

    Networks that begin with fresh weights take them from `Context.initial`, which may have others for them.
    """

    slot = "pool"

    def offers(self) -> frozenset[str]:
        """Networks and what they make of images; what only some pools know, they add."""
        return frozenset({"networks", "embeddings"})

    def copies(self) -> int:
        """Sets of weights that its state holds at most, those of optimizers counted; for memory and disk."""
        return 2

    def probe(self, context: Context) -> View:
        """A network with fresh weights as the objective would see one, of which only sizes and seconds count."""
        network = self.architecture(context)
        return View(network, network.initial(context.streams("probe")))

    def kept(self, context: Context) -> float:
        """Share in [0, 1] of what it computes before the first step that earlier runs have left; for predictions."""
        return 0.0

    @abc.abstractmethod
    def draw(self, state: State, context: Context, iteration: int) -> State:
        """The state with the network of a new outer iteration."""

    @abc.abstractmethod
    def view(self, state: State, context: Context) -> View:
        """The network as it is now."""

    def looks(self, state: State, context: Context) -> View:
        """The network that an initializer looks through, when the first one has been drawn; that one, usually."""
        return self.view(state, context)

    def judges(self, state: State, context: Context) -> Iterator[View]:
        """Networks that label the finished images (see the fact "labelling networks"); the present one, usually."""
        yield self.view(state, context)

    def record(self, state: State, context: Context) -> dict[str, Any]:
        """What the record of a run tells of its networks, as plain data; nothing, usually."""
        return {}

    @abc.abstractmethod
    def architecture(self, context: Context) -> FunctionalNetwork:
        """What its networks look like."""

    def of_segment(self, context: Context) -> Pool:
        """The pool of a segment, which begins anew with `init`; this one, with the state that all segments begin with.

        Args:
            context: the surroundings of the segment.
        """
        return self

    def prepare(self, state: State, context: Context, moment: Moment, shown: SyntheticImages) -> State:
        """The state before the first inner step of an outer iteration, given the images that it will show.

        Args:
            state: the state before; its tensors may be changed in place.
            context: the run.
            moment: the inner step that comes.
            shown: gives the images as the objective will show them to the network, transformed and in normalized space
                ``[N, C, H, W]``, and their targets ``[N]``.
        """
        return state

    def chained(self) -> bool:
        """Whether what groups of images leave behind in the state matters to those that follow them.

        The groups of one position in all classes are then learnt one after the other.
        """
        return False

    @abc.abstractmethod
    def advance(self, state: State, context: Context, moment: Moment, synthetic: SyntheticImages) -> State:
        """The state after the training that follows an inner step.

        Args:
            state: the state before; its tensors may be changed in place.
            context: the run.
            moment: the inner step that has just been taken.
            synthetic: gives all decoded synthetic images in normalized space ``[N, C, H, W]`` and their targets
                ``[N]``, for pools that train on them.
        """

    def finished(self, state: State, context: Context) -> bool:
        """Whether the network's life is over before the inner steps of its outer iteration are."""
        return False
