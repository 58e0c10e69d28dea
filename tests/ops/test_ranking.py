from __future__ import annotations

import math

import pytest

from limbeck.core.errors import InputError
from limbeck.ops import ranking


def test_recovery_and_improvement_are_differences() -> None:
    assert ranking.hard_label_recovery(0.85, 0.25) == pytest.approx(0.6)
    assert ranking.improvement_over_random(0.4, 0.25) == pytest.approx(0.15)


@pytest.mark.parametrize(
    ("recovery", "improvement", "expected"),
    [(0, 0, 0.2689), (0.60, 0.15, 0.1832), (0.132, 0.282, 0.302), (0.154, 0.434, 0.333), (-1, 1, 1), (1, -1, 0)],
    ids=["nothing", "authors", "mtt", "dream", "best", "worst"],
)
def test_label_robust_score_at_known_values(recovery: float, improvement: float, expected: float) -> None:
    assert ranking.label_robust_score(recovery, improvement) == pytest.approx(expected, abs=5e-4)


def test_the_weight_decides_what_counts() -> None:
    assert ranking.label_robust_score(0.6, 0.15, weight=1) == ranking.label_robust_score(0.0, 0.15, weight=1)
    assert ranking.label_robust_score(0.6, 0.15, weight=0) == ranking.label_robust_score(0.6, 0.9, weight=0)
    alpha = 0.25 * 0.15 - 0.75 * 0.6
    expected = (math.exp(alpha) - math.exp(-1)) / (math.e - math.exp(-1))
    assert ranking.label_robust_score(0.6, 0.15, weight=0.25) == pytest.approx(expected, rel=1e-12)


def test_augmentation_robust_score() -> None:
    assert ranking.augmentation_gain(0.3, 0.1) == pytest.approx(0.2)
    assert ranking.augmentation_gain(0.3, 0.1, weight=1) == pytest.approx(0.3)
    assert ranking.augmentation_robust_score(0, 0) == pytest.approx(0.2689, abs=5e-5)
    assert ranking.augmentation_robust_score(0.3, 0.1) == pytest.approx(ranking.label_robust_score(0, 0.4), rel=1e-12)


def test_percentages_are_refused() -> None:
    with pytest.raises(InputError, match="divide percentages by 100"):
        ranking.hard_label_recovery(85.0, 25.0)
    with pytest.raises(InputError, match="divide percentages by 100"):
        ranking.improvement_over_random(0.4, 25.0)
    with pytest.raises(InputError, match="divide percentages by 100"):
        ranking.label_robust_score(60, 15)
    with pytest.raises(InputError, match="a weight in"):
        ranking.augmentation_robust_score(0.1, 0.1, weight=1.5)
