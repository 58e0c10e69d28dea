from __future__ import annotations

import re

import pytest
import torchvision.models

from limbeck.core.errors import InputError
from limbeck.networks.imagenet_classes import WORDNET_NUMBERS, imagenet_rows

CATEGORIES = torchvision.models.ResNet18_Weights.DEFAULT.meta["categories"]


def test_there_are_a_thousand_in_sorted_order() -> None:
    assert len(set(WORDNET_NUMBERS)) == 1000 and list(WORDNET_NUMBERS) == sorted(WORDNET_NUMBERS)
    assert all(re.fullmatch(r"n\d{8}", number) for number in WORDNET_NUMBERS)


@pytest.mark.parametrize(
    ("number", "name"),
    [
        ("n01440764", "tench"),
        ("n02102040", "English springer"),
        ("n02979186", "cassette player"),
        ("n03000684", "chain saw"),
        ("n03394916", "French horn"),
        ("n03417042", "garbage truck"),
        ("n03888257", "parachute"),
        ("n02123045", "tabby"),
        ("n02115641", "dingo"),
        ("n07753592", "banana"),
        ("n15075141", "toilet tissue"),
    ],
)
def test_numbers_are_in_the_order_of_torchvision_s_categories(number: str, name: str) -> None:
    """Classes of published subsets, whose number and name their authors give."""
    assert CATEGORIES[WORDNET_NUMBERS.index(number)] == name
    assert imagenet_rows([number], CATEGORIES, "x") == imagenet_rows([name], CATEGORIES, "x")


def test_rows_follow_the_data() -> None:
    assert imagenet_rows(WORDNET_NUMBERS, CATEGORIES, "x") == list(range(1000))
    assert imagenet_rows(CATEGORIES, CATEGORIES, "x") == list(range(1000))
    assert imagenet_rows(["n15075141", "tench"], CATEGORIES, "x") == [999, 0]


def test_other_classes_are_refused() -> None:
    with pytest.raises(InputError, match="the teacher was trained on ImageNet-1K, which has no class 'dog'"):
        imagenet_rows(["tench", "dog"], CATEGORIES, "the teacher")


def test_a_class_that_is_there_twice_is_refused() -> None:
    with pytest.raises(InputError, match="have one twice"):
        imagenet_rows(["tench", "n01440764"], CATEGORIES, "x")
