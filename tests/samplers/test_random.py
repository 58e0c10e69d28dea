from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from limbeck.core.batch import Moment, View
from limbeck.core.context import Context
from limbeck.core.errors import InputError
from limbeck.samplers.random import Random


def test_a_batch_holds_different_images_of_the_class(context_of: Callable[..., Context]) -> None:
    context, sampler = context_of(), Random(batch_size=5)
    for step in range(4):
        rows = sampler.rows({}, context, Moment(0, step, 4), 1).tolist()
        assert len(set(rows)) == 5
        assert set(rows) <= set(context.data.class_rows(1).tolist())


def test_all_images_are_equally_likely(context_of: Callable[..., Context]) -> None:
    context, sampler = context_of(), Random(batch_size=3)
    drawn = torch.cat([sampler.rows({}, context, Moment(0, step, 2000), 2) for step in range(2000)])
    shares = [(drawn == row).double().mean().item() for row in context.data.class_rows(2)]
    assert shares == pytest.approx([1 / 12] * 12, abs=0.012)


def test_steps_classes_and_seeds_are_independent(context_of: Callable[..., Context]) -> None:
    sampler = Random(batch_size=12)
    seen = set()
    for seed in (0, 1):
        context = context_of(seed=seed)
        for label in (0, 1):
            members = context.data.class_rows(label).tolist()
            for step in (0, 1):
                rows = sampler.rows({}, context, Moment(0, step, 2), label).tolist()
                seen.add(tuple(members.index(row) for row in rows))
    assert len(seen) == 8


def test_a_small_class_is_seen_whole(context_of: Callable[..., Context], view_of: Callable[..., View]) -> None:
    context, sampler = context_of(), Random(batch_size=100)
    state = sampler.refresh(sampler.init(context), context, Moment(0, 0, 1), view_of(context))
    rows = sampler.rows(state, context, Moment(0, 0, 1), 0)
    assert sorted(rows.tolist()) == context.data.class_rows(0).tolist()


def test_an_empty_batch_is_refused(context_of: Callable[..., Context]) -> None:
    with pytest.raises(InputError, match="sampler 'random' needs a batch size of at least 1, not 0"):
        Random(batch_size=0).check(context_of())
