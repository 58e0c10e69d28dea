from __future__ import annotations

import pickle
from dataclasses import replace

import pytest
import torch
from torch.utils.data import DataLoader

from limbeck.core.errors import InputError
from limbeck.core.real import DataSpec, Normalization
from limbeck.core.sound import Sound
from limbeck.data import ImageSet, check_ipc

LABELS = [2, 0, 1, 0, 2, 0]


def image_set(channels: int = 3) -> ImageSet:
    """Six images of 2 x 4; image i starts at value 10 i."""
    size = channels * 8
    pixels = (torch.arange(6).view(6, 1) * 10 + torch.arange(size)).to(torch.uint8).view(6, channels, 2, 4)
    statistics = Normalization((0.5,) * channels, (0.2,) * channels)
    spec = DataSpec("toy", channels, 2, 4, ("a", "b", "c"), statistics, "digest")
    return ImageSet(pixels, torch.tensor(LABELS), spec)


def test_rows_of_a_class_are_in_data_set_order() -> None:
    data = image_set()
    assert [data.class_rows(label).tolist() for label in range(3)] == [[1, 3, 5], [2], [0, 4]]
    assert data.class_counts() == [3, 1, 2]
    assert len(data) == 6
    assert data.class_rows(0) is data.class_rows(0)


@pytest.mark.parametrize("label", [-1, 3])
def test_rows_of_no_class(label: int) -> None:
    with pytest.raises(IndexError):
        image_set().class_rows(label)


def test_images_are_bytes_over_255_for_rows_of_any_shape() -> None:
    data = image_set()
    rows = torch.tensor([[5, 0, 0], [1, 2, 5]])
    images = data.images(rows)
    assert images.shape == (2, 3, 3, 2, 4) and images.dtype == torch.float32
    for place in ((0, 0), (0, 2), (1, 1)):
        assert torch.equal(images[place], data.pixels[rows[place]].float() / 255)
    assert data.images(torch.tensor(4)).shape == (3, 2, 4)
    assert torch.equal(data.images([3, 3]), data.images(torch.tensor([3, 3], dtype=torch.int32)))
    assert data.images([]).shape == (0, 3, 2, 4)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_values_are_computed_in_the_dtype_of_the_set(dtype: torch.dtype) -> None:
    data = image_set().to(torch.device("cpu"), dtype)
    expected = data.pixels[:2].to(dtype) / 255
    assert torch.equal(data.images([0, 1]), expected)
    assert torch.equal(data[1][0], expected[1])
    assert data.pixels.dtype == torch.uint8
    assert data.dtype == dtype


def test_to_leaves_the_original_as_it_was() -> None:
    data = image_set()
    data.to("cpu", torch.float64)
    assert data.images([0]).dtype == torch.float32
    with pytest.raises(InputError, match="float dtype"):
        data.to("cpu", torch.int64)


def test_changing_images_does_not_change_the_set() -> None:
    data = image_set()
    before = data.pixels.clone()
    data.images(torch.arange(6)).zero_()
    data[0][0].zero_()
    assert torch.equal(data.pixels, before)


@pytest.mark.parametrize("rows", [torch.ones(6, dtype=torch.bool), torch.zeros(2), [0.5], [True, False]])
def test_rows_that_are_no_integers(rows: torch.Tensor) -> None:
    with pytest.raises(TypeError, match="rows must be integers"):
        image_set().images(rows)


def test_it_is_a_torch_dataset() -> None:
    data = image_set()
    image, label = data[-1]
    assert image.shape == (3, 2, 4) and label == 0 and type(label) is int
    assert [label for _, label in data] == LABELS
    with pytest.raises(IndexError):
        data[6]
    images, labels = next(iter(DataLoader(data, batch_size=4)))
    assert torch.equal(images, data.images([0, 1, 2, 3])) and labels.tolist() == LABELS[:4]
    again = pickle.loads(pickle.dumps(data))
    assert torch.equal(again.pixels, data.pixels) and again.class_rows(2).tolist() == [0, 4]


def test_subset() -> None:
    data = image_set()
    part = data.to("cpu", torch.float64).subset([4, 1, 5])
    assert part.labels.tolist() == [2, 0, 0]
    assert part.class_rows(0).tolist() == [1, 2] and part.class_counts() == [2, 0, 1]
    assert torch.equal(part.pixels, data.pixels[[4, 1, 5]])
    assert part.dtype == torch.float64 and part.spec == data.spec
    assert torch.equal(data.subset(data.class_rows(1)).pixels, data.pixels[2:3])


def test_pixels_must_be_bytes_of_the_right_shape() -> None:
    data = image_set()
    with pytest.raises(InputError, match=r"uint8 of shape \[N, 3, 2, 4\].*from_arrays"):
        ImageSet(data.pixels.float(), data.labels, data.spec)
    with pytest.raises(InputError, match="uint8 of shape"):
        ImageSet(data.pixels[:, :1], data.labels, data.spec)


@pytest.mark.parametrize(
    ("labels", "sentence"),
    [
        (torch.tensor([0, 1, 2, 3, 0, 0]), r"label 3 \(row 3\) lies outside 0\.\.2"),
        (torch.tensor([0, -1, 2, 2, 0, 0]), r"label -1 \(row 1\) lies outside 0\.\.2"),
        (torch.tensor([0, 1]), "6 image set images but 2 image set labels"),
        (torch.zeros(6), "must be int64"),
        (torch.zeros(6, 3, dtype=torch.int64), "must be int64"),
    ],
)
def test_labels_are_checked(labels: torch.Tensor, sentence: str) -> None:
    data = image_set()
    with pytest.raises(InputError, match=sentence):
        ImageSet(data.pixels, labels, data.spec)


def test_check_ipc() -> None:
    data = image_set()
    check_ipc(data, 1)
    with pytest.raises(InputError, match=r"class 'b' of 'toy' has 1 images but 2 are needed; lower ipc"):
        check_ipc(data, 2)
    with pytest.raises(InputError, match="at least 1, not 0"):
        check_ipc(data, 0)
    with pytest.raises(InputError, match="class 'b' of 'toy' has no images"):
        check_ipc(data.subset([0, 1]), 1)


@pytest.mark.gpu
def test_on_a_gpu() -> None:
    data = image_set()
    there = data.to(torch.device("cuda"), torch.float32)
    for rows in (torch.tensor([[0, 5]]), torch.tensor([[0, 5]], device="cuda")):
        assert there.images(rows).device.type == "cuda"
        assert torch.equal(there.images(rows).cpu(), data.images(rows.cpu()))
    assert there.pixels.dtype == torch.uint8 and there.labels.device.type == "cpu"
    assert torch.equal(there.subset([2]).images([0]).cpu(), data.images([2]))


def test_spectrograms_are_not_rounded() -> None:
    values = torch.linspace(-0.1, 1.2, 6 * 8).view(6, 1, 2, 4)
    spec = replace(image_set(1).spec, sound=Sound())
    data = ImageSet(values, torch.tensor(LABELS), spec)
    assert torch.equal(data.images([4, 1]), values[[4, 1]])
    assert torch.equal(data.to("cpu", torch.float64).images([0]), values[:1].double())
    image, _ = data[2]
    image.zero_()
    data.images([2]).zero_()
    assert torch.equal(data.stored([2]), values[2:3])
    with pytest.raises(InputError, match="pixels must be float32 of shape"):
        ImageSet(values.to(torch.uint8), torch.tensor(LABELS), spec)
    with pytest.raises(InputError, match="pixels must be uint8 of shape"):
        ImageSet(values, torch.tensor(LABELS), replace(spec, sound=None))
