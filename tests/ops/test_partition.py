from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from limbeck.core.errors import InputError
from limbeck.core.streams import Stream
from limbeck.ops import partition


def images(count: int, height: int, width: int | None = None) -> torch.Tensor:
    return Stream(0).normal(count, 2, height, width or height)


@pytest.mark.parametrize("order", ["rows", "columns"])
@pytest.mark.parametrize(("size", "factor"), [(8, 2), (12, 3), (12, 4)])
def test_decode_gives_back_what_was_encoded(size: int, factor: int, order: partition.Order) -> None:
    # Images that are constant per source survive being made smaller and larger.
    sources = images(2 * factor**2, size).mean(dim=(2, 3), keepdim=True).expand(-1, -1, size, size)
    stored = partition.encode(sources, factor, order=order)
    assert stored.shape == (2, 2, size, size)
    torch.testing.assert_close(partition.decode(stored, factor, order=order), sources)


@pytest.mark.parametrize(("size", "factor"), [(28, 3), (16, 3), (10, 4), (5, 4), (17, 2)])
def test_read_grid_never_shows_a_neighbour(size: int, factor: int) -> None:
    sources = torch.arange(factor**2).view(-1, 1, 1, 1).expand(-1, 1, size, size).double() + 10
    decoded = partition.decode(partition.encode(sources, factor), factor, pad=10.0 - 1)
    for k, image in enumerate(decoded):
        assert float(image[0, 0, 0]) == pytest.approx(k + 10) or float(image.max()) < 9.5
        assert float(image.max()) <= k + 10 + 1e-9


def test_grids_agree_where_the_parts_are_equal_or_only_the_last_is_smaller() -> None:
    for size, factor, agree in ((32, 2, True), (32, 3, True), (28, 3, False), (16, 3, False)):
        sources = images(factor**2, size)
        same = torch.equal(partition.encode(sources, factor), partition.encode(sources, factor, "official"))
        assert same is agree


def test_decode_is_part_after_part() -> None:
    x = images(3, 8)
    y = partition.decode(x, 2)
    quarter = functional.interpolate(x[:, :, :4, 4:], size=(8, 8), mode="bilinear", align_corners=False)
    torch.testing.assert_close(y[3:6], quarter)
    assert partition.stored_rows(3, 2).tolist() == [0, 1, 2] * 4
    assert partition.decode(x, 1) is x


def test_time_axis_only() -> None:
    x = images(2, 6, 10)
    y = partition.decode(x, 3, axes="columns", pad=0.0)
    assert y.shape == (6, 2, 6, 10)
    assert len(partition.stored_rows(2, 3, axes="columns")) == 6
    padded = functional.pad(x, (0, 2))
    last = functional.interpolate(padded[..., 8:], size=(6, 10), mode="bilinear", align_corners=False)
    torch.testing.assert_close(y[4:], last)


@pytest.mark.parametrize("factor", [2, 3])
def test_gradients(factor: int) -> None:
    x = images(1, 5)[:, :1].requires_grad_()
    assert torch.autograd.gradcheck(lambda x: partition.decode(x, factor), x)
    assert torch.autograd.gradgradcheck(lambda x: partition.decode(x, factor), x)


@pytest.mark.parametrize("count", [1, 5, 20, 50, 127, 128, 200])
@pytest.mark.parametrize("factor", [1, 2, 3, 4])
def test_bound_plan(count: int, factor: int) -> None:
    plan = partition.bound_plan(count, factor, 128)
    assert sum(taken for _, taken in plan) == count
    assert sum(taken * each**2 for each, taken in plan) <= max(128, count)
    assert [each for each, _ in plan] == sorted((each for each, _ in plan), reverse=True)
    x = torch.arange(count).view(-1, 1, 1, 1).expand(-1, 1, 12, 12).double()
    decoded = partition.decode_bound(x, factor, 128)
    rows = partition.stored_rows(count, factor, "bound", bound=128)
    torch.testing.assert_close(decoded[:, 0, 0, 0], rows.double())


def test_multi_counts() -> None:
    x = torch.arange(4).view(-1, 1, 1, 1).expand(-1, 1, 12, 12).double()
    rows = partition.stored_rows(4, 3, "multi")
    torch.testing.assert_close(partition.decode_multi(x, 3)[:, 0, 0, 0], rows.double())


def test_refusals() -> None:
    with pytest.raises(InputError, match="multiple"):
        partition.encode(images(5, 8), 2)
    with pytest.raises(InputError, match="1 or more"):
        partition.decode(images(1, 8), 0)
