"""One contract per slot of a recipe: what the engine asks of the parts that stand there.

What all parts have in common is in `limbeck.core.part`. The contracts of pools and curricula, which have files of their
own, are listed here with the others.
"""

from __future__ import annotations

import abc
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import ClassVar, Literal

import torch
from torch import Tensor

from limbeck.core.batch import Block, ClassBatch, Draws, Moment, View
from limbeck.core.context import Context
from limbeck.core.curriculum import Curriculum, Earlier
from limbeck.core.guard import Guard
from limbeck.core.network import FunctionalNetwork
from limbeck.core.part import FACTS, Part, State, Workload
from limbeck.core.pool import Pool, SyntheticImages
from limbeck.core.real import DataSpec
from limbeck.core.streams import Stream

__all__ = [
    "FACTS",
    "Augmentation",
    "Curriculum",
    "Earlier",
    "ImageOptimizer",
    "Initializer",
    "Labeler",
    "Objective",
    "Parametrization",
    "Part",
    "Peers",
    "Pool",
    "Pull",
    "Sampler",
    "Space",
    "State",
    "SyntheticImages",
    "Workload",
]

Space = Literal["unit", "normalized"]


class Parametrization(Part):
    """How stored pixels become training images."""

    slot = "parametrization"

    space: Space

    @abc.abstractmethod
    def parts(self, ipc: int) -> int:
        """Decoded images per class for ``ipc`` stored ones."""

    @abc.abstractmethod
    def decode(self, stored: Tensor) -> Tensor:
        """Stored images ``[n, C, H, W]`` of one class to training images ``[parts(n), C, H, W]``, differentiably."""

    @abc.abstractmethod
    def encode(self, images: Tensor, ipc: int) -> Tensor:
        """Pack ``parts(ipc)`` images ``[parts(ipc), C, H, W]`` of one class into ``ipc`` stored ones."""


class Initializer(Part):
    """Where synthetic images start."""

    slot = "initializer"

    def architecture(self, context: Context) -> FunctionalNetwork | None:
        """The network that it trains for itself, whose passes are its own; None when it looks through the pool's."""
        return None

    by_group: ClassVar[bool] = False
    """Whether `images` looks at ``context.group`` and makes no others; else the engine takes out the group's."""

    @abc.abstractmethod
    def images(self, context: Context, parametrization: Parametrization, view: View | None) -> Tensor:
        """Stored images in [0, 1] of ``context.labels`` and ``context.positions``, ``[K, n, C, H, W]``.

        Args:
            context: the run; without a group unless ``by_group`` is set.
            parametrization: packs images when several fit into one stored image.
            view: what the pool lets it look through (`Pool.looks`), or None when the recipe has no pool.
        """


class Sampler(Part):
    """Which real images are compared now."""

    slot = "sampler"

    @abc.abstractmethod
    def refresh(self, state: State, context: Context, moment: Moment, view: View) -> State:
        """Called once per inner step, before `rows`, with the network of that step."""

    @abc.abstractmethod
    def rows(self, state: State, context: Context, moment: Moment, label: int) -> Tensor:
        """Rows of the real batch of one class at one moment, int64 ``[B]`` on the CPU."""

    def size(self, context: Context) -> int:
        """Real images of a class in a step, at most; for predictions."""
        return 0


class Augmentation(Part):
    """Transformations of training images in normalized space, with all randomness as an argument."""

    slot = "augmentation"

    def fits(self, spec: DataSpec) -> None:
        """Refuse images that this transformation is not made for, with an `InputError`.

        Asked wherever an augmentation is used: in a recipe, in the training of a pool's networks, in a protocol.

        Args:
            spec: shape and normalization of the images.
        """
        return None

    def check(self, context: Context) -> None:
        """The images of the run fit."""
        self.fits(context.spec)

    def bound(self, spec: DataSpec) -> Augmentation:
        """The same transformation with what it has to know of the data filled in; most know nothing of them.

        Asked wherever an augmentation is used, before anything is drawn.

        Args:
            spec: shape and normalization of the images.
        """
        return self

    @abc.abstractmethod
    def draw(self, stream: Stream, shape: tuple[int, int, int], batch: int | None) -> Draws:
        """Random numbers for one use.

        Args:
            stream: source of randomness.
            shape: ``(C, H, W)`` of the images.
            batch: number of images, each with its own numbers, or None for one set that all images share.
        """

    @abc.abstractmethod
    def apply(self, images: Tensor, draws: Draws) -> Tensor:
        """Transformed images ``[B, C, H, W]``; differentiable."""


@dataclass(frozen=True)
class Peers:
    """The parts of a recipe that an objective works with.

    Args:
        parametrization: decodes stored images.
        augmentation: transforms both sides alike, or None.
        spec: the data set's shape and normalization.
    """

    parametrization: Parametrization
    augmentation: Augmentation | None
    spec: DataSpec

    def normalize(self, images: Tensor, space: Space = "unit") -> Tensor:
        """Images ``[..., C, H, W]`` of ``space`` in normalized space."""
        return self.spec.normalization.apply(images) if space == "unit" else images


@dataclass(frozen=True)
class Pull:
    """What an objective says of a block of classes.

    Args:
        losses: the distance of each class, ``[K]``.
        gradients: in the stored images, ``[K, n, C, H, W]``.
        learnt: gradients in what the objective learns beside the images, by name.
    """

    losses: Tensor
    gradients: Tensor
    learnt: Mapping[str, Tensor] = field(default_factory=dict)


class Objective(Part):
    """How far the synthetic images are from the real ones, as a network sees both."""

    slot = "objective"

    def needs(self) -> frozenset[str]:
        """An objective drives a run: it needs a schedule and somebody who applies its gradients."""
        return frozenset({"schedule", "image updates", "decoded images", "targets", "networks"})

    def offers(self) -> frozenset[str]:
        """Gradients in the images; those that add what a pool has left in them say so."""
        return frozenset({"image gradients"})

    @abc.abstractmethod
    def draw(self, context: Context, moment: Moment, label: int, peers: Peers) -> tuple[Draws, Tensor | None]:
        """Random numbers of one class at one moment: the augmentation's, and which decoded images take part."""

    def draws(
        self, context: Context, moment: Moment, labels: tuple[int, ...], peers: Peers
    ) -> list[tuple[Draws, Tensor | None]]:
        """`draw` for each class of a block."""
        return [self.draw(context, moment, label, peers) for label in labels]

    def fits(self, network: FunctionalNetwork) -> None:
        """Refuse networks that this objective can learn nothing from, with an `InputError`, before anything runs."""
        return None

    def shown(self, block: Block, peers: Peers) -> tuple[Tensor, Tensor]:
        """What the network will be shown of a block: images ``[N, C, H, W]`` in normalized space, targets ``[N]``."""
        images = []
        for stored, draws in zip(block.stored, block.draws, strict=True):
            decoded = peers.normalize(peers.parametrization.decode(stored), peers.parametrization.space)
            images.append(decoded if peers.augmentation is None else peers.augmentation.apply(decoded, draws))
        return torch.cat(images), block.targets.flatten()

    @abc.abstractmethod
    def loss(self, view: View, batch: ClassBatch, peers: Peers) -> Tensor:
        """The distance for one class, a scalar; differentiable in ``batch.stored``."""

    def room(self, decoded: int) -> int | None:
        """Finished images of a class that it shows at most beside ``decoded`` ones; None for any number.

        Asked of objectives that offer "unions of segments".
        """
        return None

    def joins_classes(self, network: FunctionalNetwork) -> bool:
        """Whether what is said of a class depends on the others, so that all must stand in one block.

        Args:
            network: what looks at them.
        """
        return False

    def advance(
        self, state: State, context: Context, moment: Moment, view: View, stored: Tensor, peers: Peers
    ) -> State:
        """What the objective remembers after an inner step.

        Args:
            state: what it remembered before; tensors may be changed in place.
            context: the run.
            moment: the inner step that has just been taken.
            view: the network of that step.
            stored: the stored images after the update, ``[K, n, C, H, W]``.
            peers: the parts that it works with.
        """
        return state

    def guards(self) -> Guard | None:
        """What is done about steps with a loss that is no number; None: the run ends."""
        return None

    def learnt(self, state: State) -> dict[str, Tensor]:
        """What it has learnt beside the images and what travels with them, by name: a student's step size."""
        return {}

    def learn(self, state: State, context: Context, moment: Moment, gradients: Mapping[str, Tensor]) -> State:
        """Its state after a step on what it learns beside the images; before `advance`.

        Args:
            state: the state before.
            context: the run.
            moment: the inner step.
            gradients: by name, as `pull` gave them.
        """
        return state

    def pull(self, view: View, block: Block, peers: Peers) -> Pull:
        """What it says of a block; `gradients`, unless it learns more than images."""
        return Pull(*self.gradients(view, block, peers))

    def gradients(self, view: View, block: Block, peers: Peers) -> tuple[Tensor, Tensor]:
        """Losses ``[K]`` and gradients ``[K, n, C, H, W]`` in the stored images, each class for itself.

        The default differentiates `loss` by autograd and holds the graph of one class at a time.
        """
        losses, gradients = [], []
        for position in range(len(block.counts)):
            batch = block.one(position)
            stored = batch.stored.detach().requires_grad_()
            value = self.loss(view, replace(batch, stored=stored), peers)
            gradients.append(torch.autograd.grad(value, stored)[0])
            losses.append(value.detach())
        return torch.stack(losses), torch.stack(gradients)


class Labeler(Part):
    """What target a decoded synthetic image carries."""

    slot = "labeler"

    @abc.abstractmethod
    def targets(self, label: int, decoded: int) -> Tensor:
        """Targets of the decoded images of one class, int64 ``[decoded]``."""

    def soft(self, views: Iterable[View], images: Tensor) -> Tensor | None:
        """Probabilities of the classes that the finished images carry, ``[N, classes]``; None: hard labels.

        Args:
            views: the labelling networks of the pool (`Pool.judges`).
            images: all decoded images in normalized space, ``[N, C, H, W]``.
        """
        return None

    def in_words(self) -> str:
        """What labels the set is meant to be used with, for its description."""
        return "hard: image [k, i] belongs to class k"


class ImageOptimizer(Part):
    """How stored pixels are updated.

    Classes may take turns within an inner step. The round is evaluated for all classes at once nevertheless: an
    optimizer says where each class stands at its turn, and what becomes of all of them after the round.
    """

    slot = "optimizer"

    @abc.abstractmethod
    def open_iteration(
        self, state: State, stored: Tensor, low: Tensor, high: Tensor, iteration: int
    ) -> tuple[State, Tensor]:
        """State and stored images at the start of an outer iteration, for example clamped to what real images can be.

        Args:
            state: the state before.
            stored: ``[K, n, C, H, W]``.
            low: black in the space of the stored images, ``[C, 1, 1]``.
            high: white in it, ``[C, 1, 1]``.
            iteration: which one, from 0.
        """

    @abc.abstractmethod
    def at_turn(self, state: State, stored: Tensor, context: Context) -> Tensor:
        """Stored images ``[K, n, C, H, W]`` with each class as it is when its turn comes."""

    def result(self, state: State, stored: Tensor) -> Tensor:
        """The images that a run returns; those that it has updated, unless it averages over time.

        Args:
            state: the state.
            stored: the stored images ``[K, n, C, H, W]``.
        """
        return stored

    def bounds(self) -> bool:
        """Whether stored images never end a run outside of what real images can be, black to white."""
        return False

    def clamps(self) -> bool:
        """Whether it must know what black and white are, which are no numbers in the space of whitened images."""
        return False

    @abc.abstractmethod
    def update(
        self, state: State, stored: Tensor, gradients: Tensor, context: Context, moment: Moment
    ) -> tuple[State, Tensor]:
        """State and stored images ``[K, n, C, H, W]`` after the round.

        Args:
            state: the state before the round.
            stored: the stored images before the round, not those of `at_turn`.
            gradients: the gradient of each class, taken at its turn, ``[K, n, C, H, W]``.
            context: the run.
            moment: where in the run the round was.
        """
