from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from limbeck.core.focus import Company, Focus, Narrowed, Taught
from limbeck.core.streams import Streams
from limbeck.data.images import ImageSet


def test_classes_show_some_rows_and_the_rest_passes_through(portion: Callable[..., ImageSet]) -> None:
    whole = portion(3, 12)
    shown = [whole.class_rows(label)[label : label + 4 + label] for label in range(3)]
    some = Narrowed(whole, shown)
    assert [some.class_rows(label).tolist() for label in range(3)] == [rows.tolist() for rows in shown]
    assert some.class_counts() == [4, 5, 6]
    assert len(some) == len(whole) and torch.equal(some.labels, whole.labels) and some.spec is whole.spec
    every = torch.arange(len(whole))
    assert torch.equal(some.images(every), whole.images(every))
    moved = some.to(torch.device("cpu"), torch.float64)
    assert moved.images(every).dtype == torch.float64 and moved.class_counts() == [4, 5, 6]


def focus(mixing: float, rest: int = 40) -> Focus:
    pool, others = torch.arange(100, 200), torch.arange(rest)
    return Focus(pool=(pool,), rest=(others,), initial=(pool[:3],), mixing=mixing)


@pytest.mark.parametrize(("mixing", "count"), [(0.0, 0), (0.25, 4), (0.5, 8), (0.49, 8), (1.0, 16)])
def test_a_share_of_a_batch_is_exchanged(mixing: float, count: int) -> None:
    batch = torch.arange(100, 116)
    mixed = focus(mixing).mixed(batch, 0, Streams(0)("mixing"))
    came = mixed[mixed < 100]
    assert len(came) == count and len(came.unique()) == count
    stayed = mixed >= 100
    assert torch.equal(mixed[stayed], batch[stayed])
    assert batch.tolist() == list(range(100, 116))  # the sampler's own is left alone


def test_what_is_exchanged_is_uniform() -> None:
    places, drawn = torch.zeros(8), torch.zeros(10)
    for number in range(4000):
        mixed = focus(0.25, rest=10).mixed(torch.arange(100, 108), 0, Streams(0)("mixing", number))
        places += mixed < 100
        drawn += torch.bincount(mixed[mixed < 100], minlength=10)
    # 2 of 8 places and 2 of 10 rows each time; four standard deviations.
    assert (places - 1000).abs().max() < 4 * (4000 * 0.25 * 0.75) ** 0.5
    assert (drawn - 800).abs().max() < 4 * (4000 * 0.2 * 0.8) ** 0.5


def test_few_others_exchange_few() -> None:
    batch = torch.arange(100, 116)
    assert (focus(0.5, rest=3).mixed(batch, 0, Streams(0)("mixing")) < 100).sum() == 3
    assert focus(0.5, rest=0).mixed(batch, 0, Streams(0)("mixing")) is batch


def test_who_sees_what(portion: Callable[..., ImageSet]) -> None:
    data = portion(1, 12)
    rows = data.class_rows(0)
    shown = Focus((rows[:6],), (rows[:9],), (rows[2:4],))
    assert shown.sampled(data).class_rows(0).tolist() == rows[:6].tolist()
    assert shown.begun_with(data).class_rows(0).tolist() == rows[2:4].tolist()


def test_company_at_random() -> None:
    images = torch.arange(12.0).view(2, 6, 1, 1, 1)
    company = Company(images, 3)
    assert torch.equal(company.some(1, 6, Streams(0)("company")), images[1])  # all, in their order
    found = [company.some(1, 4, Streams(0)("company", number)).flatten().tolist() for number in range(20)]
    assert all(len(set(some)) == 4 and set(some) <= set(range(6, 12)) for some in found)
    assert len({tuple(some) for some in found}) > 10
    assert company.some(0, 0, Streams(0)("company")).shape == (0, 1, 1, 1)


def test_what_networks_are_taught(portion: Callable[..., ImageSet]) -> None:
    data = portion(2, 6)
    further, labels = torch.full((2, 1, 8, 8), 0.5), torch.tensor([1, 0])
    taught = Taught(torch.tensor([3, 5, 9]), further, labels)
    assert len(taught) == 5
    images, said = taught.batch(data, torch.tensor([4, 0, 2]))
    real = data.spec.normalization.apply(data.images(torch.tensor([3, 9])))
    assert torch.equal(images, torch.cat([real, further[1:]]))
    assert said.tolist() == [*data.labels[[3, 9]].tolist(), 0]
