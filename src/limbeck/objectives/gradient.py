"""Gradient matching: both sides should pull the network the same way (DC, DSA, IDC)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from limbeck.core.batch import ClassBatch, Draws, Moment, View
from limbeck.core.context import Context
from limbeck.core.contracts import Objective, Peers
from limbeck.core.errors import InputError
from limbeck.core.network import Weights
from limbeck.ops.gradient_distance import distance, selected

__all__ = ["GradientMatching"]


@dataclass(frozen=True, kw_only=True)
class GradientMatching(Objective):
    """Distance between the network's gradients on real and on synthetic images of one class.

    ``D(grad CE(real batch), grad CE(decoded synthetic images))`` over the selected weight tensors; the real side is
    a constant. IDC, equation 6 and its code: by default only convolution kernels take part.
    """

    references = ("zhao2021dc", "kim2022idc")

    metric: Literal["mse", "l1", "l1_mean", "cosine", "full_cosine"] = "mse"
    """Distance, summed over tensors: squared differences, absolute differences, row means of these, or 1 - cosine of
    each row (DC); ``full_cosine`` takes all tensors as one vector."""
    bias: bool = False
    """Whether one-dimensional tensors (biases, norm scales and shifts) take part."""
    classifier: bool = False
    """Whether two-dimensional tensors (the classifier's weight) take part."""
    synthetic_batch: int = 128
    """Most decoded images of a class compared at once; a fresh random subset when there are more. 0: always all."""

    def check(self, context: Context) -> None:
        """Some decoded images take part."""
        if self.synthetic_batch < 0:
            raise InputError(
                f"objective 'gradient_matching' needs synthetic_batch of 0 (all) or more, not {self.synthetic_batch}."
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
        decoded = peers.parametrization.decode(batch.stored)
        targets = batch.targets
        if batch.chosen is not None:
            decoded, targets = decoded[batch.chosen], targets[batch.chosen]
        real = peers.normalize(batch.real)
        synthetic = peers.normalize(decoded, peers.parametrization.space)
        if peers.augmentation is not None:
            both = peers.augmentation.apply(torch.cat([real, synthetic]), batch.draws)
            real, synthetic = both[: len(real)], both[len(real) :]
        real_labels = torch.full((len(real),), batch.label, device=real.device)
        towards = self._gradient(view, real.detach(), real_labels, create_graph=False)
        return distance(towards, self._gradient(view, synthetic, targets, create_graph=True), self.metric)

    def _gradient(self, view: View, images: Tensor, labels: Tensor, create_graph: bool) -> list[Tensor]:
        """Gradients of the mean cross-entropy in the selected weights."""
        names = [
            name
            for name in view.network.parameter_names()
            if selected(view.weights[name].ndim, bias=self.bias, classifier=self.classifier)
        ]
        if not names:
            raise InputError(
                f"objective 'gradient_matching' finds no convolution in {view.network.name}; match its other weights "
                "with --objective.classifier, or choose another network."
            )
        weights: Weights = dict(view.weights)
        leaves = [weights[name].detach().requires_grad_() for name in names]
        weights.update(zip(names, leaves, strict=True))
        loss = F.cross_entropy(view.network(weights, images, train=view.train), labels)
        return list(torch.autograd.grad(loss, leaves, create_graph=create_graph))
