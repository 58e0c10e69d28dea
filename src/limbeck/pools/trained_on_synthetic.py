"""A new random network per outer iteration, trained on the synthetic images between matchings (DC, DSA)."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from limbeck.core.batch import Moment, View
from limbeck.core.context import Context
from limbeck.core.contracts import Pool, State, SyntheticImages, Workload
from limbeck.core.errors import InputError
from limbeck.core.network import FunctionalNetwork
from limbeck.training.supervised import Training, still, supervised_step

__all__ = ["TrainedOnSynthetic", "train_epoch"]


@dataclass(frozen=True, kw_only=True)
class TrainedOnSynthetic(Pool):
    """Each outer iteration starts a fresh network; after each inner step it is trained on the images learnt so far.

    Zhao, Mopuri and Bilen, "Dataset condensation with gradient matching", ICLR 2021, algorithm 1: matching follows the
    path of a network that learns from the synthetic set. A network with batch norm is matched in evaluation mode,
    with running statistics from real images (the authors' code).
    """

    references = ("zhao2021dc",)

    network: str = "convnet3"
    """Architecture, as `limbeck list networks` shows."""
    training: Training = field(default_factory=lambda: Training(momentum=0.0, weight_decay=0.0, batch_size=256))
    """How the network is trained; its batch size counts decoded synthetic images."""
    epochs: int = 50
    """Epochs over the synthetic set after each inner step but the last; inner_loop of the code."""
    statistics: int = 16
    """Real images of each class that set the running statistics of batch norm."""

    def check(self, context: Context) -> None:
        """The network exists and fits the images."""
        context.network(self.network)
        self.training.check("pool 'trained_on_synthetic'")
        if self.epochs < 0 or self.statistics < 1:
            raise InputError(
                "pool 'trained_on_synthetic' needs epochs >= 0 and statistics >= 1, not "
                f"{self.epochs} and {self.statistics}."
            )
        if self.training.augmentation is not None:
            self.training.augmentation.fits(context.spec)

    def init(self, context: Context) -> State:
        """No network yet."""
        return {"weights": {}, "velocity": {}}

    def copies(self) -> int:
        """One network, with what its optimizer remembers."""
        return self.training.copies

    def passes(self, context: Context, load: Workload) -> float:
        """Training between steps."""
        images = context.spec.classes * load.decoded * self.epochs
        return 3.0 * load.iterations * (load.steps - 1) * images

    def draw(self, state: State, context: Context, iteration: int) -> State:
        """A fresh network."""
        network = context.network(self.network)
        weights = context.initial(network, "network", iteration)
        fresh: State = {"weights": weights, "velocity": still(network, weights, self.training)}
        self._measure(fresh, context, iteration, 0)
        return fresh

    def view(self, state: State, context: Context) -> View:
        """The network as it is now."""
        return View(context.network(self.network), state["weights"], train=not _normalizes_batches(state))

    def architecture(self, context: Context) -> FunctionalNetwork:
        """What its networks look like."""
        return context.network(self.network)

    def advance(self, state: State, context: Context, moment: Moment, synthetic: SyntheticImages) -> State:
        """Train on all synthetic images; not after the last step, whose network nobody sees again."""
        if moment.last or self.epochs == 0:
            return state
        images, targets = synthetic()
        network = context.network(self.network)
        for epoch in range(self.epochs):
            train_epoch(state, context, network, self.training, images, targets, moment.ordinal, epoch)
        self._measure(state, context, moment.iteration, moment.step + 1)
        return state

    @torch.no_grad()
    def _measure(self, state: State, context: Context, iteration: int, step: int) -> None:
        """One forward pass of real images of all classes, by which batch norm records its statistics."""
        if not _normalizes_batches(state):
            return
        data, rows = context.data, []
        for label in range(context.spec.classes):
            members = data.class_rows(label)
            order = context.streams("batch norm", iteration, step, label).permutation(len(members))
            rows.append(members[order[: self.statistics]])
        images = context.spec.normalization.apply(data.images(torch.cat(rows)))
        context.network(self.network)(state["weights"], images, train=True)


def train_epoch(
    state: State,
    context: Context,
    network: FunctionalNetwork,
    training: Training,
    images: Tensor,
    targets: Tensor,
    *key: int,
) -> None:
    """One epoch over synthetic images; the weights and velocity of the state change in place.

    Args:
        state: with ``weights`` and ``velocity``.
        context: the run.
        network: the architecture.
        training: how to train.
        images: all decoded images in normalized space, ``[N, C, H, W]``.
        targets: int64 ``[N]``.
        *key: where in the run this epoch is.
    """
    training = training.bound(context.spec)
    order = context.streams("network training", *key).permutation(len(images))
    for batch, rows in enumerate(order.split(training.batch_size)):
        draws = training.draw(context.streams, context.spec.shape, len(rows), *key, batch)
        rows = rows.to(images.device)
        supervised_step(
            network,
            state["weights"],
            state["velocity"],
            images[rows],
            targets[rows],
            training,
            draws,
            training.lr,
        )


def _normalizes_batches(state: State) -> bool:
    return any(name.endswith("running_mean") for name in state["weights"])
