"""Confusion of classes and calibration of a classifier, from its logits of labelled images.

Each function gives sums over a batch, which add up over the batches of a test set, or reduces such sums to a figure.
References: Guo, Pleiss, Sun and Weinberger, "On calibration of modern neural networks", ICML 2017 (expected calibration
error, 15 bins); Brier, "Verification of forecasts expressed in terms of probability", 1950 (his sum over all classes).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = [
    "BINS",
    "brier_scores",
    "class_accuracies",
    "confidence_bins",
    "confusion",
    "expected_calibration_error",
    "negative_log_likelihoods",
]

BINS = 15
"""Bins of confidence, of equal width."""


def confusion(logits: Tensor, labels: Tensor) -> Tensor:
    """How many images of each class are taken for which.

    Args:
        logits: ``[B, K]``; of equal ones the first counts.
        labels: int64 ``[B]``.

    Returns:
        int64 ``[K, K]``: row true class, column predicted class.
    """
    classes = logits.shape[1]
    pairs = labels * classes + logits.argmax(dim=1)
    return torch.bincount(pairs, minlength=classes**2).view(classes, classes)


def class_accuracies(counts: Tensor) -> Tensor:
    """Share of each class that is predicted right; not a number for a class without images.

    Args:
        counts: from `confusion`, ``[K, K]``.

    Returns:
        float64 ``[K]``.
    """
    return counts.diagonal().double() / counts.sum(dim=1)


def negative_log_likelihoods(logits: Tensor, labels: Tensor) -> Tensor:
    """``-log p`` of each image's own class, float64 ``[B]``.

    Args:
        logits: ``[B, K]``.
        labels: int64 ``[B]``.
    """
    return F.cross_entropy(logits.double(), labels, reduction="none")


def brier_scores(logits: Tensor, labels: Tensor) -> Tensor:
    """Squared distance of the probabilities to the true class, ``sum_k (p_k - [k = y])^2``, between 0 and 2.

    Args:
        logits: ``[B, K]``.
        labels: int64 ``[B]``.

    Returns:
        float64 ``[B]``.
    """
    chances = logits.double().softmax(dim=1)
    own = chances.gather(1, labels.unsqueeze(1)).squeeze(1)
    return chances.square().sum(dim=1) - own.square() + (1 - own).square()


def confidence_bins(logits: Tensor, labels: Tensor, bins: int = BINS) -> Tensor:
    """Images by how sure the classifier is of its prediction.

    Bin b holds probabilities of the predicted class in ``(b / bins, (b + 1) / bins]``.

    Args:
        logits: ``[B, K]``.
        labels: int64 ``[B]``.
        bins: how many.

    Returns:
        float64 ``[bins, 3]``: images, the sum of their confidences, and how many are predicted right.
    """
    confidence, guessed = logits.double().softmax(dim=1).max(dim=1)
    which = ((confidence * bins).ceil().long() - 1).clamp(0, bins - 1)
    found = torch.stack([torch.ones_like(confidence), confidence, (guessed == labels).double()], dim=1)
    return found.new_zeros(bins, 3).index_add(0, which, found)


def expected_calibration_error(bins: Tensor) -> Tensor:
    """Distance of confidence and accuracy, ``sum_b n_b / N |accuracy_b - confidence_b|``, a scalar in [0, 1].

    Args:
        bins: from `confidence_bins`, ``[bins, 3]``, at least one image in all.
    """
    count, confidence, right = bins.unbind(dim=1)
    return (right - confidence).abs().sum() / count.sum()
