from __future__ import annotations

import pytest
import torch
from torch import Tensor

from limbeck.core.streams import Stream
from limbeck.ops import zca


def pixels(count: int = 2500, seed: int = 0) -> Tensor:
    """Bytes whose values depend on one another, with a constant among them."""
    stream = Stream(seed)
    found = (stream.normal(count, 12) @ stream.normal(12, 12) * 20 + 100).clamp(0, 255).to(torch.uint8)
    found[:, 5] = 200
    return found.view(count, 3, 2, 2)


@pytest.mark.parametrize("as_bytes", [True, False])
def test_moments_are_mean_and_unbiased_covariance(as_bytes: bool) -> None:
    values = pixels()
    found = zca.moments([values if as_bytes else values.double() / 255])
    rows = values.flatten(1).double() / 255
    assert found.count == 2500 and found.mean.dtype == found.covariance.dtype == torch.float64
    torch.testing.assert_close(found.mean, rows.mean(0), rtol=1e-13, atol=1e-13)
    torch.testing.assert_close(found.covariance, torch.cov(rows.T), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("size", [1, 7, 1023, 2500])
def test_blocks_do_not_matter(size: int) -> None:
    values = pixels()
    whole, parts = zca.moments([values]), zca.moments([values[:0], *values.split(size)])
    # Of bytes not a bit depends on them, nor on the order of the images.
    assert torch.equal(whole.mean, parts.mean) and torch.equal(whole.covariance, parts.covariance)
    turned = zca.moments(values.flip(0).split(size))
    assert torch.equal(whole.mean, turned.mean) and torch.equal(whole.covariance, turned.covariance)
    floats = values.float() / 255
    one, other = zca.moments([floats]), zca.moments(floats.split(size))
    torch.testing.assert_close(one.covariance, other.covariance, rtol=1e-12, atol=1e-14)


def test_sums_of_extreme_bytes_stay_exact() -> None:
    values = torch.zeros(5000, 2, dtype=torch.uint8)
    values[::2] = 255
    found = zca.moments([values])
    assert found.mean.tolist() == [0.5, 0.5]
    assert found.covariance.flatten().tolist() == [0.25 * 5000 / 4999] * 4


def test_a_large_mean_costs_no_digits() -> None:
    rows = Stream(0).normal(400, 6).double()
    torch.testing.assert_close(
        zca.moments([rows + 1e6]).covariance, zca.moments([rows]).covariance, rtol=1e-6, atol=1e-8
    )


def test_directions_without_variance_have_none() -> None:
    found = zca.moments([pixels(5)])
    variances, basis = zca.decompose(found.covariance)
    assert float(variances.min()) == 0 and (variances > 1e-12).sum() == 4
    torch.testing.assert_close((basis * variances) @ basis.T, found.covariance, rtol=0, atol=1e-14)


def test_whitened_images_are_uncorrelated_as_far_as_eps_lets_them() -> None:
    values = pixels().double() / 255
    found = zca.moments([values])
    variances, basis = zca.decompose(found.covariance)
    matrix, inverse = zca.matrices(variances, basis, 1e-3)
    torch.testing.assert_close(matrix @ inverse, torch.eye(12, dtype=torch.float64))
    seen = zca.moments([(values.flatten(1) - found.mean) @ matrix])
    expected = (basis * (variances / (variances + 1e-3))) @ basis.T
    torch.testing.assert_close(seen.covariance, expected, rtol=1e-9, atol=1e-9)
    assert float(seen.mean.abs().max()) < 1e-12


def test_the_whitening_is_that_of_the_moments() -> None:
    values = pixels()
    found = zca.moments([values])
    variances, basis = zca.decompose(found.covariance)
    one = zca.whitening(found)
    assert one.eps == 0.1
    torch.testing.assert_close(one.matrix(dtype=torch.float64), zca.matrices(variances, basis)[0], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("count", [0, 1])
def test_a_single_image_has_no_covariance(count: int) -> None:
    with pytest.raises(ValueError, match="two or more images"):
        zca.moments([pixels()[:count]])
