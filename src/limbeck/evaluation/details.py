"""What one look at the test images says of a network beside its accuracy: class by class, and how sure it is."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from limbeck.core.network import FunctionalNetwork, Weights
from limbeck.ops import classification
from limbeck.training.passes import forward

__all__ = ["Details", "look"]


@dataclass(frozen=True)
class Details:
    """One look at images with one network.

    Args:
        confusion: how many images of each class (row) are taken for which (column), ``[K][K]``.
        calibration_error: expected calibration error with 15 bins, in [0, 1].
        likelihood: mean negative log-likelihood of the true class, at least 0.
        brier: mean Brier score, in [0, 2].
    """

    confusion: tuple[tuple[int, ...], ...]
    calibration_error: float
    likelihood: float
    brier: float

    @property
    def accuracy(self) -> float:
        """Fraction of images whose largest logit is their label's."""
        right = sum(row[label] for label, row in enumerate(self.confusion))
        return right / sum(map(sum, self.confusion))

    @property
    def class_accuracies(self) -> tuple[float | None, ...]:
        """The same of each class; None for a class without images."""
        found = classification.class_accuracies(torch.tensor(self.confusion)).tolist()
        return tuple(None if math.isnan(value) else value for value in found)

    def as_plain(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "confusion": [list(row) for row in self.confusion],
            "class_accuracies": list(self.class_accuracies),
            "expected_calibration_error": self.calibration_error,
            "negative_log_likelihood": self.likelihood,
            "brier_score": self.brier,
        }


@torch.no_grad()
def look(
    network: FunctionalNetwork,
    weights: Weights,
    images: Callable[[Tensor], Tensor],
    labels: Tensor,
    chunk: int = 512,
) -> Details:
    """Look at each image once.

    Args:
        network: the architecture.
        weights: its weights.
        images: images in normalized space ``[B, C, H, W]`` for rows ``[B]``.
        labels: int64 ``[N]``, N at least 1.
        chunk: images per forward pass.
    """
    counts, bins = torch.zeros((), dtype=torch.int64), torch.zeros((), dtype=torch.float64)
    sums = torch.zeros(2, dtype=torch.float64)
    for rows in torch.arange(labels.numel()).split(chunk):
        logits, true = forward(network, weights, images(rows)).cpu(), labels[rows.to(labels.device)].cpu()
        counts = counts + classification.confusion(logits, true)
        bins = bins + classification.confidence_bins(logits, true)
        likelihoods = classification.negative_log_likelihoods(logits, true)
        sums += torch.stack([likelihoods.sum(), classification.brier_scores(logits, true).sum()])
    likelihood, brier = (sums / labels.numel()).tolist()
    error = float(classification.expected_calibration_error(bins))
    return Details(tuple(map(tuple, counts.tolist())), error, likelihood, brier)
