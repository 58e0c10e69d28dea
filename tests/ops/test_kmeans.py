from __future__ import annotations

import pytest
import torch
from sklearn.cluster import KMeans
from sklearn.datasets import load_digits
from torch import Tensor

from limbeck.core.errors import InputError
from limbeck.core.streams import Stream
from limbeck.ops import kmeans as ops


def digits(label: int) -> Tensor:
    data = load_digits()
    return torch.from_numpy(data.data[data.target == label])


def ragged(*groups: Tensor) -> tuple[Tensor, Tensor]:
    """Groups padded with numbers that must not matter."""
    counts = torch.tensor([len(group) for group in groups])
    padded = torch.full((len(groups), int(counts.max()), groups[0].shape[1]), torch.nan, dtype=groups[0].dtype)
    for g, group in enumerate(groups):
        padded[g, : len(group)] = group
    return padded, counts


@pytest.mark.parametrize("clusters", [3, 10, 25])
def test_inertia_equals_sklearn_from_the_same_start(clusters: int) -> None:
    x = digits(3)
    start = Stream(clusters).permutation(len(x))[:clusters]
    reference = KMeans(clusters, init=x[start].numpy(), n_init=1, max_iter=300, tol=0.0, algorithm="lloyd").fit(
        x.numpy()
    )
    found = ops.kmeans(x[None], torch.tensor([len(x)]), start[None], max_sweeps=300, tolerance=0.0)
    assert float(found.inertia) == pytest.approx(reference.inertia_, rel=1e-10)
    torch.testing.assert_close(found.centroids[0], torch.from_numpy(reference.cluster_centers_))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("block", [1 << 24, 500])
def test_ragged_groups_equal_single_runs(dtype: torch.dtype, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ops, "_BLOCK", block)
    groups = [digits(0)[:60].to(dtype), digits(1).to(dtype), digits(2)[:33].to(dtype)]
    features, counts = ragged(*groups)
    start = ops.start_rows([Stream(g).permutation(len(x)) for g, x in enumerate(groups)], 7)
    together = ops.kmeans(features, counts, start)
    picks = ops.nearest_rows(features, counts, together.centroids)
    assert len(together.sweeps.unique()) > 1
    for g, x in enumerate(groups):
        alone = ops.kmeans(x[None], counts[g : g + 1], start[g : g + 1])
        torch.testing.assert_close(together.centroids[g], alone.centroids[0])
        torch.testing.assert_close(together.inertia[g], alone.inertia[0])
        assert together.labels[g, : len(x)].tolist() == alone.labels[0].tolist()
        assert set(together.labels[g, len(x) :].tolist()) <= {-1}
        assert int(together.sweeps[g]) == int(alone.sweeps)
        assert picks[g].tolist() == ops.nearest_rows(x[None], counts[g : g + 1], alone.centroids)[0].tolist()
        assert bool((picks[g] < len(x)).all())


def test_product_form_equals_scattered_form(monkeypatch: pytest.MonkeyPatch) -> None:
    features, counts = ragged(digits(4), digits(5)[:90])
    start = torch.arange(9).expand(2, -1) * 7
    scattered = ops.kmeans(features, counts, start)
    # What a GPU does: several groups in a block, sums by a product.
    monkeypatch.setattr(ops, "_group_blocks", lambda groups, pairs, device: iter([(0, groups)]))
    product = ops.kmeans(features, counts, start)
    torch.testing.assert_close(product.centroids, scattered.centroids)
    assert torch.equal(product.labels, scattered.labels)
    assert torch.equal(product.sweeps, scattered.sweeps)
    for distinct in (True, False):
        picks = ops.nearest_rows(features, counts, product.centroids, 2, distinct=distinct)
        assert bool((picks < counts[:, None]).all())


def test_inertia_never_rises_with_more_sweeps() -> None:
    x = digits(8)
    start = torch.arange(12)[None]
    counts = torch.tensor([len(x)])
    inertia = [float(ops.kmeans(x[None], counts, start, max_sweeps=n).inertia) for n in (1, 2, 4, 8, 16)]
    assert inertia == sorted(inertia, reverse=True)


def test_empty_clusters() -> None:
    x = torch.cat([Stream(0).normal(20, 3), Stream(1).normal(20, 3) + 30])
    counts = torch.tensor([40])
    start = x[[0, 1, 0, 0]][None]  # two twins that stay empty
    reseeded = ops.kmeans(x[None], counts, start)
    assert reseeded.labels.unique().numel() == 4
    zero = ops.kmeans(x[None], counts, start, max_sweeps=1, empty="zero")
    assert bool((zero.centroids[0, 2:] == 0).all())
    assert float(reseeded.inertia) < float(zero.inertia)


def test_fewer_different_rows_than_clusters_still_ends() -> None:
    x = torch.ones(1, 6, 2)
    found = ops.kmeans(x, torch.tensor([6]), torch.arange(4)[None])
    assert float(found.inertia) == 0
    assert bool(found.centroids.isfinite().all())
    assert ops.nearest_rows(x, torch.tensor([6]), found.centroids).tolist() == [[0, 1, 2, 3]]
    assert ops.nearest_rows(x, torch.tensor([6]), found.centroids, distinct=False).tolist() == [[0] * 4]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_midpoint_ties_go_to_the_lowest_row(dtype: torch.dtype) -> None:
    x = Stream(5).normal(50, 20).to(dtype) * 3 + 1
    for a, b in ((3, 17), (40, 12), (25, 24)):
        middle = ((x[a] + x[b]) / 2)[None, None]
        apart = ops.distances(torch.stack([x[a], x[b]])[None], middle)
        torch.testing.assert_close(apart[0, 0, 0], apart[0, 0, 1], rtol=1e-4, atol=1e-4)
        pair = x.clone() + 100
        pair[a], pair[b] = x[a], x[b]
        picks = ops.nearest_rows(pair[None], torch.tensor([50]), middle)
        assert picks.tolist() == [[min(a, b)]]


def test_distinct_takes_the_next_free_row_and_several_per_centroid() -> None:
    x = torch.tensor([[0.0], [1.0], [2.0], [10.0], [11.0]])[None]
    counts = torch.tensor([5])
    centroids = torch.tensor([[0.1], [0.2], [10.2]])[None]
    assert ops.nearest_rows(x, counts, centroids).tolist() == [[0, 1, 3]]
    assert ops.nearest_rows(x, counts, centroids, distinct=False).tolist() == [[0, 0, 3]]
    assert ops.nearest_rows(x, counts, centroids[:, 1:], 2).tolist() == [[0, 1, 3, 4]]
    assert ops.nearest_rows(x, counts, centroids, 2, distinct=False).tolist() == [[0, 1, 0, 1, 3, 4]]
    assert ops.global_nearest(x, counts, centroids, 3).tolist() == [[0, 3, 1]]


def test_refusals() -> None:
    x, counts = ragged(torch.ones(3, 2), torch.ones(8, 2))
    with pytest.raises(InputError, match="3 rows and 4"):
        ops.kmeans(x, counts, torch.zeros(2, 4, dtype=torch.int64))
    with pytest.raises(InputError, match="outside its group"):
        ops.kmeans(x, counts, torch.tensor([[3], [0]]))
    with pytest.raises(InputError, match="sweep"):
        ops.kmeans(x, counts, torch.tensor([[0], [0]]), max_sweeps=0)
    with pytest.raises(InputError, match="rows"):
        ops.nearest_rows(x, counts, x[:, :2], 2)
    with pytest.raises(InputError, match="rows"):
        ops.start_rows([torch.arange(3)], 4)


@pytest.mark.parametrize("distinct", [True, False])
def test_further_rows_of_some_centroids(distinct: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    features, counts = ragged(digits(0)[:30], digits(1)[:21])
    centroids = features[:, :4]
    further = torch.tensor([[2, 0], [3, 1]])
    base = ops.nearest_rows(features, counts, centroids, 3, distinct=distinct)
    found = ops.nearest_rows(features, counts, centroids, 3, distinct=distinct, further=further)
    assert torch.equal(found[:, :12], base)
    for g in range(2):
        taken = base[g].tolist()
        for turn, k in enumerate(further[g].tolist()):
            used = taken if distinct else base[g, 3 * k : 3 * k + 3].tolist()
            order = (features[g, : counts[g]] - centroids[g, k]).norm(dim=1).argsort().tolist()
            expected = next(row for row in order if row not in used)
            assert int(found[g, 12 + turn]) == expected
            taken.append(expected)
    # What a GPU does: several groups in a block.
    monkeypatch.setattr(ops, "_group_blocks", lambda groups, pairs, device: iter([(0, groups)]))
    assert torch.equal(ops.nearest_rows(features, counts, centroids, 3, distinct=distinct, further=further), found)


def test_too_many_further_rows_are_refused() -> None:
    with pytest.raises(InputError, match="7 are needed"):
        ops.nearest_rows(
            torch.zeros(1, 6, 2), torch.tensor([6]), torch.zeros(1, 3, 2), 2, further=torch.zeros(1, 1).long()
        )


def test_largest_clusters_come_first_and_equal_ones_in_order() -> None:
    labels = torch.tensor([[0, 1, 1, 2, 2, 3, -1, -1], [3, 3, 3, 0, 0, 1, 1, 1]])
    assert ops.largest(labels, 4, 3).tolist() == [[1, 2, 0], [1, 3, 0]]
    assert ops.largest(labels, 4, 0).shape == (2, 0)
    with pytest.raises(InputError, match="at most 4"):
        ops.largest(labels, 4, 5)
