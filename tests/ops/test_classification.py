from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from limbeck.core.streams import Stream
from limbeck.ops import classification

CHANCES = torch.tensor([[0.7, 0.2, 0.1], [0.1, 0.6, 0.3], [0.5, 0.3, 0.2], [0.05, 0.9, 0.05]], dtype=torch.float64)
LABELS = torch.tensor([0, 2, 0, 1])


def test_confusion_counts_true_by_predicted() -> None:
    counts = classification.confusion(CHANCES.log(), LABELS)
    assert counts.dtype == torch.int64
    assert counts.tolist() == [[2, 0, 0], [0, 1, 0], [0, 1, 0]]
    assert classification.class_accuracies(counts).tolist() == [1.0, 1.0, 0.0]


def test_a_class_without_images_has_no_accuracy() -> None:
    counts = classification.confusion(CHANCES[:1].log(), LABELS[:1])
    first, *others = classification.class_accuracies(counts).tolist()
    assert first == 1.0
    assert all(math.isnan(value) for value in others)


def test_likelihood_and_brier_score_in_closed_form() -> None:
    found = classification.negative_log_likelihoods(CHANCES.log(), LABELS)
    assert found.tolist() == pytest.approx([-math.log(p) for p in (0.7, 0.3, 0.5, 0.9)], rel=1e-12)
    scores = classification.brier_scores(CHANCES.log(), LABELS)
    expected = [0.09 + 0.04 + 0.01, 0.01 + 0.36 + 0.49, 0.25 + 0.09 + 0.04, 0.0025 + 0.01 + 0.0025]
    assert scores.tolist() == pytest.approx(expected, rel=1e-12)


def test_limits_of_the_brier_score() -> None:
    sure = torch.tensor([[60.0, 0, 0]])
    assert float(classification.brier_scores(sure, torch.tensor([0]))) == pytest.approx(0, abs=1e-20)
    assert float(classification.brier_scores(sure, torch.tensor([1]))) == pytest.approx(2)


def test_calibration_error_in_closed_form() -> None:
    """Confidences 0.7, 0.6, 0.5, 0.9 of which the second is wrong: each in a bin of its own among 15."""
    bins = classification.confidence_bins(CHANCES.log(), LABELS)
    assert bins.shape == (15, 3)
    assert float(bins[:, 0].sum()) == 4
    error = classification.expected_calibration_error(bins)
    assert float(error) == pytest.approx((0.3 + 0.6 + 0.5 + 0.1) / 4, rel=1e-9)
    together = classification.confidence_bins(CHANCES.log(), LABELS, bins=1)
    assert float(classification.expected_calibration_error(together)) == pytest.approx(abs(3 - 2.7) / 4, rel=1e-9)


def test_who_is_as_sure_as_right_has_no_error() -> None:
    logits = torch.tensor([[math.log(3.0), 0.0]]).expand(4, 2)
    bins = classification.confidence_bins(logits, torch.tensor([0, 0, 0, 1]))
    assert float(classification.expected_calibration_error(bins)) == pytest.approx(0, abs=1e-7)


def test_whoever_is_sure_falls_into_the_last_bin() -> None:
    bins = classification.confidence_bins(torch.tensor([[1e3, 0.0], [0.0, 1e3]]), torch.tensor([0, 0]))
    assert bins[-1].tolist() == [2, 2, 1]
    assert float(classification.expected_calibration_error(bins)) == 0.5


def test_sums_add_up_over_batches() -> None:
    stream = Stream(0)
    logits, labels = 3 * stream.normal(101, 7), stream.integers(0, 6, 101)

    def halves(function: object) -> Tensor:
        return function(logits[:40], labels[:40]) + function(logits[40:], labels[40:])  # type: ignore[operator]

    for function in (classification.confusion, classification.confidence_bins):
        torch.testing.assert_close(halves(function), function(logits, labels))
    for each in (classification.negative_log_likelihoods, classification.brier_scores):
        torch.testing.assert_close(each(logits, labels)[:40], each(logits[:40], labels[:40]))
