"""Mean embeddings, and images that a semi-trained network recognizes (IDM)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from limbeck.core.batch import View
from limbeck.core.context import Context
from limbeck.core.errors import InputError
from limbeck.objectives.embedding import EmbeddingDistance
from limbeck.objectives.siamese import Pair

__all__ = ["ClassAwareMean"]


@dataclass(frozen=True, kw_only=True)
class ClassAwareMean(EmbeddingDistance):
    """``|| mean real - mean synthetic ||^2 + weight * a * CE(decoded images)``, with a the network's accuracy.

    Zhao et al., "Improved distribution matching for dataset condensation", CVPR 2023, section 3.3; as in the authors'
    code a is the running training accuracy in percent (0 to 100), and the cross-entropy a mean over images.
    """

    references = ("zhao2023idm",)
    reads_logits: ClassVar[bool] = True

    weight: float = 0.5
    """Weight of the cross-entropy, before it is multiplied by the accuracy in percent; lambda."""
    by_accuracy: bool = True
    """Whether the weight is multiplied by the network's running training accuracy, or is constant."""

    def check(self, context: Context) -> None:
        """The weight is usable."""
        super().check(context)
        if not self.weight >= 0:
            raise InputError(f"objective 'class_aware_mean' needs a weight of 0 or more, not {self.weight}.")

    def needs(self) -> frozenset[str]:
        """The accuracy of the network, if it weights the cross-entropy."""
        return super().needs() | ({"training accuracy"} if self.by_accuracy and self.weight else frozenset())

    def beside(self, view: View, pair: Pair) -> dict[str, Tensor]:
        """The weight of the cross-entropy as it is now."""
        share = (view.accuracy or 0.0) if self.by_accuracy else 1.0
        return {"weight": torch.tensor(self.weight * share, dtype=pair.real.dtype, device=pair.real.device)}

    def distance(self, real: Tensor, share: Tensor, synthetic: Tensor, beside: dict[str, Tensor]) -> Tensor:
        """The two terms."""
        apart = (share @ real - synthetic.mean(dim=0)).square().sum()
        return apart + beside["weight"] * F.cross_entropy(beside["logits"], beside["targets"])
