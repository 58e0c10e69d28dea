"""What objectives share that look at real and decoded images of one class under one augmentation."""

from __future__ import annotations

import abc
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from limbeck.core.batch import Block, ClassBatch, Draws, Moment, View
from limbeck.core.context import Context
from limbeck.core.contracts import Objective, Peers
from limbeck.core.errors import InputError
from limbeck.core.network import Weights
from limbeck.core.recipe import part_name

__all__ = ["Siamese", "keep_buffers"]


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

    def draw(self, context: Context, moment: Moment, label: int, peers: Peers) -> tuple[Draws, Tensor | None]:
        """One set of augmentation numbers for both sides, and the subset of decoded images if they are too many."""
        where = (moment.iteration, moment.step, label)
        draws: Draws = {}
        if peers.augmentation is not None:
            draws = peers.augmentation.draw(context.streams("augmentation", *where), context.spec.shape, None)
        decoded = peers.parametrization.parts(context.ipc)
        if not self.synthetic_batch or decoded <= self.synthetic_batch:
            return draws, None
        order = context.streams("synthetic subset", *where).permutation(decoded)
        return draws, order[: self.synthetic_batch]

    def loss(self, view: View, batch: ClassBatch, peers: Peers) -> Tensor:
        """The distance for one class."""
        real, synthetic, targets = self._shown(batch, peers)
        labels = torch.full((len(real),), batch.label, device=real.device)
        return self.compare(view, (real, labels), (synthetic, targets))

    def gradients(self, view: View, block: Block, peers: Peers) -> tuple[Tensor, Tensor]:
        """Losses ``[K]`` and gradients ``[K, n, C, H, W]``: through the network, then back through the augmentation."""
        positions = range(len(block.counts))
        # One by one, only one class has its images as the network sees them in memory.
        together = [[each] for each in positions] if view.network.execution.blocks == "loop" else [list(positions)]
        found = [self._gradients(view, [block.one(each) for each in some], peers) for some in together]
        return torch.cat([losses for losses, _ in found]), torch.cat([gradients for _, gradients in found])

    def _gradients(self, view: View, batches: list[ClassBatch], peers: Peers) -> tuple[Tensor, Tensor]:
        """The same for classes that are compared together."""
        leaves, real, shown, targets = [], [], [], []
        for batch in batches:
            leaves.append(batch.stored.detach().requires_grad_())
            images, synthetic, taught = self._shown(replace(batch, stored=leaves[-1]), peers)
            real.append((images, torch.full((len(images),), batch.label, device=images.device)))
            shown.append(synthetic)
            targets.append(taught)
        pairs = [(images.detach(), taught) for images, taught in zip(shown, targets, strict=True)]
        losses, pulls = self.pulls(view, real, pairs)
        return losses, torch.stack(torch.autograd.grad(shown, leaves, list(pulls)))

    def pulls(
        self, view: View, real: list[tuple[Tensor, Tensor]], synthetic: list[tuple[Tensor, Tensor]]
    ) -> tuple[Tensor, list[Tensor]]:
        """Losses ``[K]`` and their gradients in the synthetic images as the network sees them, class by class.

        The default differentiates `compare`, one class after the other.
        """
        losses, gradients = [], []
        for one, (images, targets) in zip(real, synthetic, strict=True):
            leaf = images.requires_grad_()
            value = self.compare(view, one, (leaf, targets))
            gradients.append(torch.autograd.grad(value, leaf)[0])
            losses.append(value.detach())
        return torch.stack(losses), gradients

    def _shown(self, batch: ClassBatch, peers: Peers) -> tuple[Tensor, Tensor, Tensor]:
        """Real images, a constant, and decoded ones, both as the network sees them; the targets of the latter."""
        decoded = peers.parametrization.decode(batch.stored)
        targets = batch.targets
        if batch.chosen is not None:
            decoded, targets = decoded[batch.chosen], targets[batch.chosen]
        real = peers.normalize(batch.real)
        synthetic = peers.normalize(decoded, peers.parametrization.space)
        if peers.augmentation is not None:
            # All images share one set of numbers, so that the sides need not stand in one tensor.
            real = peers.augmentation.apply(real, batch.draws)
            synthetic = peers.augmentation.apply(synthetic, batch.draws)
        return real.detach(), synthetic, targets

    @abc.abstractmethod
    def compare(self, view: View, real: tuple[Tensor, Tensor], synthetic: tuple[Tensor, Tensor]) -> Tensor:
        """The distance, a scalar; differentiable in the synthetic images.

        Args:
            view: the network of this step.
            real: images as the network sees them ``[B, C, H, W]``, and their labels ``[B]``; constants.
            synthetic: the same of the decoded images, ``[m, C, H, W]`` and ``[m]``.
        """


def keep_buffers(view: View, after: Weights) -> None:
    """Batch norm's statistics, which every pass in training moves on, go back to the network they belong to."""
    if view.train and view.network.mixes_images:
        with torch.no_grad():
            for name in view.network.buffer_names():
                view.weights[name].copy_(after[name])
