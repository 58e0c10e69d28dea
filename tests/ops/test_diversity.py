from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from limbeck.core.errors import InputError
from limbeck.core.streams import Stream
from limbeck.ops import diversity


def features(count: int, size: int, seed: int = 0) -> Tensor:
    return Stream(seed).normal(count, size) + 100


def squared(x: Tensor, y: Tensor) -> Tensor:
    return (x.unsqueeze(1) - y.unsqueeze(0)).square().sum(dim=2)


def test_feature_distance_is_the_sum_over_ordered_pairs() -> None:
    g = features(9, 5)
    expected = sum(float((a - b).square().sum()) for a in g for b in g)
    assert float(diversity.feature_distance(g)) == pytest.approx(expected, rel=1e-12)
    assert float(diversity.feature_distance(g)) == pytest.approx(2 * 81 * float(diversity.covariance_trace(g)))
    assert float(diversity.pair_distance(g)) == pytest.approx(expected / 72, rel=1e-12)
    assert float(diversity.pair_distance(g)) == pytest.approx(2 * float(torch.cov(g.T).trace()), rel=1e-12)
    assert float(diversity.covariance_trace(g)) == pytest.approx(float(torch.cov(g.T, correction=0).trace()), rel=1e-12)


def test_a_single_image_has_no_pairs() -> None:
    one = features(1, 5)
    assert [float(measure(one)) for measure in (diversity.feature_distance, diversity.covariance_trace)] == [0, 0]
    assert float(diversity.effective_rank(one)) == 0
    with pytest.raises(InputError, match="two or more images per class"):
        diversity.pair_distance(one)


def test_relative_to_the_largest() -> None:
    assert diversity.relative([2.0, 8.0, 0.0]) == [0.25, 1.0, 0.0]
    assert diversity.relative([0.0, 0.0]) == [0.0, 0.0]
    assert diversity.relative([]) == []


@pytest.mark.parametrize("extra", [0, 20])
def test_effective_rank_of_isotropic_and_flat_data(extra: int) -> None:
    """Isotropic in D directions: D; on a line: 1; two directions of variance a and b: exp(entropy)."""
    for size in (1, 3, 6):
        corners = torch.cat([torch.eye(size), -torch.eye(size)]).double()
        seen = torch.nn.functional.pad(corners, (0, extra)) + 7
        assert float(diversity.effective_rank(seen)) == pytest.approx(size, rel=1e-9)
    seen = torch.nn.functional.pad(torch.tensor([[3.0, 0], [-3, 0], [0, 1], [0, -1]]), (0, extra))
    entropy = -0.9 * math.log(0.9) - 0.1 * math.log(0.1)
    assert float(diversity.effective_rank(seen)) == pytest.approx(math.exp(entropy), rel=1e-9)
    assert float(diversity.effective_rank(torch.ones(5, 2 + extra))) == 0


def test_both_matrices_give_one_rank() -> None:
    wide = features(8, 30)
    values = torch.linalg.eigvalsh(torch.cov(wide.T)).clamp_min(0)
    shares = values / values.sum()
    assert float(diversity.effective_rank(wide)) == pytest.approx(float(torch.special.entr(shares).sum().exp()))
    assert float(diversity.effective_rank(wide)) <= 7


@pytest.mark.parametrize("pairs", [3, 2**21])
def test_nearest_rows(monkeypatch: pytest.MonkeyPatch, pairs: int) -> None:
    monkeypatch.setattr(diversity, "_PAIRS", pairs)
    x, y = features(12, 4), features(7, 4, seed=1)
    y[3] = x[5]
    distances, rows = diversity.nearest(x, y)
    every = squared(x, y).sqrt()
    torch.testing.assert_close(distances, every.min(dim=1).values, rtol=1e-12, atol=0)
    assert torch.equal(rows, every.argmin(dim=1))
    assert (float(distances[5]), int(rows[5])) == (0.0, 3)
    own = squared(x, x).sqrt().fill_diagonal_(torch.inf).min(dim=1).values
    torch.testing.assert_close(diversity.neighbour_distances(x), own, rtol=1e-12, atol=0)
    assert diversity.neighbour_distances(torch.ones(3, 2)).tolist() == [0, 0, 0]


def test_a_set_covers_itself() -> None:
    real = features(30, 6)
    labels = torch.arange(30) % 3
    for label in range(3):
        assert float(diversity.coverage(real[labels == label], real, labels, label, 0.0)) == 1


def test_coverage_counts_class_and_distance() -> None:
    real = torch.tensor([[0.0], [1.0], [2.0], [10.0]])
    synthetic, labels = torch.tensor([[0.5], [2.1], [30.0]]), torch.tensor([0, 1, 0])
    # 0 and 1 are near 0.5; 2 is nearest to another class; 10 is nearest to it, too.
    assert float(diversity.coverage(real, synthetic, labels, 0, 0.5)) == 0.5
    assert float(diversity.coverage(real, synthetic, labels, 0, 0.4)) == 0
    assert float(diversity.coverage(real, synthetic, labels, 1, 1.0)) == 0.25
    assert float(diversity.coverage(real, synthetic, labels, 1, 8.0)) == 0.5


def plain_mmd2(x: Tensor, y: Tensor, gammas: list[float]) -> float:
    def mean(one: Tensor, other: Tensor) -> float:
        return sum(float((-gamma * squared(one, other)).exp().mean()) for gamma in gammas)

    return mean(x, x) + mean(y, y) - 2 * mean(x, y)


@pytest.mark.parametrize("pairs", [5, 2**21])
def test_mmd_of_five_kernels(monkeypatch: pytest.MonkeyPatch, pairs: int) -> None:
    monkeypatch.setattr(diversity, "_PAIRS", pairs)
    x, y = features(8, 3), features(6, 3, seed=1) + 1
    every = squared(torch.cat([x, y]), torch.cat([x, y]))
    scale = float(every.sum()) / (14 * 13)
    gammas = [1 / (scale * 2**power) for power in (-2, -1, 0, 1, 2)]
    assert float(diversity.mmd2_mixture(x, y)) == pytest.approx(plain_mmd2(x, y, gammas), rel=1e-9)
    assert float(diversity.mmd2_gaussian(x, y, 0.3)) == pytest.approx(plain_mmd2(x, y, [0.3]), rel=1e-9)


def test_mmd_of_equal_sets_is_zero() -> None:
    x = features(9, 4)
    for value in (diversity.mmd2_mixture(x, x), diversity.mmd2_gaussian(x, x, 0.2), diversity.mmd2_linear(x, x)):
        assert abs(float(value)) < 1e-12
    assert float(diversity.mmd2_mixture(torch.ones(3, 2), torch.ones(2, 2))) == 0
    assert float(diversity.mmd2_mixture(torch.ones(1, 2), torch.zeros(1, 2))) > 0


def test_float32_features_are_computed_in_float64() -> None:
    x = features(6, 4).float()
    for value in (
        diversity.feature_distance(x),
        diversity.effective_rank(x),
        diversity.nearest(x, x)[0],
        diversity.mmd2_mixture(x, x),
    ):
        assert value.dtype == torch.float64
