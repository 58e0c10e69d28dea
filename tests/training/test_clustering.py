from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from limbeck.core.batch import View
from limbeck.core.context import Context
from limbeck.core.plain import decode_dataclass, encode
from limbeck.training.clustering import Clustering, _Share
from limbeck.training.embedding import embed


def lloyd(features: Tensor, start: Tensor, per: int) -> list[int]:
    """k-means and the free rows nearest to the centres, one number at a time; no cluster may run empty."""
    centres = features[start].clone()
    for _ in range(100):
        nearest = torch.cdist(features, centres).argmin(dim=1)
        moved = torch.stack([features[nearest == k].mean(dim=0) for k in range(len(centres))])
        shift = (moved - centres).square().sum()
        centres = moved
        if shift <= 1e-4:
            break
    taken: list[int] = []
    for centre in centres:
        order = (features - centre).norm(dim=1).argsort().tolist()
        taken += [row for row in order if row not in taken][:per]
    return taken


@pytest.mark.parametrize(("clusters", "per"), [(3, 1), (2, 2)])
def test_picks_equal_k_means_written_out(
    context_of: Callable[..., Context], view_of: Callable[..., View], clusters: int, per: int
) -> None:
    context = context_of()
    view = view_of(context)
    picks = Clustering().pick(context, view, clusters, per, (4, 2))
    for label in range(3):
        members = context.data.class_rows(label)
        start = context.streams("cluster starts", 4, 2, label).permutation(12)[:clusters]
        expected = lloyd(embed(view, context.data, members), start, per)
        assert picks[label].tolist() == members[expected].tolist()


def test_classes_of_unequal_sizes_are_clustered_as_if_alone(
    context_of: Callable[..., Context], view_of: Callable[..., View], portion: Callable[..., object]
) -> None:
    context = context_of(portion(4, [12, 5, 9, 2]))
    view, clustering = view_of(context), Clustering()
    picks = clustering.pick(context, view, 6, 1, (0,))
    assert [len(rows) for rows in picks] == [6, 5, 6, 2]
    for label, rows in enumerate(picks):
        members = context.data.class_rows(label)
        assert len(set(rows.tolist())) == len(rows) and set(rows.tolist()) <= set(members.tolist())
        first = context.streams("cluster starts", 0, label).permutation(len(members))[: len(rows)]
        (alone,) = clustering._pick_together(
            context,
            view,
            [label],
            [context.data.class_rows(k) for k in range(4)],
            first.unsqueeze(0),
            _Share(len(rows), 1, 0),
            None,
        )
        assert torch.equal(rows, members[alone])


def test_a_class_too_small_for_several_images_per_cluster_gets_fewer_clusters(
    context_of: Callable[..., Context], view_of: Callable[..., View], portion: Callable[..., object]
) -> None:
    context = context_of(portion(3, [12, 5, 3]))
    picks = Clustering().pick(context, view_of(context), 4, 2, ())
    assert [len(rows) for rows in picks] == [8, 4, 2]


def test_start_rows(context_of: Callable[..., Context]) -> None:
    context = context_of()
    members = context.data.class_rows(1)
    ours = Clustering()._first(context, 1, members, 12, 1, (0,), None)
    assert sorted(ours.tolist()) == list(range(12))
    official = Clustering.official()._first(context, 1, members, 200, 1, (0,), None)
    assert len(official) == 200 and set(official.tolist()) == set(range(12))


@pytest.mark.parametrize(("clusters", "per"), [(3, 1), (2, 2)])
def test_a_warm_start_goes_on_from_earlier_picks_for_a_few_sweeps(
    context_of: Callable[..., Context], view_of: Callable[..., View], clusters: int, per: int
) -> None:
    context = context_of()
    before, now = view_of(context, key=0), view_of(context, key=1)
    warm = Clustering(warm_sweeps=1)
    earlier = warm.pick(context, before, clusters, per, (0,))
    assert [rows.tolist() for rows in earlier] == [
        rows.tolist() for rows in Clustering().pick(context, before, clusters, per, (0,))
    ]
    found = warm.pick(context, now, clusters, per, (1,), earlier)
    for label, rows in enumerate(found):
        members = context.data.class_rows(label)
        features = embed(now, context.data, members)
        start = features[torch.searchsorted(members, earlier[label][::per].contiguous())]
        nearest = torch.cdist(features, start).argmin(dim=1)
        centres = torch.stack([features[nearest == k].mean(dim=0) for k in range(clusters)])
        taken: list[int] = []
        for centre in centres:
            order = (features - centre).norm(dim=1).argsort().tolist()
            taken += [row for row in order if row not in taken][:per]
        assert rows.tolist() == members[taken].tolist()


def test_classes_are_clustered_alike_in_any_grouping(
    context_of: Callable[..., Context], view_of: Callable[..., View], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A GPU takes many classes at once, a CPU one; the picks are the same."""
    context = context_of()
    view, alone = view_of(context), Clustering().pick(context_of(), view_of(context), 4, 1, ())
    monkeypatch.setattr("limbeck.training.clustering._groups", lambda context, labels, members: [labels])
    together = Clustering().pick(context, view, 4, 1, ())
    assert [rows.tolist() for rows in together] == [rows.tolist() for rows in alone]


def test_the_authors_code_may_pick_an_image_twice(
    context_of: Callable[..., Context], view_of: Callable[..., View]
) -> None:
    context = context_of()
    view, official = view_of(context), Clustering.official()
    assert official == Clustering(normalize=False, repeated_starts=True, empty="zero", distinct=False)
    rows = official.pick(context, view, 12, 1, ())
    assert all(len(some) == 12 for some in rows)
    # 12 starts among 12 rows, with repetition: twins stay empty, become zero and share their pick.
    assert any(len(set(some.tolist())) < 12 for some in rows)
    assert all(len(set(some.tolist())) == 12 for some in Clustering().pick(context, view, 12, 1, ()))


def test_candidates_are_a_fresh_draw_of_the_class(
    context_of: Callable[..., Context], view_of: Callable[..., View]
) -> None:
    context = context_of()
    view, some = view_of(context), Clustering(candidates=5)
    picked: list[set[int]] = []
    for key in ((0, 0), (0, 1)):
        # As many clusters as candidates: all of them are picked.
        picks = some.pick(context, view, 5, 1, key)
        for label in range(3):
            members = context.data.class_rows(label)
            order = context.streams("cluster candidates", *key, label).permutation(12)[:5]
            assert set(picks[label].tolist()) == set(members[order].tolist())
        picked.append(set(torch.cat(picks).tolist()))
    assert picked[0] != picked[1]


@pytest.mark.parametrize("candidates", [0, 12, 100])
def test_all_images_are_candidates_when_there_are_no_more(
    context_of: Callable[..., Context], view_of: Callable[..., View], candidates: int
) -> None:
    context = context_of()
    view = view_of(context)
    found, every = (Clustering(candidates=count).pick(context, view, 4, 1, (1,)) for count in (candidates, 0))
    assert all(torch.equal(one, other) for one, other in zip(found, every, strict=True))


def test_raw_or_normalized_images_are_embedded(
    context_of: Callable[..., Context], view_of: Callable[..., View], monkeypatch: pytest.MonkeyPatch
) -> None:
    context, seen = context_of(), []

    def record(view: View, data: object, rows: Tensor, normalize: bool = True, **rest: Any) -> Tensor:
        seen.append(normalize)
        return embed(view, context.data, rows, normalize, **rest)

    monkeypatch.setattr("limbeck.training.clustering.embed", record)
    view = view_of(context)
    Clustering().pick(context, view, 2, 1, ())
    Clustering(normalize=False).pick(context, view, 2, 1, ())
    assert seen == [True] * 3 + [False] * 3


def test_logits_can_be_clustered(
    context_of: Callable[..., Context], view_of: Callable[..., View], portion: Callable[..., object]
) -> None:
    context = context_of(portion(3, 30))
    view = view_of(context)
    by_logits = Clustering(features="logits")
    picks = by_logits.pick(context, view, 3, 1, ())
    for label in range(3):
        members = context.data.class_rows(label)
        logits = view.network(view.weights, context.spec.normalization.apply(context.data.images(members)), train=False)
        start = context.streams("cluster starts", label).permutation(30)[:3]
        assert picks[label].tolist() == members[lloyd(logits.detach(), start, 1)].tolist()
    others = Clustering().pick(context, view, 3, 1, ())
    assert any(not torch.equal(one, other) for one, other in zip(picks, others, strict=True))
    assert by_logits.needs() == {"networks"} and Clustering().needs() == {"embeddings"}


@pytest.mark.parametrize(("images", "clusters"), [(8, 3), (10, 4), (3, 3)])
def test_images_are_spread_over_clusters_and_the_rest_goes_to_the_largest(
    context_of: Callable[..., Context],
    view_of: Callable[..., View],
    portion: Callable[..., object],
    images: int,
    clusters: int,
) -> None:
    context = context_of(portion(3, 40))
    view = view_of(context)
    picks = Clustering().spread(context, view, images, clusters, (7,))
    per, rest = divmod(images, clusters)
    for label in range(3):
        members = context.data.class_rows(label)
        features = embed(view, context.data, members)
        centres = features[context.streams("cluster starts", 7, label).permutation(40)[:clusters]]
        for _ in range(100):
            nearest = torch.cdist(features, centres).argmin(dim=1)
            centres = torch.stack([features[nearest == k].mean(dim=0) for k in range(clusters)])
        sizes = [int((nearest == k).sum()) for k in range(clusters)]
        chosen: list[int] = []
        for count, some in ((per, range(clusters)), (1, sorted(range(clusters), key=lambda k: -sizes[k])[:rest])):
            for k in some:
                order = (features - centres[k]).norm(dim=1).argsort().tolist()
                chosen += [row for row in order if row not in chosen][:count]
        assert picks[label].tolist() == members[chosen].tolist()


@pytest.mark.parametrize("clusters", [1, 4, 10, 100])
def test_a_small_class_gives_all_its_images_whatever_the_clusters(
    context_of: Callable[..., Context], view_of: Callable[..., View], portion: Callable[..., object], clusters: int
) -> None:
    context = context_of(portion(3, [30, 19, 4]))
    picks = Clustering().spread(context, view_of(context), 20, clusters, ())
    assert [len(rows) for rows in picks] == [20, 19, 4]
    for label, rows in enumerate(picks):
        assert len(set(rows.tolist())) == len(rows)
        assert set(rows.tolist()) <= set(context.data.class_rows(label).tolist())


def test_one_image_of_every_cluster_is_what_is_picked_otherwise(
    context_of: Callable[..., Context], view_of: Callable[..., View]
) -> None:
    context = context_of()
    view = view_of(context)
    for clustering in (Clustering(), Clustering.official()):
        one, other = clustering.spread(context, view, 5, 9, (3,)), clustering.pick(context, view, 5, 1, (3,))
        assert [rows.tolist() for rows in one] == [rows.tolist() for rows in other]


def test_settings_of_earlier_run_files_clustered_embeddings() -> None:
    plain = encode(Clustering(max_sweeps=7))
    del plain["features"]
    assert decode_dataclass(Clustering, plain, "clustering") == Clustering(max_sweeps=7)
