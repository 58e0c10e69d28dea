from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet
import pytest
import torch
from PIL import Image

from limbeck.core.errors import InputError
from limbeck.data import load
from limbeck.data.framing import Framing
from limbeck.data.parquet import find_parquet
from limbeck.formats.wav import wav_bytes
from tests.data.makers import encode, plane, shared, tone, write_parquet

NAMES = {"image": {"_type": "Image"}, "label": {"_type": "ClassLabel", "names": ["cat", "dog"]}}


def pictures(count: int, start: int = 0) -> list[Any]:
    return [encode(plane(start + i)) for i in range(count)]


def firsts(part: Any) -> list[int]:
    return part.pixels[:, 0, 0, 0].tolist()


def test_parts_shards_and_class_names(tmp_path: Path) -> None:
    root = tmp_path / "pets"
    write_parquet(root / "train-00001-of-00002.parquet", pictures(2, 10), [0, 1], features=NAMES)
    write_parquet(root / "train-00000-of-00002.parquet", pictures(3), [1, 0, 1], features=NAMES)
    write_parquet(root / "test-00000-of-00001.parquet", pictures(2, 50), [0, 1], features=NAMES)
    data = load(root, validation=0)
    assert data.spec.name == "pets" and data.spec.class_names == ("cat", "dog")
    assert firsts(data.train) == [0, 1, 2, 10, 11] and data.train.labels.tolist() == [1, 0, 1, 0, 1]
    assert np.array_equal(data.train.pixels[3, 0].numpy(), plane(10))
    assert firsts(data.require_test()) == [50, 51]


@pytest.mark.parametrize("name", ["validation-0.parquet", "val.parquet", "valid_x.parquet"])
def test_validation_files_serve_as_test_only_where_there_are_no_others(tmp_path: Path, name: str) -> None:
    write_parquet(tmp_path / "data" / "train.parquet", pictures(4), [0, 1, 0, 1])
    write_parquet(tmp_path / "data" / name, pictures(2, 30), [0, 1])
    data = load(tmp_path, validation=0.5)
    assert firsts(data.require_test()) == [30, 31] and len(data.train) == 2
    write_parquet(tmp_path / "data" / "test-0.parquet", pictures(2, 60), [0, 1])
    data = load(tmp_path, validation=0.5)
    assert firsts(data.require_test()) == [60, 61] and firsts(data.require_validation()) == [30, 31]
    assert len(data.train) == 4


def test_files_of_other_names_are_split(tmp_path: Path) -> None:
    file = tmp_path / "everything.parquet"
    write_parquet(file, pictures(10), [0, 1] * 5)
    for source, name in ((file, "everything"), (tmp_path, tmp_path.name)):
        data = load(source, validation=0)
        assert data.spec.name == name
        assert data.require_test().class_counts() == [1, 1] and data.train.class_counts() == [4, 4]


@pytest.mark.parametrize(
    ("labels", "names", "numbers"),
    [
        ([2, 0, 1], ("0", "1", "2"), [2, 0, 1]),
        (["owl", "bat", "owl"], ("bat", "owl"), [1, 0, 1]),
        (pyarrow.array(["owl", "bat", "owl"]).dictionary_encode(), ("bat", "owl"), [1, 0, 1]),
    ],
)
def test_labels_without_declared_names(tmp_path: Path, labels: Any, names: tuple[str, ...], numbers: list[int]) -> None:
    write_parquet(tmp_path / "train.parquet", pictures(3), labels)
    data = load(tmp_path, validation=0)
    assert data.spec.class_names == names and data.train.labels.tolist() == numbers


def test_columns_are_found_by_type_then_by_name_or_chosen(tmp_path: Path) -> None:
    typed = {"scan": {"_type": "Image"}, "kind": {"_type": "ClassLabel", "names": ["x", "y"]}}
    write_parquet(tmp_path / "a" / "train.parquet", pictures(2), [0, 1], features=typed, columns=("scan", "kind"))
    assert load(tmp_path / "a", validation=0).spec.class_names == ("x", "y")
    write_parquet(tmp_path / "b" / "train.parquet", pictures(2), [0, 1], columns=("img", "fine_label"), struct=False)
    assert load(tmp_path / "b", validation=0).spec.classes == 2
    write_parquet(tmp_path / "c" / "train.parquet", pictures(2), [0, 1], columns=("scan", "kind"))
    with pytest.raises(InputError, match=r"clearly the image column; set image_column .* one of: scan, kind"):
        load(tmp_path / "c")
    with pytest.raises(InputError, match=r"clearly the label column; set label_column \(--label-column\)"):
        load(tmp_path / "c", image_column="scan")
    with pytest.raises(InputError, match=r"'train.parquet' has no column 'foo'; set label_column"):
        load(tmp_path / "c", image_column="scan", label_column="foo")
    assert load(tmp_path / "c", image_column="scan", label_column="kind", validation=0).spec.classes == 2


def test_of_two_kinds_of_labels_the_fine_ones_are_taken(tmp_path: Path) -> None:
    kinds = {
        "img": {"_type": "Image"},
        "fine_label": {"_type": "ClassLabel", "names": ["a", "b", "c"]},
        "coarse_label": {"_type": "ClassLabel", "names": ["all"]},
    }
    write_parquet(tmp_path / "x.parquet", pictures(3), [0, 1, 2], features=kinds, columns=("img", "fine_label"))
    table = pyarrow.parquet.read_table(tmp_path / "x.parquet").append_column("coarse_label", [[0, 0, 0]])
    (tmp_path / "x.parquet").unlink()
    pyarrow.parquet.write_table(table, tmp_path / "train.parquet")
    assert load(tmp_path, validation=0).spec.class_names == ("a", "b", "c")
    assert load(tmp_path, validation=0, label_column="coarse_label").spec.class_names == ("all",)


@pytest.mark.parametrize(
    ("images", "labels", "features", "sentence"),
    [
        (pictures(2), [0, 2], NAMES, r"training label 2 \(row 1\) lies outside 0\.\.1"),
        (pictures(2), [0, -1], None, r"training label -1 \(row 1\)"),
        (pictures(2), [0, 0], NAMES, "class 'dog' has no training images"),
        (pictures(2), [0, 2], None, "class '1' has no training images"),
        (
            pictures(2),
            [0.0, 1.0],
            None,
            "label column 'label' of 'train.parquet' holds double, neither integers",
        ),
        (
            pictures(2),
            [0, None],
            NAMES,
            "row 1 of 'train.parquet' has no label; fill it in or remove the row",
        ),
        ([pictures(1)[0], None], [0, 1], NAMES, "row 1 of 'train.parquet' has no picture"),
        ([pictures(1)[0], b"x"], [0, 1], NAMES, "cannot read row 1 of 'train.parquet': it is no picture"),
        ([*pictures(1), encode(plane(0, (3, 3)))], [0, 1], NAMES, r"different sizes .*\(4x5: 1, 3x3: 1\)"),
        ([], pyarrow.array([], "int64"), NAMES, "the train files of '.*' have no rows"),
    ],
)
def test_rows_that_cannot_be(tmp_path: Path, images: Any, labels: Any, features: Any, sentence: str) -> None:
    write_parquet(tmp_path / "train.parquet", images, labels, features=features)
    with pytest.raises(InputError, match=sentence):
        load(tmp_path)


def test_files_that_do_not_fit_together(tmp_path: Path) -> None:
    write_parquet(tmp_path / "test.parquet", pictures(2), ["cat", "owl"])
    with pytest.raises(InputError, match=r"has no training files; name them train-\*\.parquet"):
        load(tmp_path)
    write_parquet(tmp_path / "train.parquet", pictures(2), ["cat", "dog"])
    with pytest.raises(InputError, match=r"row 1 of 'test.parquet' has the test label 'owl', a class without training"):
        load(tmp_path)
    other = {**NAMES, "label": {"_type": "ClassLabel", "names": ["dog", "cat"]}}
    write_parquet(tmp_path / "train.parquet", pictures(2), [0, 1], features=NAMES)
    write_parquet(tmp_path / "test.parquet", pictures(2), [0, 1], features=other)
    with pytest.raises(InputError, match=r"the test files of '.*' name other classes than the training files"):
        load(tmp_path)
    write_parquet(tmp_path / "test.parquet", pictures(2), [0, 0], features=NAMES)
    with pytest.raises(InputError, match="class 'dog' has no test images"):
        load(tmp_path)
    write_parquet(tmp_path / "train-1.parquet", pictures(2), [0, 1], features=other)
    with pytest.raises(InputError, match=r"'train.parquet' has other columns or classes than 'train-1.parquet'"):
        load(tmp_path)


def test_a_row_is_named_within_its_file(tmp_path: Path) -> None:
    write_parquet(tmp_path / "train-0.parquet", pictures(3), [0, 1, 0])
    write_parquet(tmp_path / "train-1.parquet", [*pictures(1), b"x"], [0, 1])
    with pytest.raises(InputError, match=r"cannot read row 1 of 'train-1\.parquet'"):
        load(tmp_path)


def test_a_file_that_is_no_parquet(tmp_path: Path) -> None:
    (tmp_path / "train.parquet").write_text("nothing")
    with pytest.raises(InputError, match=r"cannot read 'train\.parquet' as parquet \(.*\); repair or remove it"):
        load(tmp_path)


def test_spoken_digits_load_with_one_call() -> None:
    data = load(shared("fsdd"))
    assert data.spec.class_names[:3] == ("zero", "one", "two") and data.spec.shape == (1, 64, 64)
    assert (len(data.train), len(data.require_test())) == (2430, 300)
    # Telephone quality: nothing above 4,000 Hz, the middle of the rows.
    loudness = data.train.images(range(100)).mean(dim=(0, 1, 3))
    assert loudness[:30].min() > 3 * loudness[36:].max()


def raw(file: Path, row: int) -> np.ndarray[Any, Any]:
    """One picture, read the plain way."""
    cell = pyarrow.parquet.read_table(file).column("image")[row].as_py()
    with Image.open(io.BytesIO(cell["bytes"])) as picture:
        return np.atleast_3d(np.asarray(picture)).transpose(2, 0, 1)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "shape", "count", "first"),
    [
        ("fashion-mnist", (1, 28, 28), 60_000, "T-shirt/top"),
        ("cifar10-jpeg", (3, 32, 32), 50_000, "airplane"),
    ],
)
def test_real_data(name: str, shape: tuple[int, ...], count: int, first: str, private_cache: Path) -> None:
    folder = shared(name)
    data = load(folder)
    assert data.spec.name == name and data.spec.shape == shape and data.spec.class_names[0] == first
    assert data.train.class_counts() == [count // 10 * 9 // 10] * 10
    assert data.require_validation().class_counts() == [count // 100] * 10
    assert data.require_test().class_counts() == [1000] * 10
    for row in (0, 777, 9_999):
        expected = raw(folder / "test-00000-of-00001.parquet", row)
        assert np.array_equal(data.require_test().pixels[row].numpy(), expected)
    assert len(list((private_cache / "data").iterdir())) == 1
    again = load(folder)
    assert again.spec == data.spec
    assert torch.equal(again.train.pixels, data.train.pixels) and torch.equal(again.train.labels, data.train.labels)


def recordings(count: int) -> list[bytes | None]:
    return [wav_bytes(tone(500.0 * (number + 1), 0.2, 8_000), 8_000) for number in range(count)]


SOUND = {"sound": {"_type": "Audio"}, "label": {"_type": "ClassLabel", "names": ["one", "two"]}}


@pytest.mark.parametrize(
    ("columns", "features", "options"),
    [
        (("audio", "label"), None, {}),
        (("sound", "label"), SOUND, {}),
        (("image", "label"), None, {"audio_column": "image"}),
    ],
)
def test_a_column_of_recordings_is_found(
    tmp_path: Path, columns: tuple[str, str], features: Any, options: dict[str, Any]
) -> None:
    for part in ("train", "test"):
        write_parquet(tmp_path / f"{part}-0.parquet", recordings(2), [0, 1], features=features, columns=columns)
    data = load(tmp_path, validation=0, **options)
    assert data.spec.sound is not None and len(data.train) == len(data.require_test()) == 2
    assert data.train.images([0, 1])[:, 0, :, 3].argmax(dim=1).tolist() == [4, 8]


@pytest.mark.parametrize(
    ("rows", "options", "message"),
    [
        ([recordings(1)[0], b"x"], {}, "cannot read row 1 of 'train-0.parquet': it is no recording"),
        ([recordings(1)[0], None], {}, "row 1 of 'train-0.parquet' has no recording"),
        (recordings(2), {"audio_column": "label"}, "column 'label' .* cannot hold both examples and labels"),
        (recordings(2), {"audio_column": "nope"}, "has no column 'nope'; set audio_column"),
        (recordings(2), {"audio_column": "audio", "image_column": "audio"}, "exclude one another"),
        (recordings(2), {"fit": "resize"}, "fit .* has no effect on"),
    ],
)
def test_recordings_that_cannot_be(tmp_path: Path, rows: Any, options: dict[str, Any], message: str) -> None:
    write_parquet(tmp_path / "train-0.parquet", rows, [0, 1], columns=("audio", "label"))
    with pytest.raises(InputError, match=message):
        load(tmp_path, **options)


def test_pictures_go_before_recordings(tmp_path: Path) -> None:
    features = {"image": {"_type": "Image"}, "audio": {"_type": "Audio"}}
    write_parquet(tmp_path / "train-0.parquet", pictures(4), [0, 1, 0, 1], features=features)
    found = find_parquet(tmp_path, None, None)
    assert found is not None and not found.sound


def test_the_size_of_decoded_pictures_is_told_before_they_are_decoded(tmp_path: Path) -> None:
    write_parquet(tmp_path / "train.parquet", [*pictures(5), b"not opened"], [0, 1, 0, 1, 1, 0], features=NAMES)
    write_parquet(tmp_path / "test.parquet", pictures(2), [0, 1], features=NAMES)
    for classes, size, count in ((None, None, 8 * 20), (None, 3, 8 * 9), ("dog", None, 4 * 20), (("cat",), 2, 4 * 4)):
        found = find_parquet(tmp_path, None, None, classes=classes)
        assert found is not None and found.decoded_bytes(Framing(image_size=size)) == count


@pytest.mark.parametrize("stream", ["on", "off"])
def test_classes_are_chosen_by_name(tmp_path: Path, stream: Any) -> None:
    write_parquet(tmp_path / "train.parquet", pictures(5), ["owl", "bat", "cat", "owl", "bat"])
    write_parquet(tmp_path / "test.parquet", pictures(3, 50), ["cat", "bat", "owl"])
    data = load(tmp_path, validation=0, stream=stream, classes=("owl", "bat"))
    assert data.spec.class_names == ("bat", "owl") and data.train.labels.tolist() == [1, 0, 1, 0]
    assert (data.train.images(range(4))[:, 0, 0, 0] * 255).round().tolist() == [0, 1, 3, 4]
    assert (data.require_test().images([0, 1])[:, 0, 0, 0] * 255).round().tolist() == [51, 52]
    with pytest.raises(InputError, match=r"unknown class of '.*' 'zebra'; known: bat, cat, owl"):
        load(tmp_path, stream=stream, classes=("bat", "zebra"))
    write_parquet(tmp_path / "test.parquet", pictures(1), ["cat"])
    with pytest.raises(InputError, match=r"the test files of '.*' have no rows of the chosen classes; choose others"):
        load(tmp_path, stream=stream, classes=("owl", "bat"))


def test_labels_that_cannot_be_are_refused_whatever_classes_are_chosen(tmp_path: Path) -> None:
    write_parquet(tmp_path / "train.parquet", pictures(3), [0, 1, 7], features=NAMES)
    for stream in ("on", "off"):
        with pytest.raises(InputError, match=r"training label 7 \(row 2\) lies outside 0\.\.1"):
            load(tmp_path, stream=stream, classes="dog")
