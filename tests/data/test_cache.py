from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from limbeck.core.sound import Sound
from limbeck.data import Labelled, LabelledSplits, load
from limbeck.data import decode as decoding
from limbeck.data.cache import cache_key, cached, default_cache
from tests.data.makers import labelled, splits, write_classes, write_picture, write_tones
from tests.data.makers import plane as plane_of

SPLITS = splits([0, 1, 0], 2, test=labelled([1, 0], start=7))


def never() -> LabelledSplits:
    raise AssertionError("built although it was kept")


def counted(calls: list[int]) -> Callable[[], LabelledSplits]:
    def build() -> LabelledSplits:
        calls.append(1)
        return SPLITS

    return build


def test_what_comes_back_is_what_was_built(tmp_path: Path) -> None:
    assert cached(tmp_path / "deep", "key", lambda: SPLITS) is SPLITS
    again = cached(tmp_path / "deep", "key", never)
    assert (again.name, again.class_names) == (SPLITS.name, SPLITS.class_names)
    assert again.validation is None and again.test is not None and SPLITS.test is not None
    for ours, theirs in ((again.train, SPLITS.train), (again.test, SPLITS.test)):
        assert torch.equal(ours.pixels, theirs.pixels) and torch.equal(ours.labels, theirs.labels)
    assert sorted(path.name for path in (tmp_path / "deep").iterdir()) == ["key"]


@pytest.mark.parametrize("file", ["images.safetensors", "entry.json"])
@pytest.mark.parametrize("damage", ["cut", "flip", "remove", "empty"])
def test_a_damaged_entry_is_built_again(tmp_path: Path, file: str, damage: str) -> None:
    cached(tmp_path, "key", lambda: SPLITS)
    path = tmp_path / "key" / file
    data = path.read_bytes()
    if damage == "remove":
        path.unlink()
    elif damage == "flip":
        path.write_bytes(data[:-3] + bytes([data[-3] ^ 1]) + data[-2:])
    else:
        path.write_bytes(data[: len(data) // 2] if damage == "cut" else b"")
    calls: list[int] = []
    cached(tmp_path, "key", counted(calls))
    assert calls == [1]
    again = cached(tmp_path, "key", never)
    assert torch.equal(again.train.pixels, SPLITS.train.pixels)


def test_a_folder_that_cannot_be_written_is_a_warning(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.warns(UserWarning, match=r"could not be kept in .*set cache \(--cache\)"):
        assert cached(tmp_path / "file", "key", lambda: SPLITS) is SPLITS


def test_the_key_follows_files_and_settings(tmp_path: Path) -> None:
    files = [tmp_path / "a", tmp_path / "b"]
    for file in files:
        file.write_text("1")
        os.utime(file, ns=(0, 10**9))
    key = cache_key(tmp_path, files, {"fit": "crop", "image_size": None})
    assert cache_key(tmp_path, files, {"image_size": None, "fit": "crop"}) == key
    others = {
        cache_key(tmp_path / "x", files, {"fit": "crop", "image_size": None}),
        cache_key(tmp_path, files[:1], {"fit": "crop", "image_size": None}),
        cache_key(tmp_path, files, {"fit": "crop", "image_size": 8}),
    }
    os.utime(files[0], ns=(0, 10**9 + 1))
    others.add(cache_key(tmp_path, files, {"fit": "crop", "image_size": None}))
    files[0].write_text("12")
    os.utime(files[0], ns=(0, 10**9))
    others.add(cache_key(tmp_path, files, {"fit": "crop", "image_size": None}))
    assert len(others | {key}) == 6


def test_where_the_cache_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LIMBECK_CACHE", str(tmp_path / "here"))
    assert default_cache() == tmp_path / "here" / "data"
    monkeypatch.delenv("LIMBECK_CACHE")
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    assert default_cache() == tmp_path / ".cache" / "limbeck" / "data"


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Rows that were decoded."""
    rows: list[int] = []
    one = decoding._decode_one
    monkeypatch.setattr(decoding, "_decode_one", lambda e, row, f: (rows.append(row), one(e, row, f))[1])
    return rows


def test_a_second_load_decodes_nothing(tmp_path: Path, private_cache: Path, decoded: list[int]) -> None:
    root = tmp_path / "pets"
    write_classes(root / "train", {"a": 3, "b": 2})
    first = load(root)
    assert len(decoded) == 5
    second = load(root, validation=0.5, split_seed=4, normalization="measured")
    assert len(decoded) == 5 and len(list((private_cache / "data").iterdir())) == 1
    assert load(root).spec == first.spec and second.spec.digest != first.spec.digest
    load(root, image_size=3)
    assert len(decoded) == 10
    write_picture(root / "train" / "a" / "999.png", plane_of(9))
    assert len(load(root, validation=0).train) == 6 and len(decoded) == 16


def test_another_cache_or_none(tmp_path: Path, private_cache: Path, decoded: list[int]) -> None:
    root = tmp_path / "pets"
    write_classes(root / "train", {"a": 2})
    load(root, cache=False)
    load(root, cache=False)
    assert len(decoded) == 4
    load(root, cache=tmp_path / "mine")
    load(root, cache=tmp_path / "mine")
    assert len(decoded) == 6 and len(list((tmp_path / "mine").iterdir())) == 1
    assert not private_cache.exists()


def test_sound_comes_back_with_its_marks(tmp_path: Path) -> None:
    part = Labelled(pixels=torch.rand(2, 1, 3, 3), labels=torch.tensor([0, 1]), marks=torch.tensor([5, -7]))
    sound = LabelledSplits(name="s", class_names=("a", "b"), train=part, sound=Sound(sample_rate=8_000))
    cached(tmp_path, "key", lambda: sound)
    again = cached(tmp_path, "key", never)
    assert again.sound == sound.sound and again.train.marks is not None
    assert torch.equal(again.train.pixels, part.pixels) and again.train.marks.tolist() == [5, -7]


def test_an_entry_from_before_there_was_sound_is_read(tmp_path: Path) -> None:
    cached(tmp_path, "key", lambda: SPLITS)
    file = tmp_path / "key" / "entry.json"
    about = json.loads(file.read_text(encoding="utf-8"))
    del about["sound"]
    file.write_text(json.dumps(about), encoding="utf-8")
    assert cached(tmp_path, "key", never).sound is None


def test_other_lengths_and_rates_of_recordings_are_other_entries(tmp_path: Path, private_cache: Path) -> None:
    write_tones(tmp_path / "words", {"a": 3, "b": 3})
    for changes in ({}, {}, {"seconds": 0.5}, {"sample_rate": 8_000}, {"image_size": 32}):
        load(tmp_path / "words", **changes)
    assert len(list((private_cache / "data").iterdir())) == 4
