from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from limbeck.core.errors import InputError
from limbeck.data import NAMES, LoadOptions, holds_sound, load
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
    for change in ({"fit": "resize"}, {"channels": "gray"}, {"image_column": "x"}, {"audio_column": "x"}):
        with pytest.raises(InputError, match="has no effect on"):
            load(tmp_path, **change)


def test_sound_is_known_before_it_is_read(tmp_path: Path) -> None:
    write_classes(tmp_path / "pictures", {"a": 1})
    write_tones(tmp_path / "sounds", {"a": 1})
    (tmp_path / "sounds" / "a" / "000.wav").write_text("not read")
    assert holds_sound(tmp_path / "sounds")
    for other in (tmp_path / "pictures", tmp_path / "nothing", tmp_path, "digits"):
        assert not holds_sound(other)
