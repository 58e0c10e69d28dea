from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from limbeck.core.errors import InputError
from limbeck.data import load
from limbeck.data.folder import find_folder
from tests.data.makers import plane, write_classes, write_picture, write_tones


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
        InputError, match="neither parquet files nor class folders with pictures or recordings; arrange"
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


def test_recordings_are_read_like_pictures(tmp_path: Path) -> None:
    write_tones(tmp_path / "pets" / "train", {"cat": 3, "dog": 4})
    write_tones(tmp_path / "pets" / "test", {"cat": 2, "dog": 1})
    data = load(tmp_path / "pets", validation=0, cache=False)
    assert data.spec.class_names == ("cat", "dog") and data.spec.shape == (1, 64, 64)
    assert data.train.class_counts() == [3, 4] and data.require_test().class_counts() == [2, 1]
    assert data.spec.sound is not None and data.train.pixels.dtype == torch.float32
    # 500 and 1,000 Hz of 8,000, in 64 rows.
    peaks = data.train.images(range(7))[:, 0, :, 30].argmax(dim=1)
    assert peaks.tolist() == [4, 4, 4, 8, 8, 8, 8]


def test_recordings_without_parts_are_split(tmp_path: Path) -> None:
    write_tones(tmp_path, {"a": 10, "b": 5})
    data = load(tmp_path, validation=0)
    assert (data.train.class_counts(), data.require_test().class_counts()) == ([8, 4], [2, 1])


@pytest.mark.parametrize("by", ["name", "classes"])
def test_every_eighth_recording_of_mini_speech_commands_is_for_testing(tmp_path: Path, by: str) -> None:
    words = ("down", "go", "left", "no", "right", "stop", "up", "yes")
    root = tmp_path / ("mini_speech_commands" if by == "name" else "words")
    classes = words[:2] if by == "name" else words
    write_tones(root, dict.fromkeys(classes, 10))
    write_tones(root, {"_background_noise_": 1})
    (root / "README.md").write_text("Speech Commands")
    found = find_folder(root)
    assert found.sound and not found.carve and found.class_names == classes
    for test, train in zip(found.parts["test"], found.parts["train"], strict=True):
        assert [Path(file).name for file in test] == ["000.wav", "008.wav"]
        assert [Path(file).name for file in train] == [f"{number:03d}.wav" for number in (1, 2, 3, 4, 5, 6, 7, 9)]


def test_a_named_test_part_of_mini_speech_commands_is_kept(tmp_path: Path) -> None:
    write_tones(tmp_path / "mini_speech_commands" / "train", {"go": 9})
    write_tones(tmp_path / "mini_speech_commands" / "test", {"go": 1})
    assert [len(files) for files in find_folder(tmp_path / "mini_speech_commands").parts["train"]] == [9]


def test_what_there_is_more_of_decides_between_pictures_and_recordings(tmp_path: Path) -> None:
    write_classes(tmp_path, {"a": 2, "b": 2})
    write_tones(tmp_path, {"a": 1, "b": 3})
    assert not find_folder(tmp_path).sound
    write_tones(tmp_path, {"a": 2, "b": 3})
    found = find_folder(tmp_path)
    assert found.sound and {file.suffix for file in found.files} == {".wav"}
    assert [len(files) for files in found.parts["train"]] == [2, 3]


def test_a_class_without_recordings_and_a_broken_one_are_named(tmp_path: Path) -> None:
    write_tones(tmp_path / "words", {"a": 3})
    (tmp_path / "words" / "b").mkdir()
    with pytest.raises(InputError, match="class folder 'b' of 'words' has no recordings"):
        load(tmp_path / "words")
    (tmp_path / "words" / "b" / "x.wav").write_text("oh")
    with pytest.raises(InputError, match=r"cannot read recording 'b/x\.wav' of 'words': it is no recording"):
        load(tmp_path / "words")
