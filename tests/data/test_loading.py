from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from limbeck.core.errors import InputError
from limbeck.data import NAMES, SUBSETS, LoadOptions, from_arrays, holds_sound, load
from tests.data.makers import write_classes, write_tones


def test_names() -> None:
    assert NAMES == ("digits", "mnist", "fashion-mnist", "cifar10", "cifar100", "svhn")
    assert load().spec == load("digits").spec == load("Digits").spec


def test_options_and_changes_are_combined() -> None:
    options = LoadOptions(validation=0, image_size=4)
    assert load("digits", options).spec.shape == (1, 4, 4)
    data = load("digits", options, validation=0.5, normalization="measured")
    assert data.spec.shape == (1, 4, 4) and data.validation is not None
    assert options.validation == 0


def test_unknown_names_get_a_suggestion() -> None:
    with pytest.raises(InputError, match=r"unknown data set 'cifar10-jpeg'; did you mean 'cifar100?'"):
        load("cifar10-jpeg")
    with pytest.raises(InputError, match="unknown data set 'pets'; known: cifar10, cifar100, digits"):
        load("pets")


def test_paths_are_told_from_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("digits", "pets"):
        write_classes(tmp_path / name, {"a": 3, "b": 3})
    assert load("digits").spec.classes == 10
    for source in ("./digits", Path("digits"), tmp_path / "digits"):
        assert load(source).spec.class_names == ("a", "b")
        assert load(source).spec.name == "digits"
    assert load("pets").spec.name == "pets"
    monkeypatch.chdir(tmp_path / "pets")
    assert load(".").spec.name == "pets"
    with pytest.raises(InputError, match=r"there is no folder '\./cats'; give an existing folder or one of digits"):
        load("./cats")
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(InputError, match="is a file of another kind; give a folder"):
        load(tmp_path / "notes.txt")


def test_home_is_understood(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    write_classes(tmp_path / "pets", {"a": 3})
    assert load("~/pets").spec.name == "pets"


@pytest.mark.parametrize(
    ("source", "changes", "sentence"),
    [
        ("digits", {"root": Path("x")}, r"root \(--root\) has no effect on 'digits'; leave it out"),
        ("digits", {"download": True}, r"download \(--download\) has no effect on 'digits'"),
        ("digits", {"label_column": "x"}, "label_column .* has no effect on 'digits'"),
        ("digits", {"normalization": "published"}, "no published normalization is known for 'digits'"),
        ("digits", {"validation": 1}, r"validation must lie in \[0, 1\), not 1"),
        ("digits", {"colour": "x"}, "unknown loading option 'colour'; known: audio_column, cache, channels"),
        ("digits", {"stream": "on"}, r"stream \(--stream\) has no effect on 'digits'; leave it out"),
        ("digits", {"workers": 2}, r"workers \(--workers\) has no effect on 'digits'"),
        ("digits", {"classes": "imagenette"}, r"'digits' has no class 'n01440764' \(tench\) of the subset imagenette"),
        ("folder", {"classes": "b"}, "unknown class of 'folder' 'b'; known: a"),
        ("folder", {"image_column": "x"}, "image_column .* has no effect on"),
        ("folder", {"root": Path("x")}, "root .* has no effect on"),
        ("folder", {"test_fraction": 1.5}, r"test_fraction must lie in \[0, 1\)"),
    ],
)
def test_options_that_do_not_apply(tmp_path: Path, source: str, changes, sentence: str) -> None:  # type: ignore[no-untyped-def]
    write_classes(tmp_path / "folder", {"a": 3})
    with pytest.raises(InputError, match=sentence):
        load(tmp_path / source if source == "folder" else source, **changes)


@pytest.mark.parametrize("change", [{"sample_rate": 8_000}, {"seconds": 2.0}, {"audio_column": "x"}])
def test_options_of_sound_are_refused_for_pictures(tmp_path: Path, change: dict[str, Any]) -> None:
    write_classes(tmp_path, {"a": 3, "b": 3})
    for source in ("digits", tmp_path):
        with pytest.raises(InputError, match="has no effect on"):
            load(source, **change)


def test_options_of_pictures_are_refused_for_sound(tmp_path: Path) -> None:
    write_tones(tmp_path, {"a": 3, "b": 3})
    pictures_only = ({"fit": "resize"}, {"channels": "gray"}, {"image_column": "x"}, {"stream": "on"}, {"workers": 2})
    for change in (*pictures_only, {"audio_column": "x"}):
        with pytest.raises(InputError, match="has no effect on"):
            load(tmp_path, **change)


def test_sound_is_known_before_it_is_read(tmp_path: Path) -> None:
    write_classes(tmp_path / "pictures", {"a": 1})
    write_tones(tmp_path / "sounds", {"a": 1})
    (tmp_path / "sounds" / "a" / "000.wav").write_text("not read")
    assert holds_sound(tmp_path / "sounds")
    for other in (tmp_path / "pictures", tmp_path / "nothing", tmp_path, "digits"):
        assert not holds_sound(other)


def test_some_classes_of_a_named_set() -> None:
    whole, some = (load("digits", validation=0, **change) for change in ({}, {"classes": ("7", "3")}))
    assert some.spec.class_names == ("3", "7") and some.spec.name == "digits"
    for ours, theirs in ((some.train, whole.train), (some.require_test(), whole.require_test())):
        for label, number in enumerate((3, 7)):
            mine = ours.images(ours.class_rows(label))
            assert torch.equal(mine, theirs.images(theirs.class_rows(number)))
    assert len(some.train) == sum(len(whole.train.class_rows(number)) for number in (3, 7))


@pytest.mark.parametrize("stream", ["on", "off"])
def test_some_classes_of_a_folder_are_numbered_in_sorted_order(tmp_path: Path, stream: Any) -> None:
    write_classes(tmp_path / "pets" / "train", {"ant": 4, "bee": 4, "cow": 4, "dog": 4})
    write_classes(tmp_path / "pets" / "val", {"cow": 1, "bee": 2, "fly": 1}, start=90)
    with pytest.raises(InputError, match="class 'ant' has a training folder but no test folder"):
        load(tmp_path / "pets", stream=stream)
    data = load(tmp_path / "pets", stream=stream, classes=("cow", "bee"), validation=0)
    assert data.spec.class_names == ("bee", "cow") and data.train.class_counts() == [4, 4]
    assert data.require_test().class_counts() == [2, 1]
    assert (data.train.images(range(8))[:, 0, 0, 0] * 255).round().tolist() == [4, 5, 6, 7, 8, 9, 10, 11]
    with pytest.raises(InputError, match="class 'dog' has a training folder but no test folder"):
        load(tmp_path / "pets", stream=stream, classes=("cow", "dog"))


@pytest.mark.parametrize("stream", ["on", "off"])
def test_a_published_subset_goes_by_its_name(tmp_path: Path, stream: Any, private_cache: Path) -> None:
    numbers = (*SUBSETS["imagenette"], "n00000001", "n99999999")
    write_classes(tmp_path / "ours" / "train", dict.fromkeys(numbers, 2))
    data = load(tmp_path / "ours", stream=stream, classes="ImageNette", channels="rgb", normalization="published")
    assert data.spec.name == "imagenette" and data.spec.class_names == SUBSETS["imagenette"]
    assert data.spec.normalization.mean == (0.485, 0.456, 0.406)
    again = load(tmp_path / "ours", stream=stream, classes="ImageNette", channels="rgb", normalization="published")
    assert again.spec == data.spec
    whole = load(tmp_path / "ours", stream=stream, channels="rgb")
    assert (whole.spec.name, whole.spec.classes) == ("ours", 12)


@pytest.mark.parametrize("stream", ["auto", "on", "off"])
def test_pictures_without_class_folders_are_explained(tmp_path: Path, stream: Any) -> None:
    write_classes(tmp_path / "imagenet" / "train", {"a": 2, "b": 2})
    write_classes(tmp_path / "imagenet", {"val": 3})
    sentence = "holds 3 pictures or recordings without class folders; .* as val/<class>/picture.JPEG, or move them away"
    with pytest.raises(InputError, match=f"folder '.*/imagenet/val' {sentence}"):
        load(tmp_path / "imagenet", stream=stream)


@pytest.mark.parametrize("change", [{"classes": ("0",)}, {"stream": "on"}, {"workers": 2}])
def test_arrays_are_neither_streamed_nor_chosen_from(change: dict[str, Any]) -> None:
    images, labels = torch.zeros(4, 1, 2, 2), [0, 1, 0, 1]
    with pytest.raises(InputError, match=f"{next(iter(change))} .* has no effect on arrays; leave it out"):
        from_arrays((images, labels), **change)
