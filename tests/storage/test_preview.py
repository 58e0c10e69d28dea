from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from limbeck.core.distilled import Distilled
from limbeck.core.streams import Stream
from limbeck.data import Data
from limbeck.data.images import ImageSet
from limbeck.methods.random import random
from limbeck.parametrizations.plain import Plain
from limbeck.storage.preview import contact_sheet, picture, shown, shown_range


def tiles(images: torch.Tensor, scale: int, gap: int = 2) -> np.ndarray:
    """The picture of each image, ``[rows, columns, H, W, 3]``, cut out of the grid."""
    rows, columns, _, height, width = images.shape
    pixels = np.asarray(picture(images, scale, gap))
    high, wide = scale * height, scale * width
    assert pixels.shape == (rows * (high + gap) + gap, columns * (wide + gap) + gap, 3)
    cut = np.stack(
        [
            pixels[gap + r * (high + gap) :, gap + c * (wide + gap) :][:high, :wide]
            for r in range(rows)
            for c in range(columns)
        ]
    )
    return cut.reshape(rows, columns, high, wide, 3)


@pytest.mark.parametrize("channels", [1, 3, 2, 5])
def test_every_image_is_where_it_belongs(channels: int) -> None:
    images = Stream(0).uniform(2, 3, channels, 4, 5)
    shown = images if channels in (1, 3) else images.mean(dim=2, keepdim=True)
    expected = (shown.float() * 255).round().to(torch.uint8).movedim(2, -1).expand(2, 3, 4, 5, 3).numpy()
    assert np.array_equal(tiles(images, scale=1), expected)
    large = tiles(images, scale=3)
    assert np.array_equal(large[:, :, ::3, ::3], expected) and np.array_equal(large[:, :, 2::3, 2::3], expected)


def test_values_outside_are_clamped_and_gaps_are_white() -> None:
    images = torch.tensor([-1.0, 2.0]).view(1, 2, 1, 1, 1)
    pixels = np.asarray(picture(images, scale=1, gap=1))[..., 0]
    assert pixels.tolist() == [[255] * 5, [255, 0, 255, 255, 255], [255] * 5]


def make(portion: Callable[..., ImageSet], ipc: int, space: str) -> Distilled:
    data = portion(3, 4)
    stored = Stream(0).uniform(3, ipc, *data.spec.shape).float()
    if space == "normalized":
        stored = data.spec.normalization.apply(stored)
    return Distilled(stored, data.spec, random().with_(parametrization=Plain(space=space)), seed=0)


def test_contact_sheet_has_a_row_per_class(portion: Callable[..., ImageSet]) -> None:
    # Images of 8 pixels are shown at 48.
    assert contact_sheet(make(portion, 4, "unit")).size == (4 * 50 + 2, 3 * 50 + 2)
    assert contact_sheet(make(portion, 4, "unit"), classes=2, per_class=3, scale=1).size == (3 * 10 + 2, 2 * 10 + 2)


def test_normalized_images_are_shown_as_they_look(portion: Callable[..., ImageSet]) -> None:
    shown = [np.asarray(contact_sheet(make(portion, 2, space))).astype(int) for space in ("unit", "normalized")]
    assert np.abs(shown[0] - shown[1]).max() <= 1


def test_a_single_image(portion: Callable[..., ImageSet]) -> None:
    assert contact_sheet(make(portion, 1, "unit"), classes=1, scale=1).size[0] >= 8


def test_low_frequencies_are_at_the_bottom_and_loud_ones_bright() -> None:
    image = torch.zeros(1, 1, 1, 3, 2)
    image[0, 0, 0, 0] = 1.0  # the lowest frequency is loud
    pixels = np.asarray(picture(image, scale=1, gap=0, sound=True)).astype(int)
    assert pixels.shape == (3, 2, 3)
    assert pixels[2].sum() > 5 * pixels[0].sum() and np.array_equal(pixels[0], pixels[1])
    levels = torch.linspace(0, 1, 32).view(1, 1, 1, 1, 32)
    light = np.asarray(picture(levels, scale=1, gap=0, sound=True))[0] @ np.array([0.2126, 0.7152, 0.0722])
    assert (np.diff(light) > 0).all()


def test_whitened_images_are_shown_as_they_look(whitened: Data) -> None:
    unit = Distilled(Stream(0).uniform(10, 2, 1, 8, 8).float(), whitened.spec, random(), seed=0)
    recipe = random().with_(parametrization=Plain(space="normalized"))
    stored = whitened.spec.normalization.apply(unit.stored)
    seen = Distilled(stored, whitened.spec, recipe, seed=0)
    shown, expected = (np.asarray(contact_sheet(one)).astype(int) for one in (seen, unit))
    assert shown.shape == expected.shape and abs(shown - expected).max() <= 1


def stretched(portion: Callable[..., ImageSet], low: float, high: float, space: str = "normalized") -> Distilled:
    """Images with values from low to high, learnt in a space."""
    made = make(portion, 4, "unit")
    stored = low + (high - low) * made.stored
    if space == "normalized":
        stored = made.spec.normalization.apply(stored)
    return Distilled(stored, made.spec, random().with_(parametrization=Plain(space=space)), seed=0)


def test_images_in_normalized_space_are_drawn_with_their_own_black_and_white(portion: Callable[..., ImageSet]) -> None:
    wide = stretched(portion, -1.0, 3.0)
    low, high = shown_range(wide)
    assert (low, high) == (pytest.approx(-1, abs=0.06), pytest.approx(3, abs=0.06))
    drawn = shown(wide, wide.stored, (low, high))
    assert float(((drawn < 0) | (drawn > 1)).float().mean()) < 0.02
    assert torch.allclose(drawn * (high - low) + low, wide.spec.normalization.invert(wide.stored), atol=1e-5)
    pixels = np.asarray(contact_sheet(wide, scale=1))
    assert np.mean((pixels > 60) & (pixels < 200)) > 0.01


@pytest.mark.parametrize(
    ("low", "high", "expected"), [(0.0, 1.0, (0.0, 1.0)), (-0.05, 1.05, (0.0, 1.0)), (0.2, 0.6, (0.0, 1.0))]
)
def test_images_that_stay_near_the_range_are_drawn_as_they_are(
    portion: Callable[..., ImageSet], low: float, high: float, expected: tuple[float, float]
) -> None:
    assert shown_range(stretched(portion, low, high)) == expected


def test_images_in_the_range_of_pixels_are_never_stretched(portion: Callable[..., ImageSet]) -> None:
    assert shown_range(stretched(portion, -1.0, 3.0, space="unit")) == (0.0, 1.0)
