from __future__ import annotations

import pytest
import torch

from limbeck.core.streams import Stream
from limbeck.ops.projection import pca, tsne


def two_groups() -> torch.Tensor:
    noise = Stream(0).normal(40, 6)
    return noise + 30 * (torch.arange(40) < 20).double().unsqueeze(1)


@pytest.mark.parametrize("count", [50, 3])
def test_principal_components_are_those_of_the_covariance(count: int) -> None:
    features = Stream(1).normal(count, 4) @ torch.diag(torch.tensor([5.0, 3.0, 1.0, 0.1], dtype=torch.float64))
    found = pca(features)
    values = torch.linalg.eigvalsh(torch.cov(features.T)).flip(0)
    torch.testing.assert_close(found.var(dim=0), values[:2])
    torch.testing.assert_close(found.mean(dim=0), torch.zeros(2, dtype=torch.float64), rtol=0, atol=1e-12)
    assert abs(float((found[:, 0] * found[:, 1]).sum())) < 1e-10
    assert (found.gather(0, found.abs().argmax(dim=0, keepdim=True)) > 0).all()


def test_missing_directions_are_zero() -> None:
    found = pca(torch.tensor([[1.0], [3.0], [8.0]]))
    torch.testing.assert_close(found, torch.tensor([[-3.0, 0], [-1, 0], [4, 0]], dtype=torch.float64))
    assert pca(torch.ones(1, 3)).tolist() == [[0.0, 0.0]]


def test_tsne_keeps_groups_apart_and_repeats() -> None:
    features = two_groups()
    found = tsne(features)
    assert found.shape == (40, 2) and torch.isfinite(found).all()
    assert torch.equal(tsne(features), found)
    apart = torch.cdist(found, found)
    own = torch.arange(40) < 20
    same = own.unsqueeze(0) == own.unsqueeze(1)
    assert (
        apart.masked_fill(same, torch.inf).min()
        > apart.masked_fill(same.logical_not(), torch.inf).fill_diagonal_(torch.inf).min(dim=1).values.max()
    )


def test_few_points_have_a_map() -> None:
    for count in (2, 3, 7):
        assert torch.isfinite(tsne(Stream(2).normal(count, 5))).all()
    assert torch.isfinite(tsne(torch.ones(6, 4))).all()
