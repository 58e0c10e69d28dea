from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from limbeck.core.errors import InputError
from limbeck.data.labelled import Labelled, check_splits
from tests.data.makers import labelled, splits


def test_sound_splits_pass() -> None:
    check_splits(splits([0, 1, 0], 2, test=labelled([1, 0]), validation=labelled([1])))


def test_select_keeps_the_order_of_the_rows() -> None:
    part = labelled([0, 1, 2]).select(torch.tensor([2, 0]))
    assert part.labels.tolist() == [2, 0]
    assert part.pixels[:, 0, 0, 0].tolist() == [2, 0]


@pytest.mark.parametrize(
    ("labels", "classes", "sentence"),
    [
        ([0, 0], 2, "class 'class 1' has no training images; add some or remove its name"),
        (
            [0, 0],
            8,
            "classes 'class 1', 'class 2', 'class 3', 'class 4', 'class 5' and 2 more have no training",
        ),
        ([0, 2], 2, r"training label 2 \(row 1\) lies outside 0..1"),
        ([0, -1, 1], 2, r"training label -1 \(row 1\)"),
        ([], 0, "has no classes"),
    ],
)
def test_unsound_training_images(labels: list[int], classes: int, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        check_splits(splits(labels, classes))


def test_every_class_needs_test_images_but_not_validation_images() -> None:
    with pytest.raises(InputError, match="class 'class 1' has no test images"):
        check_splits(splits([0, 1], 2, test=labelled([0])))
    with pytest.raises(InputError, match=r"test label 2 \(row 1\) lies outside"):
        check_splits(splits([0, 1], 2, test=labelled([0, 2])))


def test_lengths_shapes_and_names_must_agree() -> None:
    sound = splits([0, 1], 2)
    short = Labelled(pixels=sound.train.pixels, labels=sound.train.labels[:1])
    with pytest.raises(InputError, match="2 training images but 1 training labels"):
        check_splits(replace(sound, train=short))
    with pytest.raises(InputError, match=r"test images are 3x2x2 .* but training images are 1x2x2; set image_size"):
        check_splits(replace(sound, test=labelled([0, 1], (3, 2, 2))))
    with pytest.raises(InputError, match="class name 'x' is given more than once"):
        check_splits(replace(sound, class_names=("x", "x")))
    with pytest.raises(InputError, match="test split of 'toy' holds no images"):
        check_splits(replace(sound, test=labelled([])))
