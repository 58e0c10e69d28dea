"""Gradient matching: both sides should pull the network the same way (DC, DSA, IDC)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from limbeck.core.batch import View
from limbeck.core.errors import InputError
from limbeck.core.network import Weights
from limbeck.objectives.siamese import Siamese
from limbeck.ops.gradient_distance import distance, selected

__all__ = ["GradientMatching"]


@dataclass(frozen=True, kw_only=True)
class GradientMatching(Siamese):
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

    def compare(self, view: View, real: tuple[Tensor, Tensor], synthetic: tuple[Tensor, Tensor]) -> Tensor:
        """The distance of the two gradients."""
        towards = self._gradient(view, *real, create_graph=False)
        return distance(towards, self._gradient(view, *synthetic, create_graph=True), self.metric)

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
