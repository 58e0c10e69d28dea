"""Feature matching as an option of IDC: both sides should look alike on average inside the network."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from limbeck.core.batch import View
from limbeck.core.context import Context
from limbeck.core.contracts import Workload
from limbeck.core.errors import InputError
from limbeck.core.network import FunctionalNetwork, Weights, gradient_and_value
from limbeck.objectives.siamese import Pair, Siamese, keep_buffers
from limbeck.ops.gradient_distance import feature_mean_distance
from limbeck.training.passes import as_convolved

__all__ = ["FeatureMeans"]


@dataclass(frozen=True, kw_only=True)
class FeatureMeans(Siamese):
    """Squared distance between the batch means of a block's feature maps; ``feat`` of IDC's code."""

    references = ("kim2022idc",)

    block: int = -1
    """Which block's output, from 0, or from the end when negative."""

    def passes(self, context: Context, load: Workload) -> float:
        """A forward pass of the real images, a gradient of the synthetic ones."""
        synthetic = min(load.decoded, self.synthetic_batch or load.decoded)
        return context.spec.classes * load.iterations * load.steps * (load.real + 3.0 * synthetic)

    def compare(self, view: View, pair: Pair) -> Tensor:
        """The distance of the two means."""
        self._require_block(view, pair.real)
        fixed = {name: tensor.detach() for name, tensor in view.weights.items()}
        with torch.no_grad():
            towards, fixed = _mean(view.network, fixed, pair.real, train=view.train, block=self.block)
        found, fixed = _mean(view.network, fixed, pair.synthetic, train=view.train, block=self.block)
        keep_buffers(view, fixed)
        return feature_mean_distance(towards, found)

    def pulls(self, view: View, pairs: list[Pair]) -> tuple[Tensor, list[Tensor]]:
        """Losses ``[K]`` and gradients in the synthetic images, class by class."""
        self._require_block(view, pairs[0].real)
        fixed = {name: as_convolved(tensor.detach()) for name, tensor in view.weights.items()}
        match = view.network.program(_match, train=view.train, block=self.block)
        losses, pulls = [], []
        for pair in pairs:
            loss, pull, fixed = match(fixed, as_convolved(pair.real), as_convolved(pair.synthetic))
            keep_buffers(view, fixed)
            losses.append(loss)
            pulls.append(pull)
        return torch.stack(losses), pulls

    def _require_block(self, view: View, images: Tensor) -> None:
        channels, height, width = images.shape[1:]
        blocks = view.network.blocks((channels, height, width))
        if not -blocks <= self.block < blocks:
            raise InputError(
                f"objective 'feature_means' finds no block {self.block} in {view.network.name}, which has "
                f"{blocks}; choose one from {-blocks} to {blocks - 1}."
            )


def _mean(
    network: FunctionalNetwork, fixed: Weights, images: Tensor, *, train: bool, block: int
) -> tuple[Tensor, Weights]:
    """A block's features ``[1, ...]``, averaged over the batch, and the weights with newer buffers."""
    after = network.fresh_buffers(fixed) if train else fixed
    return network(after, images, output="blocks", train=train)[block].mean(dim=0, keepdim=True), after


def _match(
    network: FunctionalNetwork, fixed: Weights, real: Tensor, images: Tensor, *, train: bool, block: int
) -> tuple[Tensor, Tensor, Weights]:
    """The distance, its gradient in the synthetic images, and the buffers."""
    with torch.no_grad():
        towards, between = _mean(network, fixed, real, train=train, block=block)

    def apart(shown: Tensor) -> tuple[Tensor, Weights]:
        found, after = _mean(network, between, shown, train=train, block=block)
        return feature_mean_distance(towards, found), after

    pull, value, after = gradient_and_value(apart, images, functional=network.execution.functional)
    return value, pull, after
