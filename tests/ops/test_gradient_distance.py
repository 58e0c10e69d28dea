from __future__ import annotations

from typing import get_args

import pytest
import torch
from torch import Tensor

from limbeck.core.errors import InputError
from limbeck.core.streams import Stream
from limbeck.ops.gradient_distance import (
    Metric,
    distance,
    feature_mean_distance,
    selected,
    tensor_distance,
)

METRICS = get_args(Metric)
SHAPES = ((4, 2, 3, 3), (4,), (3, 2, 2), (3, 5))


def lists() -> tuple[list[Tensor], list[Tensor]]:
    stream = Stream(0)
    return [stream.normal(*shape) for shape in SHAPES], [stream.normal(*shape) for shape in SHAPES]


@pytest.mark.parametrize("metric", METRICS)
def test_zero_at_equality_and_positive_elsewhere(metric: Metric) -> None:
    a, b = lists()
    assert float(distance(a, a, metric)) == pytest.approx(0, abs=1e-5)
    assert float(distance(a, b, metric)) > 0


@pytest.mark.parametrize("metric", METRICS)
def test_order_of_parameters_and_rows_does_not_matter(metric: Metric) -> None:
    a, b = lists()
    value = distance(a, b, metric)
    torch.testing.assert_close(distance(a[::-1], b[::-1], metric), value)
    turned = [[tensor.flip(0) for tensor in side] for side in (a, b)]
    torch.testing.assert_close(distance(*turned, metric), value)


@pytest.mark.parametrize("metric", METRICS)
def test_symmetric(metric: Metric) -> None:
    a, b = lists()
    torch.testing.assert_close(distance(a, b, metric), distance(b, a, metric))


@pytest.mark.parametrize("metric", METRICS)
def test_gradients(metric: Metric) -> None:
    a, b = lists()
    b = [tensor.requires_grad_() for tensor in b]
    assert torch.autograd.gradcheck(lambda *b: distance(a, list(b), metric), b)
    assert torch.autograd.gradgradcheck(lambda *b: distance(a, list(b), metric), b)


@pytest.mark.parametrize("metric", ["cosine", "full_cosine"])
def test_a_zero_row_has_finite_derivatives(metric: Metric) -> None:
    a = torch.zeros(2, 3, dtype=torch.float64) + torch.tensor([[0.0], [1.0]])
    b = a.clone().requires_grad_()
    first = torch.autograd.grad(tensor_distance(a, b, metric), b, create_graph=True)[0]
    second = torch.autograd.grad(first.square().sum(), b)[0]
    assert bool(first.isfinite().all()) and bool(second.isfinite().all())


def test_cosine_counts_rows_and_skips_vectors() -> None:
    a = torch.eye(3, dtype=torch.float64)
    assert float(tensor_distance(a, -a, "cosine")) == pytest.approx(6, abs=1e-4)
    assert float(tensor_distance(a[0], -a[0], "cosine")) == 0
    assert float(tensor_distance(a[0], -a[0], "full_cosine")) == pytest.approx(2, abs=1e-4)
    assert float(tensor_distance(a[0], -a[0], "l1_mean")) == 2


def test_selected() -> None:
    assert [selected(n, False, False) for n in (1, 2, 3, 4)] == [False, False, True, True]
    assert [selected(n, True, False) for n in (1, 2, 4)] == [True, False, True]
    assert [selected(n, False, True) for n in (1, 2, 4)] == [False, True, True]


def test_feature_means() -> None:
    stream = Stream(1)
    real = stream.normal(6, 2, 3)
    assert float(feature_mean_distance(real, real[stream.permutation(6)])) == pytest.approx(0, abs=1e-25)
    assert float(feature_mean_distance(real, real + 1)) == pytest.approx(6)


def test_mismatches_are_refused() -> None:
    a, b = lists()
    with pytest.raises(InputError, match="equally many"):
        distance(a, b[:2], "mse")
    with pytest.raises(InputError, match="equally many"):
        distance([], [], "mse")
    with pytest.raises(InputError, match="shapes"):
        distance(a, b[::-1], "mse")
