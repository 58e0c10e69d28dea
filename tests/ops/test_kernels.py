from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, get_args

import pytest
import torch
from torch import Tensor

from limbeck.core.streams import Stream
from limbeck.ops.kernels import Kernel, mmd, squared_distances

KERNELS = get_args(Kernel)
every = pytest.mark.parametrize("kernel", KERNELS)


def rows(count: int, size: int, seed: int) -> Tensor:
    return Stream(seed).normal(count, size) + 0.3 * seed


def bandwidth(points: Sequence[list[float]]) -> float:
    """The mean squared distance of two different rows."""
    apart = [math.dist(a, b) ** 2 for a in points for b in points]
    return sum(apart) / (len(points) ** 2 - len(points))


def value_of(kernel: str, width: float) -> Callable[[list[float], list[float]], float]:
    """A kernel of two rows."""

    def value(a: list[float], b: list[float]) -> float:
        product, apart = sum(p * q for p, q in zip(a, b, strict=True)), math.dist(a, b) ** 2
        if kernel == "linear":
            return product
        if kernel == "polynomial":
            return (product + 1) ** 2
        if kernel == "laplace":
            return sum(math.exp(-rate * apart) for rate in (0.1, 1.0, 5.0))
        return sum(math.exp(-apart / (width * factor)) for factor in (0.25, 0.5, 1.0, 2.0, 4.0))

    return value


def looped(x: Tensor, y: Tensor, kernel: str) -> float:
    """The definition, pair by pair."""
    one, other = x.tolist(), y.tolist()
    value = value_of(kernel, bandwidth([*one, *other]))

    def mean(a: list[list[float]], b: list[list[float]]) -> float:
        return sum(value(p, q) for p in a for q in b) / (len(a) * len(b))

    return mean(one, one) - 2 * mean(one, other) + mean(other, other)


@every
@pytest.mark.parametrize(("count", "other", "size"), [(4, 7, 3), (1, 5, 6), (6, 2, 2)])
def test_it_equals_a_loop_over_pairs(kernel: Any, count: int, other: int, size: int) -> None:
    x, y = rows(count, size, 1), rows(other, size, 2)
    assert float(mmd(x, y, kernel)) == pytest.approx(looped(x, y, kernel), rel=1e-10, abs=1e-13)


@every
def test_rows_without_a_share_are_no_part_of_the_set(kernel: Any) -> None:
    x, y = rows(4, 5, 1).requires_grad_(), rows(6, 5, 2)
    share = torch.cat([torch.full((6,), 1 / 6, dtype=torch.float64), torch.zeros(2, dtype=torch.float64)])
    filled = torch.cat([y, torch.zeros(2, 5, dtype=torch.float64)])
    values = [mmd(x, y, kernel), mmd(x, filled, kernel, share)]
    torch.testing.assert_close(values[1], values[0], rtol=1e-11, atol=1e-14)
    gradients = [torch.autograd.grad(value, x)[0] for value in values]
    torch.testing.assert_close(gradients[1], gradients[0], rtol=1e-10, atol=1e-14)


@every
def test_the_same_set_in_another_order_is_no_distance_away(kernel: Any) -> None:
    x, y = rows(5, 4, 1), rows(7, 4, 2)
    assert float(mmd(x, x.flip(0), kernel)) == pytest.approx(0, abs=1e-12)
    assert float(mmd(x, y, kernel)) > 1e-3
    shuffled = mmd(x[[3, 1, 4, 0, 2]], y.flip(0), kernel)
    torch.testing.assert_close(shuffled, mmd(x, y, kernel), rtol=1e-10, atol=1e-14)


def test_linear_is_the_distance_of_the_means() -> None:
    x, y = rows(5, 4, 1), rows(7, 4, 2)
    torch.testing.assert_close(mmd(x, y, "linear"), (x.mean(0) - y.mean(0)).square().sum())


def test_the_bandwidth_is_a_constant_to_the_gradient() -> None:
    x, y = rows(4, 3, 1), rows(6, 3, 2)
    width = bandwidth([*x.tolist(), *y.tolist()])

    def fixed(moved: Tensor) -> Tensor:
        both = torch.cat([moved, y])
        apart = (both[:, None] - both[None]).square().sum(dim=2)
        values = sum((torch.exp(-apart / (width * 2.0**octave)) for octave in range(-2, 3)), torch.zeros_like(apart))
        return values[:4, :4].mean() - 2 * values[:4, 4:].mean() + values[4:, 4:].mean()

    leaf = x.clone().requires_grad_()
    (found,) = torch.autograd.grad(mmd(leaf, y), leaf)
    (expected,) = torch.autograd.grad(fixed(leaf), leaf)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-13)
    # With a bandwidth that moves along, it would be another one.
    step = 1e-5
    moved = [mmd(x + sign * step * torch.eye(4, 3).double(), y) for sign in (1, -1)]
    slope = float((moved[0] - moved[1]) / (2 * step))
    assert abs(slope - float(found.diagonal().sum())) > 1e-4


@pytest.mark.parametrize("kernel", ["linear", "polynomial", "laplace"])
def test_its_gradient_is_right(kernel: Any) -> None:
    y = rows(4, 3, 2)
    assert torch.autograd.gradcheck(lambda x: mmd(x, y, kernel), rows(3, 3, 1).requires_grad_())


@every
def test_equal_rows_give_no_nan(kernel: Any) -> None:
    """All distances are zero, and so would be the bandwidth."""
    x = torch.ones(3, 4, dtype=torch.float64, requires_grad=True)
    value = mmd(x, torch.ones(5, 4, dtype=torch.float64), kernel)
    (gradient,) = torch.autograd.grad(value, x)
    assert float(value.detach()) == pytest.approx(0, abs=1e-12) and torch.isfinite(gradient).all()


def test_distances_of_large_features_do_not_cancel() -> None:
    """Rows near one another and far from 0, in single precision."""
    far = (rows(5, 6, 0) / 2 + 64).float()
    expected = (far.double()[:, None] - far.double()[None]).square().sum(dim=2)
    torch.testing.assert_close(squared_distances(far).double(), expected, rtol=1e-4, atol=1e-5)
