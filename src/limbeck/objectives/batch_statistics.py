"""Images that a trained network takes for their classes, and for a batch of its training data (SRe2L, DWA)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from limbeck.core.batch import Block, ClassBatch, Draws, Moment, View
from limbeck.core.context import Context
from limbeck.core.contracts import Objective, Peers, Workload
from limbeck.core.errors import InputError
from limbeck.core.network import FunctionalNetwork, Weights, gradient_and_value
from limbeck.networks import require_batch_norm
from limbeck.ops import batch_statistics
from limbeck.training.passes import as_convolved

__all__ = ["BatchStatistics"]


@dataclass(frozen=True, kw_only=True)
class BatchStatistics(Objective):
    """Mean cross-entropy, and the distance of batch norm's inputs from its running statistics (SRe2L, Eq. 6; DWA, 3).

    The network is in evaluation mode. All classes of a block stand in one batch, whose statistics they share; one
    transformation is drawn for the whole batch.
    """

    references = ("yin2023sre2l", "du2024dwa")

    mean: float = 0.01
    """Weight of the distances of means."""
    variance: float = 0.01
    """Weight of the distances of variances; DWA's decoupled lambda_var."""
    first: float = 10.0
    """What both distances of the first layer of batch norm are multiplied by (the authors' code)."""
    squared: bool = False
    """Whether distances are squared (DWA's appendix A.1; code and Eq. 3 do not)."""
    statistics: Literal["adjusted", "teacher"] = "adjusted"
    """Whose weights the images pass for these distances: those that the pool has moved for these images, in the one
    pass that gives the cross-entropy as well (DWA's code), or the teacher's own, in a second pass (DWA, Eq. 15)."""
    total_variation: float = 0.0
    """Weight of the total variation of the shown images; 0 in all published runs."""
    l2: float = 0.0
    """Weight of the Euclidean norm of the shown images; 0 in all published runs."""

    def reads(self) -> frozenset[str]:
        """A transformation, when there is one."""
        return frozenset({"shared augmentation"})

    def offers(self) -> frozenset[str]:
        """It also adds the gradients that a pool has left."""
        return frozenset({"image gradients", "gradients left over"})

    def check(self, context: Context) -> None:
        """No weight is negative."""
        if min(self.mean, self.variance, self.first, self.total_variation, self.l2) < 0:
            raise InputError(
                "objective 'batch_statistics' needs weights of 0 or more, not mean "
                f"{self.mean}, variance {self.variance}, first {self.first}, total_variation {self.total_variation} "
                f"and l2 {self.l2}."
            )

    def fits(self, network: FunctionalNetwork) -> None:
        """The network has batch norm."""
        require_batch_norm(network, "objective 'batch_statistics'")

    def passes(self, context: Context, load: Workload) -> float:
        """A gradient in the images of a group at every step; two with the teacher's own weights."""
        groups = 2.0 if self.statistics == "teacher" else 1.0
        return 3.0 * groups * context.spec.classes * load.iterations * load.steps * load.decoded

    def joins_classes(self, network: FunctionalNetwork) -> bool:
        """Always: they share the statistics of their batch."""
        return True

    def draw(self, context: Context, moment: Moment, label: int, peers: Peers) -> tuple[Draws, Tensor | None]:
        """One transformation for all classes."""
        if peers.augmentation is None:
            return {}, None
        stream = context.streams("augmentation", moment.iteration, moment.step)
        return peers.augmentation.draw(stream, context.spec.shape, None), None

    def draws(
        self, context: Context, moment: Moment, labels: tuple[int, ...], peers: Peers
    ) -> list[tuple[Draws, Tensor | None]]:
        """The same for each."""
        return [self.draw(context, moment, labels[0], peers)] * len(labels)

    def shown(self, block: Block, peers: Peers) -> tuple[Tensor, Tensor]:
        """The decoded images of all classes, transformed alike in one go."""
        parametrization, (draws, *_) = peers.parametrization, block.draws
        images = torch.cat([parametrization.decode(stored) for stored in block.stored])
        images = peers.normalize(images, parametrization.space)
        if peers.augmentation is not None:
            images = peers.augmentation.apply(images, draws)
        return images, block.targets.flatten()

    def loss(self, view: View, batch: ClassBatch, peers: Peers) -> Tensor:
        """The loss of a batch that holds one class alone."""
        block = Block(
            labels=(batch.label,),
            stored=batch.stored.unsqueeze(0),
            targets=batch.targets.unsqueeze(0),
            real=batch.real.unsqueeze(0),
            counts=(len(batch.real),),
            draws=(batch.draws,),
        )
        images, targets = self.shown(block, peers)
        fixed, original = _fixed(view, self)
        return _loss(view.network, fixed, original, images, targets, self)[0]

    def gradients(self, view: View, block: Block, peers: Peers) -> tuple[Tensor, Tensor]:
        """Shares of the loss ``[K]``, which sum up to it, and gradients ``[K, n, C, H, W]``."""
        leaf = block.stored.detach().requires_grad_()
        with torch.enable_grad():
            images, targets = self.shown(replace(block, stored=leaf), peers)
        fixed, original = _fixed(view, self)
        shown = as_convolved(images.detach())
        if view.collect is None:
            pull, shares = view.network.program(_pull, objective=self)(fixed, original, shown, targets)
        else:
            pull, shares, weights = _pull_of_both(view.network, fixed, original, shown, targets, self)
            view.collect(weights)
        if view.left is not None:
            pull = pull + view.left
        losses = shares.view(len(block.labels), -1).sum(dim=1)
        return losses, torch.autograd.grad(images, leaf, pull)[0]


def _fixed(view: View, objective: BatchStatistics) -> tuple[Weights, Weights]:
    """Weights of the cross-entropy, and those of the statistics where they are others."""
    fixed = {name: as_convolved(tensor.detach()) for name, tensor in view.weights.items()}
    if objective.statistics == "adjusted" or view.original is None:
        return fixed, {}
    return fixed, {name: as_convolved(tensor.detach()) for name, tensor in view.original.items()}


def _loss(
    network: FunctionalNetwork,
    weights: Weights,
    original: Weights,
    images: Tensor,
    targets: Tensor,
    objective: BatchStatistics,
) -> tuple[Tensor, Tensor]:
    """The loss of a batch, and the share of each image in it ``[N]``."""
    logits, seen = network.observe(weights, images)
    if original:
        _, seen = network.observe(original, images)
    recorded = [(weights[mean], weights[variance]) for mean, variance in network.running_statistics()]
    entropies = F.cross_entropy(logits, targets, reduction="none") / len(images)
    means, variances = batch_statistics.distances(seen, recorded, objective.squared)
    rest = batch_statistics.weighted(means, variances, objective.mean, objective.variance, objective.first)
    if objective.total_variation:
        rest = rest + objective.total_variation * batch_statistics.total_variation(images)[0]
    if objective.l2:
        rest = rest + objective.l2 * torch.linalg.vector_norm(images)
    return entropies.sum() + rest, entropies + rest / len(images)


def _pull(
    network: FunctionalNetwork,
    weights: Weights,
    original: Weights,
    images: Tensor,
    targets: Tensor,
    *,
    objective: BatchStatistics,
) -> tuple[Tensor, Tensor]:
    """Gradient of the loss in the images, and the images' shares of it."""

    def value(shown: Tensor) -> tuple[Tensor, Tensor]:
        return _loss(network, weights, original, shown, targets, objective)

    pull, _, shares = gradient_and_value(value, images, functional=network.execution.functional)
    return pull, shares.detach()


def _pull_of_both(
    network: FunctionalNetwork,
    weights: Weights,
    original: Weights,
    images: Tensor,
    targets: Tensor,
    objective: BatchStatistics,
) -> tuple[Tensor, Tensor, Weights]:
    """The same, and the gradient in the weights."""
    names = network.parameter_names()

    def value(leaves: Weights) -> tuple[Tensor, Tensor]:
        moved = {**weights, **{name: leaves[name] for name in names}}
        return _loss(network, moved, original, leaves["shown images"], targets, objective)

    leaves = {**{name: weights[name] for name in names}, "shown images": images}
    found, _, shares = gradient_and_value(value, leaves, functional=False)
    return found.pop("shown images"), shares.detach(), found
