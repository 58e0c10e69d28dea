from __future__ import annotations

from collections import Counter

import pytest
import torch

from limbeck.augmentations.dsa_augment import DSAAugment, strategy
from limbeck.core.errors import InputError
from limbeck.core.streams import Streams
from limbeck.ops import transforms

SHAPE = (3, 8, 8)
ALL = ("color", "crop", "cutout", "flip", "scale", "rotate")
NUMBERS = {
    "color": {"brightness", "saturation", "contrast"},
    "crop": {"crop_rows", "crop_columns"},
    "cutout": {"cutout_rows", "cutout_columns"},
    "flip": {"flip"},
    "scale": {"scale_x", "scale_y"},
    "rotate": {"rotate"},
}


def images(count: int = 5) -> torch.Tensor:
    return Streams(3)("images").normal(count, *SHAPE)


def test_single_mode_draws_every_token_alike_and_one_at_a_time() -> None:
    augmentation, streams = DSAAugment(), Streams(0)
    drawn = [frozenset(augmentation.draw(streams("x", number), SHAPE, None)) for number in range(1200)]
    counts = Counter(drawn)
    assert set(counts) == {frozenset(numbers) for numbers in NUMBERS.values()}
    assert all(140 < count < 260 for count in counts.values())  # 200 expected, 13 is one deviation


def test_multiple_mode_applies_all_in_the_order_of_the_list() -> None:
    augmentation = DSAAugment(tokens=("cutout", "color"), mode="multiple")
    draws = augmentation.draw(Streams(1)("x"), SHAPE, None)
    assert set(draws) == NUMBERS["cutout"] | NUMBERS["color"]
    expected = transforms.cutout(images(), draws["cutout_rows"], draws["cutout_columns"])
    for name in ("brightness", "saturation", "contrast"):
        expected = getattr(transforms, name)(expected, draws[name])
    assert torch.equal(augmentation.apply(images(), draws), expected)
    other = DSAAugment(tokens=("color", "cutout"), mode="multiple")
    assert not torch.equal(other.apply(images(), draws), expected)


@pytest.mark.parametrize("token", ALL)
def test_one_set_of_numbers_treats_both_sides_alike(token: str) -> None:
    augmentation = DSAAugment(tokens=(token,))  # type: ignore[arg-type]
    draws = augmentation.draw(Streams(2)("x"), SHAPE, None)
    assert set(draws) == NUMBERS[token] and all(numbers.ndim == 0 for numbers in draws.values())
    both = augmentation.apply(images(), draws)
    assert torch.allclose(both[:2], augmentation.apply(images()[:2], draws))


@pytest.mark.parametrize("token", ALL)
def test_each_image_of_a_training_batch_has_its_own_numbers(token: str) -> None:
    augmentation = DSAAugment(tokens=(token,))  # type: ignore[arg-type]
    draws = augmentation.draw(Streams(2)("x"), SHAPE, 64)
    assert all(numbers.shape == (64,) and numbers.unique().numel() > 1 for numbers in draws.values())


def test_wrong_tokens_are_refused() -> None:
    with pytest.raises(InputError, match="unknown token of augmentation 'dsa_augment' 'shear'"):
        DSAAugment(tokens=("shear",)).draw(Streams(0)("x"), SHAPE, None)  # type: ignore[arg-type]
    for tokens in ((), ("flip", "flip")):
        with pytest.raises(InputError, match="at least one token, each named once"):
            DSAAugment(tokens=tokens).draw(Streams(0)("x"), SHAPE, None)  # type: ignore[arg-type]


def test_the_whole_strategy_mirrors_all_but_digits() -> None:
    assert strategy("CIFAR-10") == strategy("small") == DSAAugment()
    assert strategy("MNIST").tokens == strategy("digits").tokens == ("color", "crop", "cutout", "scale", "rotate")
