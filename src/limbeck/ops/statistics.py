"""Differences of paired measurements, with confidence intervals by Student's t."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Interval", "paired_difference"]


@dataclass(frozen=True)
class Interval:
    """A mean and where it is to be expected.

    Args:
        mean: of the measured differences.
        low: lower end of the confidence interval; None for a single measurement, which has none.
        high: upper end, likewise.
        n: measurements.
        confidence: probability with which an interval that is made so holds the true mean.
    """

    mean: float
    low: float | None
    high: float | None
    n: int
    confidence: float = 0.95


def paired_difference(a: Sequence[float], b: Sequence[float], confidence: float = 0.95) -> Interval:
    """Mean of ``a - b`` and its two-sided confidence interval, mean +- t(n - 1) s / sqrt(n).

    Pairs share what makes measurements vary, here the seed, so that what they share falls out of the difference. The
    interval supposes that differences are about normal.

    Student, "The probable error of a mean", Biometrika 6, 1908.

    Args:
        a: one measurement for each pair.
        b: the other one, in the same order.
        confidence: between 0 and 1.

    Raises:
        ValueError: there are no pairs, or not as many of one as of the other, or no such confidence.
    """
    from scipy.special import stdtrit

    if len(a) != len(b) or not a:
        raise ValueError(f"pairs need as many of one as of the other, not {len(a)} and {len(b)}")
    if not 0 < confidence < 1:
        raise ValueError(f"a confidence lies between 0 and 1, not at {confidence}")
    differences = [first - second for first, second in zip(a, b, strict=True)]
    mean, n = statistics.fmean(differences), len(differences)
    if n == 1:
        return Interval(mean, None, None, n, confidence)
    half = float(stdtrit(n - 1, (1 + confidence) / 2)) * statistics.stdev(differences) / math.sqrt(n)
    return Interval(mean, mean - half, mean + half, n, confidence)
