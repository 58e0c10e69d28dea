"""One contract per slot of a recipe.

A part is a frozen, keyword-only dataclass of plain fields: the object is its own configuration. What it remembers
during a run is a separate *state*, a tree of dicts, lists, tensors and numbers, made by `Part.init` and returned by
every call that changes it, so that the engine checkpoints all parts alike. Contracts are abstract, parts are final.
"""

from __future__ import annotations

import abc
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from limbeck.core.batch import Block, ClassBatch, Draws, Moment, View
from limbeck.core.context import Context, Group, Pieces
from limbeck.core.guard import Guard
from limbeck.core.network import FunctionalNetwork
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

State = dict[str, Any]
SyntheticImages = Callable[[], tuple[Tensor, Tensor]]
Space = Literal["unit", "normalized"]

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


@dataclass(frozen=True)
class Earlier:
    """What the segments before one have become, as a curriculum sees it before that one begins.

    Args:
        number: segments before.
        stored: their stored images ``[K, n, C, H, W]``, n = 0 before the first one.
        images: the same decoded, in normalized space ``[N, C, H, W]``.
        targets: of these, int64 ``[N]``.
        network: the architecture that looks at images in this run.
        lesson: what `Curriculum.remembered` kept of the lesson of the segment before; empty before the second one.
        decoded: decoded images of a class that the coming segment has.
        real: real images of a class in a step, at most.
        iteration: outer iterations of the segment that are done, where its lesson is made anew; what it has become by
            then stands behind the segments before it.
    """

    number: int
    stored: Tensor
    images: Tensor
    targets: Tensor
    network: FunctionalNetwork
    lesson: State
    decoded: int
    real: int
    iteration: int = 0


class Curriculum(Part):
    """Which synthetic rows are learnt on which real rows, and for how long."""

    slot = "curriculum"

    def groups(self, context: Context) -> tuple[Group, ...]:
        """Stored images that are learnt apart from all others, group by group; empty when they are learnt together."""
        return ()

    def segments(self, ipc: int) -> tuple[int, ...]:
        """Stored images of each segment, where images are learnt segment by segment; empty where they are not.

        A segment is a group of all classes that is learnt when those before it are finished, which do not change any
        more. To all other parts it is a run of its own with so many images per class.

        Args:
            ipc: stored images per class of the whole set.
        """
        return ()

    def of_segment(self, ipc: int, number: int) -> Curriculum:
        """The schedule of one segment: how it is learnt when it is looked at alone."""
        return self

    def pieces(self, ipc: int, number: int) -> Pieces | None:
        """Which pieces of trajectories a segment imitates, where the pool has experts; None for all of them.

        Args:
            ipc: stored images per class of the whole set.
            number: which segment, from 0.
        """
        return None

    def lesson(self, context: Context, earlier: Earlier) -> State:
        """What a segment makes of those before it, once, before it begins; kept until it is done.

        Args:
            context: the run, with all real images.
            earlier: what is finished.
        """
        return {}

    def renewed(self, number: int) -> int:
        """Outer iterations of a segment after which its lesson is made anew, again and again; 0 for never.

        Args:
            number: which segment, from 0.
        """
        return 0

    def copies(self, ipc: int) -> int:
        """Sets of weights that a lesson holds at most; for memory and disk.

        Args:
            ipc: stored images per class of the whole set.
        """
        return 0

    def focus(self, context: Context, lesson: State, earlier: Earlier) -> Context:
        """The surroundings of a segment as its lesson says: ``context.focus``, ``context.bank`` and what is beside.

        Args:
            context: those of the segment as a run of its own.
            lesson: the newest one.
            earlier: what is finished; nothing of the segment itself.
        """
        return context

    def remembered(self, lesson: State) -> State:
        """What of a lesson the next segment and the record of the run need; nothing large."""
        return {}

    def concluded(self, context: Context, earlier: Earlier, remembered: State) -> State:
        """What is remembered of a segment that is done.

        Args:
            context: the run, with all real images.
            earlier: what is finished, the segment itself last.
            remembered: what `remembered` keeps of its last lesson.
        """
        return remembered

    def record(self, remembered: Sequence[State]) -> dict[str, Any]:
        """What the record of a run tells of its segments, as plain data."""
        return {}

    @abc.abstractmethod
    def length(self) -> int:
        """Inner steps of the whole run, or of each group."""

    @abc.abstractmethod
    def moment(self, ordinal: int) -> Moment:
        """The position of inner step number ``ordinal``, from 0."""


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
