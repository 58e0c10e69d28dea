from __future__ import annotations

import math

import pytest
import torch
from torchvision.transforms import RandomResizedCrop
from torchvision.transforms.v2 import functional as reference

from limbeck.core.streams import Stream
from limbeck.ops.resized_crop import ATTEMPTS, resized_crop, windows

SCALE, RATIO = (0.5, 1.0), (3 / 4, 4 / 3)


def drawn(count: int, size: tuple[int, int], scale: tuple[float, float] = SCALE) -> torch.Tensor:
    stream = Stream(1)
    area, aspect, place = stream.uniform(count, ATTEMPTS), stream.uniform(count, ATTEMPTS), stream.uniform(count, 2)
    return windows(area, aspect, place, size, scale, RATIO)


@pytest.mark.parametrize("antialias", [False, True])
@pytest.mark.parametrize("size", [(8, 8), (24, 24), (16, 20)])
def test_it_equals_torchvision(size: tuple[int, int], antialias: bool) -> None:
    x, chosen = Stream(0).normal(30, 3, *size), drawn(30, size)
    result = resized_crop(x, chosen)
    for image, own, (top, left, tall, broad) in zip(x, result, chosen.tolist(), strict=True):
        expected = reference.resized_crop(image, top, left, tall, broad, list(size), antialias=antialias)
        torch.testing.assert_close(own, expected, rtol=0, atol=1e-12)


def test_one_window_for_all() -> None:
    x, window = Stream(0).normal(4, 3, 8, 8), torch.tensor([1, 2, 5, 6])
    together = resized_crop(x, window.expand(4, 4))
    torch.testing.assert_close(resized_crop(x, window), together, rtol=1e-12, atol=1e-12)
    whole = torch.tensor([0, 0, 8, 8])
    assert torch.equal(resized_crop(x, whole), x)


def test_gradients() -> None:
    x = Stream(0).normal(2, 2, 4, 5).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: resized_crop(x, torch.tensor([[0, 1, 3, 4], [1, 0, 2, 5]])), x)


def test_windows_lie_inside_and_fill_their_ranges() -> None:
    top, left, tall, broad = drawn(20_000, (200, 200)).unbind(1)
    assert (top >= 0).all() and (left >= 0).all()
    assert (top + tall <= 200).all() and (left + broad <= 200).all()
    share, shape = tall * broad / 40_000, broad / tall
    assert share.min() == pytest.approx(0.5, abs=0.01) and share.max() == pytest.approx(1.0, abs=0.02)
    assert shape.min() == pytest.approx(3 / 4, abs=0.01) and shape.max() == pytest.approx(4 / 3, abs=0.01)
    # A free place is taken evenly: the mean over windows of first row / free rows is a half.
    free = 200 - tall
    assert (top[free > 0] / free[free > 0]).mean() == pytest.approx(0.5, abs=0.02)
    assert (top == 0).any() and (top == free)[free > 50].any()


def test_windows_are_distributed_as_torchvision_s() -> None:
    torch_state = torch.get_rng_state()
    torch.manual_seed(0)
    image = torch.zeros(3, 64, 48)
    theirs = torch.tensor([RandomResizedCrop.get_params(image, list(SCALE), list(RATIO)) for _ in range(4000)])
    torch.set_rng_state(torch_state)
    ours = drawn(4000, (64, 48))
    for column in range(4):
        one, other = ours[:, column].double(), theirs[:, column].double()
        deviation = math.sqrt((one.var() + other.var()) / 4000)
        assert abs(one.mean() - other.mean()) < 4 * deviation
        assert one.std() == pytest.approx(float(other.std()), rel=0.06)


def test_the_first_that_fits_and_else_the_centre() -> None:
    # Of a flat image of 4 x 16 no window of more than half its area is at most 4/3 as wide as high.
    assert drawn(5, (4, 16)).tolist() == [[0, 5, 4, 5]] * 5
    assert drawn(5, (16, 4)).tolist() == [[5, 0, 5, 4]] * 5
    area = torch.full((ATTEMPTS,), 0.999, dtype=torch.float64)
    aspect = torch.full((ATTEMPTS,), 0.5, dtype=torch.float64)
    aspect[:3], area[3] = 0.999, 0.0  # three are 20 x 5, one 7 x 7, the others 10 x 10
    place = torch.tensor([0.99, 0.3], dtype=torch.float64)
    assert windows(area, aspect, place, (10, 10), (0.5, 1.0), (0.25, 4.0)).tolist() == [3, 1, 7, 7]
