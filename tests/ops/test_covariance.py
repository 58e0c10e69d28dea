from __future__ import annotations

import pytest
import torch
from torch import Tensor

from limbeck.core.streams import Stream
from limbeck.ops.covariance import covariance_distance


def rows(count: int, size: int, seed: int) -> Tensor:
    """Features with a mean of their own and directions that differ in length."""
    scale = torch.linspace(0.2, 2, size, dtype=torch.float64)
    return Stream(seed).normal(count, size) * scale + seed


def direct(real: Tensor, synthetic: Tensor, correction: int) -> Tensor:
    """The definition, with PyTorch's covariance matrices."""
    matrices = [torch.cov(features.T, correction=correction) for features in (real, synthetic)]
    return (matrices[0] - matrices[1]).square().sum()


@pytest.mark.parametrize("unbiased", [True, False])
@pytest.mark.parametrize(("count", "other", "size"), [(6, 4, 15), (30, 12, 5), (6, 30, 9), (30, 2, 9), (7, 7, 7)])
def test_it_equals_the_distance_of_the_matrices(count: int, other: int, size: int, unbiased: bool) -> None:
    real, synthetic = rows(count, size, 1), rows(other, size, 2)
    found = covariance_distance(real, synthetic, unbiased=unbiased)
    torch.testing.assert_close(found, direct(real, synthetic, int(unbiased)), rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("unbiased", [True, False])
@pytest.mark.parametrize(("size", "filled"), [(20, 8), (5, 8), (7, 16)])
def test_rows_without_a_share_are_no_part_of_the_set(size: int, filled: int, unbiased: bool) -> None:
    real, synthetic = rows(6, size, 1), rows(4, size, 2)
    padding = torch.full((filled - 6, size), 100.0, dtype=torch.float64)
    share = torch.cat([torch.full((6,), 1 / 6, dtype=torch.float64), torch.zeros(filled - 6, dtype=torch.float64)])
    found = covariance_distance(torch.cat([real, padding]), synthetic, unbiased=unbiased, share=share)
    torch.testing.assert_close(found, direct(real, synthetic, int(unbiased)), rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("size", [12, 3])
def test_its_gradient_is_right(size: int) -> None:
    real, share = rows(5, size, 1), torch.tensor([0.25, 0.25, 0.25, 0.25, 0], dtype=torch.float64)

    def apart(synthetic: Tensor) -> Tensor:
        return covariance_distance(real, synthetic, share=share)

    assert torch.autograd.gradcheck(apart, rows(4, size, 2).requires_grad_())


def test_means_do_not_matter_and_order_neither() -> None:
    real = rows(6, 9, 1)
    assert float(covariance_distance(real, real.flip(0) + 3)) == pytest.approx(0, abs=1e-9)
    assert float(covariance_distance(real, 2 * real)) > 1


def test_one_row_has_a_covariance_of_zero_where_the_divisor_is_n() -> None:
    real, one = rows(6, 9, 1), rows(1, 9, 2).requires_grad_()
    found = covariance_distance(real, one, unbiased=False)
    torch.testing.assert_close(found, torch.cov(real.T, correction=0).square().sum(), rtol=1e-11, atol=0)
    (gradient,) = torch.autograd.grad(found, one)
    assert not gradient.any()
