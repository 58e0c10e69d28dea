from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from limbeck.core.errors import InputError
from limbeck.data import load
from tests.data.makers import plane, write_classes, write_picture


def test_parts_and_classes(tmp_path: Path) -> None:
    root = tmp_path / "pets"
    write_classes(root / "train", {"dog": 3, "cat": 2})
    write_classes(root / "test", {"cat": 1, "dog": 1}, start=40)
    data = load(root, validation=0)
    assert data.spec.name == "pets" and data.spec.class_names == ("cat", "dog")
    assert data.spec.shape == (1, 4, 5)
    assert data.train.labels.tolist() == [0, 0, 1, 1, 1]
    assert data.train.pixels[:, 0, 0, 0].tolist() == [3, 4, 0, 1, 2]
    assert np.array_equal(data.train.pixels[4, 0].numpy(), plane(2))
    assert data.require_test().pixels[:, 0, 0, 0].tolist() == [40, 41]


@pytest.mark.parametrize("name", ["val", "valid", "validation"])
def test_validation_pictures_serve_as_test_only_where_there_are_no_others(tmp_path: Path, name: str) -> None:
    write_classes(tmp_path / "train", {"a": 4, "b": 4})
    write_classes(tmp_path / name, {"a": 1, "b": 1}, start=50)
    data = load(tmp_path, validation=0.25)
    assert data.require_test().pixels[:, 0, 0, 0].tolist() == [50, 51]
    assert data.require_validation().class_counts() == [1, 1] and len(data.train) == 6
    write_classes(tmp_path / "test", {"a": 1, "b": 2}, start=70)
    data = load(tmp_path, validation=0.25)
    assert data.require_test().pixels[:, 0, 0, 0].tolist() == [70, 71, 72]
    assert data.require_validation().pixels[:, 0, 0, 0].tolist() == [50, 51] and len(data.train) == 8


def test_training_pictures_alone_have_no_test_part(tmp_path: Path) -> None:
    write_classes(tmp_path / "train", {"a": 3, "b": 3})
    with pytest.raises(InputError, match="has no test split"):
        load(tmp_path).require_test()


def test_one_folder_of_classes_is_split(tmp_path: Path) -> None:
    root = tmp_path / "pets"
    write_classes(root, {"a": 10, "b": 5})
    data = load(root, validation=0, split_seed=3)
    assert data.require_test().class_counts() == [2, 1] and data.train.class_counts() == [8, 4]
    again = load(root, validation=0, split_seed=3, cache=False)
    assert again.train.pixels.equal(data.train.pixels)
    assert load(root, validation=0, test_fraction=0.5).require_test().class_counts() == [5, 3]
    assert load(root, test_fraction=0).test is None


def test_pictures_may_lie_deeper_among_other_files(tmp_path: Path) -> None:
    write_picture(tmp_path / "train" / "a" / "images" / "x.PNG", plane(1))
    write_picture(tmp_path / "train" / "b" / "y.png", plane(2))
    (tmp_path / "train" / "a" / "boxes.txt").write_text("1 2 3")
    (tmp_path / "train" / "a" / ".hidden.png").write_text("no picture")
    (tmp_path / "train" / ".git").mkdir()
    assert load(tmp_path, validation=0).train.pixels[:, 0, 0, 0].tolist() == [1, 2]


def test_a_class_without_pictures(tmp_path: Path) -> None:
    write_classes(tmp_path / "train", {"a": 2, "b": 2})
    (tmp_path / "train" / "c").mkdir()
    with pytest.raises(InputError, match=r"class folder 'train/c' of '.*' has no pictures; add some or remove"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("train", "test", "sentence"),
    [
        ("ab", "a", "class 'b' has a training folder but no test folder; give both the same classes"),
        ("ab", "abc", "class 'c' has a test folder but no training folder"),
    ],
)
def test_parts_of_different_classes(tmp_path: Path, train: str, test: str, sentence: str) -> None:
    write_classes(tmp_path / "train", dict.fromkeys(train, 2))
    write_classes(tmp_path / "test", dict.fromkeys(test, 2))
    with pytest.raises(InputError, match=sentence):
        load(tmp_path)


def test_folders_that_are_no_data_set(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match="holds neither parquet files nor class folders with pictures or recordings; arrange"
    ):
        load(tmp_path)
    write_classes(tmp_path / "test", {"a": 1})
    with pytest.raises(InputError, match="has no training folder; add train/<class>/ beside 'test'"):
        load(tmp_path)
    write_classes(tmp_path / "train", {"a": 1})
    write_classes(tmp_path / "val", {"a": 1})
    write_classes(tmp_path / "valid", {"a": 1})
    with pytest.raises(InputError, match="has two validation folders; keep one"):
        load(tmp_path)


def test_a_broken_picture_is_named(tmp_path: Path) -> None:
    write_classes(tmp_path / "pets" / "train", {"a": 2, "b": 2})
    (tmp_path / "pets" / "train" / "b" / "000.png").write_text("oh")
    with pytest.raises(InputError, match=r"cannot read image 'train/b/000\.png' of 'pets': .*; repair or remove it"):
        load(tmp_path / "pets")


def test_mixed_sizes_need_an_image_size(tmp_path: Path) -> None:
    write_classes(tmp_path / "train", {"a": 2, "b": 2})
    write_picture(tmp_path / "train" / "b" / "big.png", plane(0, (9, 9)))
    with pytest.raises(InputError, match=r"\(4x5: 4, 9x9: 1\); set image_size \(--image-size\)"):
        load(tmp_path)
    assert load(tmp_path, image_size=6).spec.shape == (1, 6, 6)


def test_parts_of_different_sizes(tmp_path: Path) -> None:
    write_classes(tmp_path / "train", {"a": 2})
    write_picture(tmp_path / "test" / "a" / "x.png", plane(0, (4, 5, 3)))
    with pytest.raises(InputError, match=r"test images are 3x4x5 .* training images are 1x4x5; .* \(--channels\)"):
        load(tmp_path)
    assert load(tmp_path, channels="rgb").spec.shape == (3, 4, 5)
