from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from limbeck.core.batch import Moment, View
from limbeck.core.context import Context
from limbeck.core.contracts import Workload
from limbeck.core.errors import InputError
from limbeck.samplers.representative import Representative
from limbeck.training.clustering import Clustering


def test_rows_are_the_picks_of_each_class(context_of: Callable[..., Context], view_of: Callable[..., View]) -> None:
    context = context_of()
    view, sampler = view_of(context), Representative(batch_size=4)
    state = sampler.refresh(sampler.init(context), context, Moment(2, 0, 30), view)
    expected = Clustering().pick(context, view, 4, 1, (2, 0))
    for label in range(3):
        rows = sampler.rows(state, context, Moment(2, 0, 30), label)
        assert torch.equal(rows, expected[label])
        assert len(set(rows.tolist())) == 4
        assert set(rows.tolist()) <= set(context.data.class_rows(label).tolist())


def test_clustering_happens_at_the_interval_only(
    context_of: Callable[..., Context], view_of: Callable[..., View], monkeypatch: pytest.MonkeyPatch
) -> None:
    context, keys = context_of(), []

    def pick(
        self: Clustering,
        context: Context,
        view: View,
        clusters: int,
        per: int,
        key: tuple[int, ...],
        earlier: list | None,
    ) -> list:
        keys.append(key)
        assert (earlier is None) == (len(keys) == 1)
        return [torch.tensor([len(keys)])] * 3

    monkeypatch.setattr(Clustering, "pick", pick)
    view, sampler = view_of(context), Representative(interval=3)
    state, seen = sampler.init(context), []
    for iteration in range(2):
        for step in range(5):
            moment = Moment(iteration, step, 5)
            state = sampler.refresh(state, context, moment, view)
            seen.append(sampler.rows(state, context, moment, 1).item())
    # The count begins anew with every outer iteration.
    assert keys == [(0, 0), (0, 3), (1, 0), (1, 3)]
    assert seen == [1, 1, 1, 2, 2, 3, 3, 3, 4, 4]


def test_iterations_of_one_step_are_counted_instead(
    context_of: Callable[..., Context], view_of: Callable[..., View], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Distribution matching has a network for every step, and would cluster at each of them."""
    keys: list[tuple[int, ...]] = []

    def pick(self: Clustering, context: Context, view: View, clusters: int, per: int, key: Any, earlier: Any) -> list:
        keys.append(key)
        return [torch.tensor([len(keys)])] * 3

    monkeypatch.setattr(Clustering, "pick", pick)
    context, sampler = context_of(), Representative(interval=3)
    state, seen = sampler.init(context), []
    for iteration in range(8):
        moment = Moment(iteration, 0, 1)
        state = sampler.refresh(state, context, moment, view_of(context))
        seen.append(sampler.rows(state, context, moment, 1).item())
    assert keys == [(0, 0), (3, 0), (6, 0)]
    assert seen == [1, 1, 1, 2, 2, 2, 3, 3]


@pytest.mark.parametrize(("iterations", "steps", "rounds"), [(8, 1, 3), (2, 8, 6), (9, 1, 3)])
def test_what_it_costs(context_of: Callable[..., Context], iterations: int, steps: int, rounds: int) -> None:
    context, load = context_of(), Workload(iterations=iterations, steps=steps, real=4, decoded=2)
    assert Representative(interval=3).passes(context, load) == rounds * 36


def test_picks_follow_the_network(context_of: Callable[..., Context], view_of: Callable[..., View]) -> None:
    context, sampler, moment = context_of(), Representative(batch_size=4), Moment(0, 0, 1)
    picks = [sampler.refresh({}, context, moment, view_of(context, key=key))["rows"] for key in (0, 0, 1)]
    assert torch.equal(picks[0], picks[1])
    assert not torch.equal(picks[0], picks[2])


def test_several_images_of_each_cluster(context_of: Callable[..., Context], view_of: Callable[..., View]) -> None:
    context, moment = context_of(), Moment(0, 0, 1)
    view, sampler = view_of(context), Representative(batch_size=7, per_cluster=3)
    state = sampler.refresh({}, context, moment, view)
    # Two clusters of three images: seven are never passed.
    assert torch.equal(sampler.rows(state, context, moment, 0), Clustering().pick(context, view, 2, 3, (0, 0))[0])
    assert len(sampler.rows(state, context, moment, 0)) == 6


def test_small_classes_are_seen_whole(
    context_of: Callable[..., Context], view_of: Callable[..., View], portion: Callable[..., object]
) -> None:
    context, moment = context_of(portion(3, [12, 3, 5])), Moment(0, 0, 1)
    sampler = Representative(batch_size=6)
    state = sampler.refresh({}, context, moment, view_of(context))
    rows = [sampler.rows(state, context, moment, label).tolist() for label in range(3)]
    assert [len(some) for some in rows] == [6, 3, 5]
    assert sorted(rows[1]) == context.data.class_rows(1).tolist()


@pytest.mark.parametrize("fields", [{"interval": 0}, {"per_cluster": 0}, {"batch_size": 2, "per_cluster": 3}])
def test_sizes_that_make_no_sense_are_refused(context_of: Callable[..., Context], fields: dict[str, int]) -> None:
    with pytest.raises(InputError, match="sampler 'representative' needs interval >= 1"):
        Representative(**fields).check(context_of())
