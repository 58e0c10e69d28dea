"""What objectives share that look at real and decoded images of one class under one augmentation."""

from __future__ import annotations

import abc
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from limbeck.core.batch import Block, ClassBatch, Draws, Moment, View
from limbeck.core.context import Context
from limbeck.core.contracts import Objective, Peers, State
from limbeck.core.errors import InputError
from limbeck.core.network import Weights
from limbeck.core.recipe import part_name

__all__ = ["Pair", "Siamese", "keep_buffers"]


@dataclass(frozen=True)
class Pair:
    """Both sides of a class as the network sees them: normalized and augmented.

    Args:
        label: the class.
        real: ``[B, C, H, W]``; constants.
        synthetic: decoded images ``[m, C, H, W]``; finished ones that stand beside them come last, as constants.
        targets: what they are taught as, int64 ``[m]``.
        memory: the objective's state.
    """

    label: int
    real: Tensor
    synthetic: Tensor
    targets: Tensor
    memory: State = field(default_factory=dict)

    @property
    def labels(self) -> Tensor:
        """The class of every real image, int64 ``[B]``."""
        return torch.full((len(self.real),), self.label, device=self.real.device)


@dataclass(frozen=True, kw_only=True)
class Siamese(Objective):
    """Both sides decoded, normalized and augmented alike (Zhao and Bilen, ICML 2021), then compared."""

    synthetic_batch: int = 128
    """Most decoded images of a class compared at once; a fresh random subset when there are more. 0: always all."""

    def check(self, context: Context) -> None:
        """The number of decoded images is one."""
        if self.synthetic_batch < 0:
            raise InputError(
                f"objective '{part_name(self)}' needs synthetic_batch of 0 (all) or more, not {self.synthetic_batch}."
            )

    def needs(self) -> frozenset[str]:
        """Real batches, beside what every objective needs."""
        return super().needs() | {"real batches"}

    def reads(self) -> frozenset[str]:
        """An augmentation shared by both sides, when there is one."""
        return frozenset({"shared augmentation"})

    def offers(self) -> frozenset[str]:
        """Gradients, also where finished images stand beside those that are learnt."""
        return super().offers() | {"unions of segments"}

    def room(self, decoded: int) -> int | None:
        """What is left of ``synthetic_batch``."""
        return max(0, self.synthetic_batch - decoded) if self.synthetic_batch else None

    def draw(self, context: Context, moment: Moment, label: int, peers: Peers) -> tuple[Draws, Tensor | None]:
        """One set of augmentation numbers for both sides, and the subset of decoded images if they are too many."""
        where = (moment.iteration, moment.step, label)
        draws: Draws = {}
        if peers.augmentation is not None:
            draws = peers.augmentation.draw(context.streams("augmentation", *where), context.spec.shape, None)
        decoded = peers.parametrization.parts(len(context.positions))
        if not self.synthetic_batch or decoded <= self.synthetic_batch:
            return draws, None
        order = context.streams("synthetic subset", *where).permutation(decoded)
        return draws, order[: self.synthetic_batch]

    def loss(self, view: View, batch: ClassBatch, peers: Peers) -> Tensor:
        """The distance for one class."""
        return self.compare(view, self._shown(batch, peers))

    def gradients(self, view: View, block: Block, peers: Peers) -> tuple[Tensor, Tensor]:
        """Losses ``[K]`` and gradients ``[K, n, C, H, W]``: through the network, then back through the augmentation."""
        positions = range(len(block.counts))
        # One by one, only one class has its images as the network sees them in memory.
        apart = view.network.execution.blocks == "loop" and not self.joins_classes(view.network)
        together = [[each] for each in positions] if apart else [list(positions)]
        found = [self._gradients(view, [block.one(each) for each in some], peers) for some in together]
        return torch.cat([losses for losses, _ in found]), torch.cat([gradients for _, gradients in found])

    def _gradients(self, view: View, batches: list[ClassBatch], peers: Peers) -> tuple[Tensor, Tensor]:
        """The same for classes that are compared together."""
        leaves = [batch.stored.detach().requires_grad_() for batch in batches]
        pairs = [self._shown(replace(batch, stored=leaf), peers) for batch, leaf in zip(batches, leaves, strict=True)]
        losses, pulls = self.pulls(view, [replace(pair, synthetic=pair.synthetic.detach()) for pair in pairs])
        return losses, torch.stack(torch.autograd.grad([pair.synthetic for pair in pairs], leaves, list(pulls)))

    def pulls(self, view: View, pairs: list[Pair]) -> tuple[Tensor, list[Tensor]]:
        """Losses ``[K]`` and their gradients in the synthetic images as the network sees them, class by class.

        The default differentiates `compare`, one class after the other.
        """
        losses, gradients = [], []
        for pair in pairs:
            leaf = pair.synthetic.detach().requires_grad_()
            value = self.compare(view, replace(pair, synthetic=leaf))
            gradients.append(torch.autograd.grad(value, leaf)[0])
            losses.append(value.detach())
        return torch.stack(losses), gradients

    def _shown(self, batch: ClassBatch, peers: Peers) -> Pair:
        """Real images, a constant, and decoded ones, both as the network sees them."""
        decoded = peers.parametrization.decode(batch.stored)
        targets = batch.targets
        if batch.chosen is not None:
            decoded, targets = decoded[batch.chosen], targets[batch.chosen]
        real = peers.normalize(batch.real)
        synthetic = peers.normalize(decoded, peers.parametrization.space)
        if batch.beside is not None:
            synthetic = torch.cat([synthetic, batch.beside])
        if peers.augmentation is not None:
            # All images share one set of numbers, so that the sides need not stand in one tensor.
            real = peers.augmentation.apply(real, batch.draws)
            synthetic = peers.augmentation.apply(synthetic, batch.draws)
        return Pair(batch.label, real.detach(), synthetic, targets, batch.memory)

    @abc.abstractmethod
    def compare(self, view: View, pair: Pair) -> Tensor:
        """The distance for one class, a scalar; differentiable in the synthetic images.

        Args:
            view: the network of this step.
            pair: both sides of the class.
        """


def keep_buffers(view: View, after: Weights) -> None:
    """Batch norm's statistics, which every pass in training moves on, go back to the network they belong to."""
    if view.train and view.network.mixes_images:
        with torch.no_grad():
            for name in view.network.buffer_names():
                view.weights[name].copy_(after[name])
