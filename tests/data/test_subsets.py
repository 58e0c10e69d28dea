from __future__ import annotations

import re

import pytest
import torch

from limbeck.core.errors import InputError
from limbeck.data.subsets import SUBSETS, choose_classes, chosen, subset_name


def test_the_published_subsets_are_whole() -> None:
    assert set(SUBSETS) == {
        *("imagenette", "imagewoof", "imagefruit", "imageyellow", "imagemeow", "imagesquawk"),
        *("imagenet10", "imagenet100"),
    }
    for name, classes in SUBSETS.items():
        assert len(set(classes)) == (100 if name == "imagenet100" else 10) and list(classes) == sorted(classes)
        assert all(re.fullmatch(r"n\d{8}", number) for number in classes)
    assert set(SUBSETS["imagenet10"]) < set(SUBSETS["imagenet100"])
    torchvision = pytest.importorskip("torchvision.datasets.imagenette")
    assert set(SUBSETS["imagenette"]) == set(torchvision.Imagenette._WNID_TO_CLASS)


def test_names_of_subsets_in_any_spelling() -> None:
    assert subset_name("ImageNet-10") == subset_name(("imagenet_10",)) == "imagenet10"
    assert subset_name("pets") is None and subset_name(None) is None
    assert subset_name(("imagenette", "imagewoof")) is None and subset_name(()) is None


def test_classes_come_in_the_order_of_the_data() -> None:
    names = ("ant", "bee", "cat", "dog")
    assert chosen(("dog", "ant"), names, "pets") == (0, 3) and chosen("bee", names, "pets") == (1,)
    everything = tuple(sorted({number for classes in SUBSETS.values() for number in classes}))
    found = chosen("ImageWoof", everything, "imagenet")
    assert tuple(everything[number] for number in found) == SUBSETS["imagewoof"]
    assert chosen("imagenette", ("a", "imagenette"), "pets") == (1,), "a class of that name goes first"


def test_english_names_stand_for_numbers() -> None:
    names = ["goldfish", "tench, Tinca tinca", "English springer, English springer spaniel", "cassette player"]
    names += ["chain saw, chainsaw", "church, church building", "French horn, horn", "garbage truck, dustcart"]
    names += ["gas pump, petrol pump", "golf ball", "parachute, chute"]
    assert chosen("imagenette", names, "imagenet") == tuple(range(1, 11))
    assert chosen(("n03888257", "goldfish"), [name.replace(" ", "_") for name in names[:-1]] + ["Parachute"], "x") == (
        0,
        10,
    )


@pytest.mark.parametrize(
    ("classes", "sentence"),
    [
        (
            ("cat", "cow"),
            "unknown class of 'pets' 'cow'; did you mean 'cat'|unknown class of 'pets' 'cow'; known: cat, dog",
        ),
        ("imagenete", "unknown class of 'pets' 'imagenete'; did you mean 'imagenet10?0?|imagenette'"),
        ("imagenette", r"'pets' has no class 'n01440764' \(tench\) of the subset imagenette; give data that hold it"),
        ("imagenet100", "'pets' has no class 'n01558993' of the subset imagenet100"),
        (("cat", "cat"), "class 'cat' is named twice"),
        ((), r"classes \(--classes\) names no class"),
    ],
)
def test_classes_that_are_not_there(classes: str | tuple[str, ...], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        chosen(classes, ("cat", "dog"), "pets")


def test_a_message_does_not_list_a_thousand_classes() -> None:
    names = [f"n{number:08d}" for number in range(1000)]
    with pytest.raises(
        InputError, match="'pets' has no class 'zebra'; its 1000 classes have names like 'n00000000' and"
    ):
        chosen(("zebra",), names, "pets")
    with pytest.raises(InputError, match="did you mean 'n0000"):
        chosen(("n000001234",), names, "pets")


def test_labels_are_numbered_anew() -> None:
    rows, labels = choose_classes(torch.tensor([3, 0, 1, 3, 2]), (1, 3), 4)
    assert rows.tolist() == [0, 2, 3] and labels.tolist() == [1, 0, 1]
