from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from limbeck.core.batch import Moment, View
from limbeck.core.context import Context
from limbeck.core.errors import InputError
from limbeck.samplers.epochwise import Epochwise


def walk(sampler: Epochwise, context: Context, label: int, count: int) -> list[torch.Tensor]:
    return [sampler.rows({}, context, Moment(*divmod(number, 5), 5), label) for number in range(count)]


def test_an_epoch_visits_every_image_once(context_of: Callable[..., Context]) -> None:
    context = context_of()
    batches = walk(Epochwise(batch_size=4), context, 1, 6)
    members = context.data.class_rows(1).tolist()
    epochs = [torch.cat(batches[:3]).tolist(), torch.cat(batches[3:]).tolist()]
    assert [sorted(epoch) for epoch in epochs] == [members, members]
    assert epochs[0] != epochs[1]


def test_the_incomplete_batch_of_an_epoch_is_dropped(context_of: Callable[..., Context]) -> None:
    batches = walk(Epochwise(batch_size=5), context_of(), 0, 4)
    for epoch in (torch.cat(batches[:2]), torch.cat(batches[2:])):
        assert len(set(epoch.tolist())) == 10


def test_a_small_class_is_seen_whole(context_of: Callable[..., Context], portion: Callable[..., object]) -> None:
    context = context_of(portion(3, [12, 3, 12]))
    for rows in walk(Epochwise(batch_size=8), context, 1, 3):
        assert sorted(rows.tolist()) == context.data.class_rows(1).tolist()


def test_batches_follow_from_the_position(context_of: Callable[..., Context], view_of: Callable[..., View]) -> None:
    context, sampler = context_of(), Epochwise(batch_size=4)
    state = sampler.init(context)
    moments = [Moment(*divmod(number, 5), 5) for number in range(8)]
    forwards = [sampler.rows(state, context, moment, 2) for moment in moments]
    assert sampler.refresh(state, context, moments[0], view_of(context)) is state
    backwards = [sampler.rows({}, context, moment, 2) for moment in reversed(moments)][::-1]
    assert all(torch.equal(one, other) for one, other in zip(forwards, backwards, strict=True))


def test_classes_have_orders_of_their_own(context_of: Callable[..., Context]) -> None:
    context, sampler = context_of(), Epochwise(batch_size=12)
    orders = []
    for label in (0, 1):
        members = context.data.class_rows(label).tolist()
        orders.append([members.index(row) for row in sampler.rows({}, context, Moment(0, 0, 5), label).tolist()])
    assert orders[0] != orders[1]


def test_an_empty_batch_is_refused(context_of: Callable[..., Context]) -> None:
    with pytest.raises(InputError, match="sampler 'epochwise' needs a batch size of at least 1, not 0"):
        Epochwise(batch_size=0).check(context_of())
