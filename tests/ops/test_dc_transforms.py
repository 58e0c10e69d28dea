from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy import ndimage

from limbeck.core.streams import Stream
from limbeck.data import Data
from limbeck.ops import dc_transforms

SIZES = [(8, 8), (9, 9), (28, 28), (8, 12)]


def images(count: int, height: int, width: int) -> torch.Tensor:
    return Stream(1).normal(count, 2, height, width)


def canvas_scale(image: torch.Tensor, rows: float, columns: float) -> torch.Tensor:
    """The same with a canvas of its own for one image ``[C, H, W]``."""
    channels, height, width = image.shape
    tall, broad = int(rows * height), int(columns * width)
    side = max(tall, broad, height, width)
    canvas = torch.zeros(channels, side, side, dtype=image.dtype)
    top, left = (side - tall) // 2, (side - broad) // 2
    canvas[:, top : top + tall, left : left + broad] = F.interpolate(image[None], size=(tall, broad))[0]
    top, left = (side - height) // 2, (side - width) // 2
    return canvas[:, top : top + height, left : left + width]


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_scale_equals_a_resize_on_a_canvas(height: int, width: int) -> None:
    factors = Stream(2).uniform(60, 2) * 0.4 + 0.8
    factors[:4] = torch.tensor([[1.0, 1.0], [0.8, 1.2], [1.2, 0.8], [0.999, 1.001]])
    x = images(60, height, width)
    scaled = dc_transforms.scale(x, factors[:, 0], factors[:, 1])
    assert torch.equal(scaled[0], x[0])
    for image, result, (rows, columns) in zip(x, scaled, factors.tolist(), strict=True):
        assert torch.equal(result, canvas_scale(image, rows, columns))


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_rotation_equals_that_of_scipy(height: int, width: int) -> None:
    degrees = torch.arange(-45, 45)
    x, fill = images(len(degrees), height, width), torch.tensor(0.3, dtype=torch.float64)
    rotated = dc_transforms.rotate(x, degrees, fill)
    compared = 0
    for image, result, angle in zip(x, rotated, degrees.tolist(), strict=True):
        whole = ndimage.rotate(image.numpy(), angle=angle, axes=(-2, -1), cval=0.3)
        top, left = (whole.shape[1] - height) // 2, (whole.shape[2] - width) // 2
        if top >= 0 and left >= 0:  # a flat image may not fit its own window
            np.testing.assert_allclose(result, whole[:, top : top + height, left : left + width], rtol=0, atol=1e-12)
            compared += 1
    assert compared == (90 if height == width else compared) and compared > 40


def test_digits_turn_counter_clockwise_and_keep_what_is_inside(digits: Data) -> None:
    x = digits.train.images(range(20)).float()
    turned = dc_transforms.rotate(x, torch.full((20,), 30), torch.tensor(0.0))
    expected = np.stack([ndimage.rotate(image, 30, axes=(1, 2), reshape=False) for image in x.numpy()])
    # The canvas of 8 pixels at 30 degrees is 11 wide, whose centre lies half a pixel beside that of 8.
    assert not np.allclose(turned, expected, atol=0.1)
    centred = dc_transforms.rotate(x, torch.full((20,), 15), torch.tensor(0.0))  # 10 wide
    np.testing.assert_allclose(
        centred, np.stack([ndimage.rotate(image, 15, axes=(1, 2), reshape=False) for image in x.numpy()]), atol=1e-5
    )


def test_angle_zero_changes_nothing_and_a_flat_image_stays_flat() -> None:
    x = images(1, 8, 8)
    torch.testing.assert_close(dc_transforms.rotate(x, torch.tensor([0]), torch.tensor(9.0)), x)
    flat = dc_transforms.rotate(torch.full((2, 1, 8, 8), 0.7), torch.tensor([17, -40]), torch.tensor(0.7))
    torch.testing.assert_close(flat, torch.full((2, 1, 8, 8), 0.7))


def test_gradients() -> None:
    x = images(2, 4, 5).requires_grad_()
    fill = torch.tensor(0.1, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x: dc_transforms.rotate(x, torch.tensor([20, -45]), fill), x)
    factors = torch.tensor([0.8, 1.2], dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x: dc_transforms.scale(x, factors, factors.flip(0)), x)
