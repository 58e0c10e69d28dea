"""Feature matching as an option of IDC: both sides should look alike on average inside the network."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from limbeck.core.batch import View
from limbeck.core.context import Context
from limbeck.core.contracts import Workload
from limbeck.core.errors import InputError
from limbeck.objectives.siamese import Siamese
from limbeck.ops.gradient_distance import feature_mean_distance

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

    def compare(self, view: View, real: tuple[Tensor, Tensor], synthetic: tuple[Tensor, Tensor]) -> Tensor:
        """The distance of the two means."""
        with torch.no_grad():
            towards = self._features(view, real[0])
        return feature_mean_distance(towards, self._features(view, synthetic[0]))

    def _features(self, view: View, images: Tensor) -> Tensor:
        blocks = view.network(view.weights, images, output="blocks", train=view.train)
        if not -len(blocks) <= self.block < len(blocks):
            raise InputError(
                f"objective 'feature_means' finds no block {self.block} in {view.network.name}, which has "
                f"{len(blocks)}; choose one from {-len(blocks)} to {len(blocks) - 1}."
            )
        return blocks[self.block]
