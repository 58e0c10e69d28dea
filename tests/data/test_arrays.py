from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import TensorDataset

from limbeck.core.errors import InputError
from limbeck.data import from_arrays, from_dataset
from limbeck.data.arrays import as_labels, as_pixels
from tests.data.makers import plane


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.uint16, np.int8])
def test_integers_are_taken_as_they_are(dtype: type) -> None:
    array = np.arange(24).reshape(2, 3, 2, 2).astype(dtype)
    pixels = as_pixels(array)
    assert pixels.dtype == torch.uint8
    assert pixels.tolist() == array.tolist()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_every_level_survives_the_way_through_floats(dtype: torch.dtype) -> None:
    levels = torch.arange(256).view(1, 1, 16, 16)
    assert torch.equal(as_pixels(levels.to(dtype) / 255), levels.to(torch.uint8))


def test_floats_are_rounded_to_the_nearest_level() -> None:
    values = np.array([0, 0.4, 0.6, 127.4, 254.6, 255]).reshape(1, 1, 2, 3) / 255
    assert as_pixels(values).flatten().tolist() == [0, 0, 1, 127, 255, 255]


def test_booleans_are_black_and_white() -> None:
    assert as_pixels(np.array([[[True, False]]])).tolist() == [[[[255, 0]]]]


def test_three_axes_are_one_channel_and_lists_are_arrays() -> None:
    assert as_pixels([[[1, 2], [3, 4]]]).tolist() == [[[[1, 2], [3, 4]]]]


def test_the_result_is_a_contiguous_copy() -> None:
    array = np.zeros((2, 4, 5, 3), dtype=np.uint8)
    array.setflags(write=False)
    pixels = as_pixels(array, channels_last=True)
    assert pixels.shape == (2, 3, 4, 5) and pixels.is_contiguous()
    tensor = torch.zeros(1, 1, 2, 2, dtype=torch.uint8)
    as_pixels(tensor)[:] = 7
    assert int(tensor.max()) == 0


def test_channels_last() -> None:
    array = np.arange(2 * 6 * 6 * 3).reshape(2, 6, 6, 3)
    with pytest.raises(InputError, match=r"images of shape \[2, 6, 6, 3\] look channel-last; set channels_last"):
        as_pixels(array)
    assert as_pixels(array, channels_last=True)[1, 2, 3, 4] == array[1, 3, 4, 2]
    assert as_pixels(array, channels_last=False).shape == (2, 6, 6, 3)


@pytest.mark.parametrize(
    ("images", "sentence"),
    [
        (np.array([[[0.5, np.nan]]]), "pixel values contain NaN"),
        (torch.tensor([[[0.5, float("nan")]]]), "pixel values contain NaN"),
        (np.array([[[0.0, 16.0]]]), r"float pixel values span 0\.\.16; scale them to \[0, 1\]"),
        (np.array([[[-0.5, 0.5]]]), r"float pixel values span -0\.5\.\.0\.5"),
        (np.array([[[0.0, np.inf]]]), "span 0..inf"),
        (np.array([[[-1, 3]]]), r"integer pixel values span -1\.\.3; scale them to 0\.\.255"),
        (np.array([[[0, 256]]]), r"integer pixel values span 0\.\.256"),
        (np.array([[["a", "b"]]]), "are no numbers"),
        (np.zeros((3, 4)), r"images have shape \[3, 4\]; give at least one image"),
        (np.zeros((0, 1, 4, 4)), r"shape \[0, 1, 4, 4\]"),
        ([[[1, 2], [3]]], "lists of unequal lengths"),
    ],
)
def test_pixels_that_cannot_be(images: Any, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence) as caught:
        as_pixels(images)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("labels", "sentence"),
    [
        ([0.0, 1.0], "training labels are float64, not integers"),
        (["a", "b"], "not integers"),
        (torch.eye(2, dtype=torch.int64), r"training labels have shape \[2, 2\].*not one-hot"),
        ([True, False], "training labels are bool"),
    ],
)
def test_labels_that_cannot_be(labels: Any, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        as_labels(labels, "training")


IMAGES = np.stack([plane(i, (2, 3, 3)) for i in range(6)])


def test_from_arrays() -> None:
    data = from_arrays(
        (IMAGES / 255.0, [0, 1, 2, 0, 1, 2]), (IMAGES[:3], np.array([2, 1, 0], dtype=np.uint8)), validation=0
    )
    assert data.spec.name == "arrays" and data.spec.class_names == ("0", "1", "2")
    assert data.spec.shape == (2, 3, 3)
    assert np.array_equal(data.train.pixels.numpy(), IMAGES)
    assert data.require_test().labels.tolist() == [2, 1, 0]
    assert from_arrays((IMAGES, [0, 1, 2, 0, 1, 2])).test is None


def test_from_arrays_with_names_validation_images_and_options() -> None:
    pair = (IMAGES, [0, 1, 0, 1, 0, 1])
    data = from_arrays(pair, validation_set=pair, class_names=["x", "y"], name="mine", image_size=5, fit="resize")
    assert data.spec.name == "mine" and data.spec.class_names == ("x", "y")
    assert data.train.pixels.shape == (6, 2, 5, 5) and data.validation is not None and len(data.validation) == 6


def test_unequal_classes_of_any_size_are_split() -> None:
    data = from_arrays((np.zeros((111, 7, 1, 9)), [0] * 100 + [1] * 10 + [2]), validation=0.1)
    assert data.validation is not None
    assert data.validation.class_counts() == [10, 1, 0] and data.train.class_counts() == [90, 9, 1]


@pytest.mark.parametrize(
    ("train", "options", "sentence"),
    [
        ((IMAGES, [0, 1]), {}, "6 training images but 2 training labels"),
        ((IMAGES, [0, 1, 3, 0, 1, 3]), {}, "class '2' has no training images"),
        ((IMAGES, [0, 1, 2, 0, 1, 2]), {"class_names": ["a", "b"]}, r"label 2 \(row 2\) lies outside 0\.\.1"),
        ((IMAGES, [0, 1, 0, 1, 0, 1]), {"class_names": "abc"}, "class 'c' has no training images"),
        (IMAGES, {}, r"train must be a pair \(images, labels\)"),
        ((IMAGES, [0] * 6), {"channels": "rgb"}, "images of 2 channels cannot be made rgb"),
        ((IMAGES, [0] * 6), {"root": "here"}, r"root \(--root\) has no effect on arrays"),
        (
            (IMAGES, [0] * 6),
            {"validatoin": 0.2},
            "unknown loading option 'validatoin'; did you mean 'validation'",
        ),
    ],
)
def test_arrays_that_do_not_fit(train: Any, options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        from_arrays(train, **options)


class Pictures:
    """A map-style data set of Pillow images."""

    classes = ("cat", "dog")

    def __init__(self, sizes: list[tuple[int, int]]) -> None:
        self.images = [Image.fromarray(plane(i, size)) for i, size in enumerate(sizes)]

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, row: int) -> tuple[Image.Image, int]:
        return self.images[row], row % 2


def test_from_dataset_of_pictures() -> None:
    data = from_dataset(Pictures([(4, 5)] * 4), test=Pictures([(4, 5)] * 2), validation=0)
    assert data.spec.class_names == ("cat", "dog") and data.spec.name == "dataset"
    assert np.array_equal(data.train.pixels[2, 0].numpy(), plane(2))
    assert data.train.labels.tolist() == [0, 1, 0, 1] and len(data.require_test()) == 2
    assert from_dataset(Pictures([(4, 5), (6, 6)]), validation=0, image_size=3).spec.shape == (1, 3, 3)


def test_from_dataset_of_tensors() -> None:
    images = torch.from_numpy(IMAGES)
    data = from_dataset(TensorDataset(images / 255, torch.tensor([1, 0] * 3)), validation=0, class_names=("p", "q"))
    assert torch.equal(data.train.pixels, images) and data.train.labels.tolist() == [1, 0] * 3
    assert data.spec.class_names == ("p", "q")


@pytest.mark.parametrize(
    ("dataset", "sentence"),
    [
        (
            Pictures([(4, 5), (6, 6)]),
            r"train data set have different shapes \(\[1, 4, 5\]: 1, \[1, 6, 6\]: 1\)",
        ),
        (TensorDataset(torch.zeros(2, 1, 4, 4)), "item 0 of the train data set is no pair"),
        (TensorDataset(torch.zeros(2, 1, 4, 4), torch.zeros(2)), "label 0.0 of item 0 .* is no integer"),
        (TensorDataset(torch.randn(9, 1, 4, 4), torch.zeros(9, dtype=torch.int64)), "without normalizing"),
        (iter([1]), "give a map-style torch Dataset"),
        ([], "give at least one image"),
    ],
)
def test_datasets_that_do_not_fit(dataset: Any, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        from_dataset(dataset)
