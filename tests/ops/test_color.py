from __future__ import annotations

import itertools

import pytest
import torch
from torchvision.transforms.v2 import functional as reference

from limbeck.core.streams import Stream
from limbeck.ops import color

BY_NUMBER = (reference.adjust_brightness, reference.adjust_contrast, reference.adjust_saturation)
LUMA = 2e-4
"""torchvision weighs red with 0.2989 where we and IDC have 0.299."""


def images(count: int = 6) -> torch.Tensor:
    """Images that no factor up to 1.4 takes out of [0, 1], where torchvision would clamp."""
    return 0.3 + 0.2 * Stream(0).uniform(count, 3, 8, 9)


def test_grey_is_the_weighted_mean() -> None:
    x = images()
    torch.testing.assert_close(color.grey(x), reference.rgb_to_grayscale(x), rtol=0, atol=LUMA)
    white = torch.ones(1, 3, 2, 2, dtype=torch.float64)
    torch.testing.assert_close(color.grey(white), white[:, :1])


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_jitter_equals_torchvision_in_whatever_order(order: tuple[int, ...]) -> None:
    x, factors = images(1), torch.tensor([1.25, 0.7, 1.4], dtype=torch.float64)
    expected = x
    for kind in order:
        expected = BY_NUMBER[kind](expected, float(factors[kind]))
    torch.testing.assert_close(color.jitter(x, factors), expected, rtol=0, atol=LUMA)


def test_each_image_has_its_own_numbers() -> None:
    x, stream = images(), Stream(4)
    factors = 0.6 + 0.8 * stream.uniform(6, 3)
    alphas = 0.1 * stream.normal(6, 3)
    jittered, lit = color.jitter(x, factors), color.lighting(x, alphas)
    for row in range(6):
        own = x[row : row + 1]
        torch.testing.assert_close(jittered[row : row + 1], color.jitter(own, factors[row]))
        torch.testing.assert_close(lit[row : row + 1], color.lighting(own, alphas[row]))


@pytest.mark.parametrize("kind", range(3))
def test_factor_one_changes_nothing_and_factor_zero_leaves_the_base(kind: int) -> None:
    x, factors = images(2), torch.ones(3, dtype=torch.float64)
    torch.testing.assert_close(color.jitter(x, factors), x)
    factors[kind] = 0
    grey = color.grey(x)
    base = (torch.zeros_like(grey), grey.mean(dim=(2, 3), keepdim=True), grey)[kind]
    torch.testing.assert_close(color.jitter(x, factors), base.expand_as(x))


def test_nothing_is_clamped() -> None:
    x = images(1) + 0.6
    doubled = color.jitter(x, torch.tensor([2.0, 1.0, 1.0]))
    torch.testing.assert_close(doubled, 2 * x)


def test_lighting_shifts_along_the_principal_colours() -> None:
    x = images(3)
    alphas = torch.tensor([0.2, -1.0, 3.0], dtype=torch.float64)
    red = 0.2 * 0.2175 * -0.5675 - 0.0188 * 0.7192 + 3 * 0.0045 * 0.4009
    green = 0.2 * 0.2175 * -0.5808 - 0.0188 * -0.0045 + 3 * 0.0045 * -0.8140
    blue = 0.2 * 0.2175 * -0.5836 - 0.0188 * -0.6948 + 3 * 0.0045 * 0.4203
    expected = torch.tensor([red, green, blue], dtype=torch.float64).view(3, 1, 1).expand(3, 3, 8, 9)
    torch.testing.assert_close(color.lighting(x, alphas) - x, expected)
    # The three directions are of length 1 and at right angles.
    directions = torch.stack([color.lighting(x * 0, row)[0, :, 0, 0] for row in torch.eye(3, dtype=torch.float64)])
    unit = directions / torch.tensor([[0.2175], [0.0188], [0.0045]], dtype=torch.float64)
    torch.testing.assert_close(unit @ unit.T, torch.eye(3, dtype=torch.float64), rtol=0, atol=1e-3)


def test_gradients() -> None:
    x = images(2)[:, :, :3, :3].requires_grad_()
    factors = torch.tensor([[0.7, 1.3, 0.9], [1.1, 0.6, 1.4]], dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x: color.jitter(x, factors), x)
