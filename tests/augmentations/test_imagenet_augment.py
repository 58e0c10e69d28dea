from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torchvision.transforms.v2 import functional as reference

from limbeck.augmentations.imagenet_augment import ImagenetAugment
from limbeck.core.context import Context
from limbeck.core.errors import InputError
from limbeck.core.real import DataSpec, Normalization
from limbeck.core.streams import Stream
from limbeck.core.whitening import Whitening
from limbeck.data.images import ImageSet
from limbeck.ops import color
from limbeck.ops.resized_crop import resized_crop

SHAPE = (3, 16, 16)
MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)
NORMAL = Normalization(MEAN, STD)
AUGMENT = ImagenetAugment(mean=MEAN, std=STD)
SPEC = DataSpec("pictures", *SHAPE, ("a", "b"), NORMAL, "")


def images(count: int = 6) -> torch.Tensor:
    """Images in [0, 1] that no factor up to 1.4 takes out of it."""
    return 0.3 + 0.2 * Stream(0).uniform(count, *SHAPE)


def test_all_steps_equal_torchvision_s_on_the_images_in_the_unit_interval() -> None:
    x = images()
    draws = AUGMENT.draw(Stream(5), SHAPE, len(x))
    done = AUGMENT.apply(NORMAL.apply(x), draws)
    by_number = (reference.adjust_brightness, reference.adjust_contrast, reference.adjust_saturation)
    assert 0 < (draws["flip"] < 0.5).sum() < 6
    for row, image in enumerate(x):
        top, left, tall, broad = draws["window"][row].tolist()
        image = reference.resized_crop(image, top, left, tall, broad, [16, 16])
        if draws["flip"][row] < 0.5:
            image = reference.horizontal_flip(image)
        for kind in (row % 3, (row + 1) % 3, (row + 2) % 3):  # the order makes no difference
            image = by_number[kind](image, float(draws["factors"][row, kind]))
        image = color.lighting(image[None], draws["alphas"][row])[0]
        expected = reference.normalize(image, list(MEAN), list(STD))
        torch.testing.assert_close(done[row], expected, rtol=0, atol=2e-3)  # the weight of red is 0.299 here


def test_what_is_switched_off_is_neither_drawn_nor_done() -> None:
    x = NORMAL.apply(images())
    nothing = replace(AUGMENT, scale=(1.0, 1.0), ratio=(1.0, 1.0), flip=False, jitter=0.0, lighting=0.0)
    draws = nothing.draw(Stream(0), SHAPE, 6)
    assert set(draws) == {"window"} and draws["window"].tolist() == [[0, 0, 16, 16]] * 6
    torch.testing.assert_close(nothing.apply(x, draws), x)
    window = replace(nothing, scale=(0.5, 0.7), ratio=(3 / 4, 4 / 3))
    draws = window.draw(Stream(0), SHAPE, 6)
    # Enlarging commutes with a change of each channel.
    torch.testing.assert_close(window.apply(x, draws), resized_crop(x, draws["window"]))


def test_numbers_fill_their_ranges() -> None:
    draws = AUGMENT.draw(Stream(0), SHAPE, 20_000)
    factors, alphas = draws["factors"], draws["alphas"]
    assert 0.6 <= factors.min() < 0.601 and 1.399 < factors.max() < 1.4
    assert factors.mean(dim=0).tolist() == pytest.approx([1.0] * 3, abs=0.005)
    assert alphas.std(dim=0).tolist() == pytest.approx([0.1] * 3, rel=0.02)
    assert (draws["flip"] < 0.5).double().mean() == pytest.approx(0.5, abs=0.015)


def test_shared_draws_treat_all_images_alike() -> None:
    x = NORMAL.apply(images())
    draws = AUGMENT.draw(Stream(7), SHAPE, None)
    assert {name: tuple(numbers.shape) for name, numbers in draws.items()} == {
        **{"window": (4,), "flip": (), "factors": (3,), "alphas": (3,)}
    }
    whole = AUGMENT.apply(x, draws)
    torch.testing.assert_close(torch.cat([AUGMENT.apply(some, draws) for some in x.split(1)]), whole)


def test_gradients_flow_through() -> None:
    x = NORMAL.apply(images(2))[..., :4, :4].requires_grad_()
    draws = AUGMENT.draw(Stream(1), (3, 4, 4), 2)
    assert torch.autograd.gradcheck(lambda x: AUGMENT.apply(x, draws), x)


def test_images_that_it_is_not_made_for_are_refused(
    context_of: Callable[..., Context], portion: Callable[..., ImageSet]
) -> None:
    AUGMENT.fits(SPEC)
    with pytest.raises(InputError, match=r"another normalization than that of 'pictures'; set its mean to \(0.5, 0.4"):
        ImagenetAugment().fits(SPEC)
    with pytest.raises(InputError, match="made for three channels and 'digits' has 1"):
        AUGMENT.check(context_of())
    with pytest.raises(InputError, match="another normalization"):
        AUGMENT.check(context_of(portion(channels=3)))
    with pytest.raises(InputError, match="made for three channels, not 1"):
        AUGMENT.draw(Stream(0), (1, 8, 8), 2)


@pytest.mark.parametrize(
    "fields",
    [
        *({"scale": (0.0, 1.0)}, {"scale": (0.8, 0.5)}, {"scale": (0.5, 1.1)}, {"ratio": (2.0, 1.0)}),
        *({"jitter": 1.5}, {"lighting": -1.0}, {"mean": (0.5,)}),
    ],
)
def test_fields_out_of_range_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="augmentation 'imagenet_augment' needs"):
        replace(AUGMENT, **fields).draw(Stream(0), SHAPE, 2)


def test_whitened_images_are_refused() -> None:
    one = Whitening(torch.eye(768), torch.ones(768), torch.zeros(768))
    seen = Normalization((0.0,) * 3, (1.0,) * 3, "zca", one)
    with pytest.raises(InputError, match=r"changes colours in .*, and the images of 'pictures' are whitened"):
        ImagenetAugment(mean=seen.mean, std=seen.std).fits(replace(SPEC, normalization=seen))
