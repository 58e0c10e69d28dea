from __future__ import annotations

import math

import pytest
from scipy import stats

from limbeck.core.streams import Stream
from limbeck.ops.statistics import paired_difference


def test_three_pairs_by_hand() -> None:
    # Differences 1, 2, 3: mean 2, deviation 1; t(2) at 97.5 % is 4.3027 (any table).
    found = paired_difference([2.0, 4.0, 6.0], [1.0, 2.0, 3.0])
    half = 4.302652729911275 / math.sqrt(3)
    assert (found.mean, found.n, found.confidence) == (2.0, 3, 0.95)
    assert found.low == pytest.approx(2 - half, rel=1e-9) and found.high == pytest.approx(2 + half, rel=1e-9)


@pytest.mark.parametrize("n", [2, 3, 10])
@pytest.mark.parametrize("confidence", [0.5, 0.95, 0.99])
def test_it_is_the_interval_of_scipy(n: int, confidence: float) -> None:
    a, b = Stream(n).normal(n).double(), Stream(100 + n).normal(n).double()
    expected = stats.ttest_rel(a.numpy(), b.numpy()).confidence_interval(confidence)
    found = paired_difference(a.tolist(), b.tolist(), confidence)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), rel=1e-9)


def test_what_pairs_share_falls_out() -> None:
    a, shared = [0.1, 0.2, 0.4, 0.3], [5.0, -3.0, 11.0, 2.0]
    alone = paired_difference(a, [0.0, 0.1, 0.1, 0.1])
    both = paired_difference([x + s for x, s in zip(a, shared, strict=True)], [0.0 + 5, 0.1 - 3, 0.1 + 11, 0.1 + 2])
    assert (both.low, both.high) == pytest.approx((alone.low, alone.high))


def test_the_interval_holds_the_truth_as_often_as_it_says() -> None:
    """2000 experiments of 3 pairs: 95 % of 2000 are 1900, give or take four deviations of the binomial (39)."""
    draws = Stream(7).normal(2000, 2, 3).double() + 0.5
    held = 0
    for first, second in draws.tolist():
        found = paired_difference([x + 0.25 for x in first], second)
        assert found.low is not None and found.high is not None
        held += found.low <= 0.25 <= found.high
    assert abs(held - 1900) < 39


def test_one_pair_has_no_interval() -> None:
    found = paired_difference([0.5], [0.25])
    assert (found.mean, found.low, found.high, found.n) == (0.25, None, None, 1)


@pytest.mark.parametrize(("a", "b", "confidence"), [([], [], 0.9), ([1.0], [1.0, 2.0], 0.9), ([1.0], [1.0], 1.0)])
def test_what_cannot_be(a: list[float], b: list[float], confidence: float) -> None:
    with pytest.raises(ValueError, match=r"pairs need|confidence lies"):
        paired_difference(a, b, confidence)
