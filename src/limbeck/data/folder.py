"""Folders of pictures or recordings: ``train/<class>/*`` with ``test`` or ``val`` beside it, or ``<class>/*`` alone."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch

from limbeck.core.errors import InputError
from limbeck.data.clips import Clips, decode_clips
from limbeck.data.decode import Encoded, decode
from limbeck.data.framing import Framing
from limbeck.data.labelled import Labelled, LabelledSplits
from limbeck.data.normalizations import canonical_name
from limbeck.data.pictures import FilePictures, Listed
from limbeck.data.subsets import chosen

__all__ = ["FolderFiles", "assign_roles", "find_folder"]

_T = TypeVar("_T")

_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm"}
_SOUND_SUFFIXES = {".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".au"}
_ALL_SUFFIXES = _SUFFIXES | _SOUND_SUFFIXES
_MINI_SPEECH = {"down", "go", "left", "no", "right", "stop", "up", "yes"}
_MINI_SPEECH_STRIDE = 8
SPLIT_NAMES = {
    "train": "train",
    "test": "test",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
}
"""What the names of split folders and parquet files stand for."""


def assign_roles(found: dict[str, _T]) -> dict[str, _T]:
    """Which part serves as what: a validation part is the test part of a source that has no other."""
    if "validation" in found and "test" not in found:
        return {"test" if role == "validation" else role: part for role, part in found.items()}
    return found


@dataclass(frozen=True, kw_only=True)
class FolderFiles:
    """Picture files of a folder by part and class, or files of recordings.

    Args:
        root: the folder.
        class_names: names of the class folders, sorted.
        parts: for ``train``, ``validation`` and ``test`` the sorted files of each class, in class order; by their
            names below the root, with ``/`` between folders.
        carve: whether a test part has to be split off, because the folder names no parts.
        sound: whether the files are recordings.
    """

    root: Path
    class_names: tuple[str, ...]
    parts: dict[str, tuple[tuple[str, ...], ...]]
    carve: bool
    sound: bool = False

    @property
    def files(self) -> list[Path]:
        """All files."""
        return [self.root / file for classes in self.parts.values() for files in classes for file in files]

    def decoded_bytes(self, framing: Framing) -> int:
        """Bytes of all pictures, decoded, if they are like the first one, which is opened.

        Raises:
            InputError: it cannot be read.
        """
        shape = self._listed_part(self.parts["train"], framing).shape
        return math.prod(shape) * sum(len(files) for classes in self.parts.values() for files in classes)

    def listed(self, framing: Framing) -> LabelledSplits:
        """The pictures as they are, to be decoded later; the first one of each part is opened.

        Raises:
            InputError: it cannot be read.
        """
        parts = {role: self._listed_part(classes, framing) for role, classes in self.parts.items()}
        return LabelledSplits(
            name=self.root.name,
            class_names=self.class_names,
            train=parts["train"],
            validation=parts.get("validation"),
            test=parts.get("test"),
        )

    def _listed_part(self, classes: Sequence[Sequence[str]], framing: Framing) -> Listed:
        pictures = FilePictures(self.root, tuple(file for one in classes for file in one))
        counts = torch.tensor([len(one) for one in classes])
        return Listed.of(pictures, torch.arange(len(classes)).repeat_interleave(counts), framing)

    def read(self, framing: Framing, clips: Clips | None = None, workers: int | None = None) -> LabelledSplits:
        """Decode everything.

        Args:
            framing: what pictures are brought to.
            clips: what recordings are brought to; None for the defaults.
            workers: threads that decode pictures; None for as many as pay.

        Raises:
            InputError: a picture or recording cannot be read, or the pictures of a part differ in size or channels.
        """
        clips = clips or Clips()
        parts = {role: self._read_part(classes, framing, clips, workers) for role, classes in self.parts.items()}
        return LabelledSplits(
            name=self.root.name,
            class_names=self.class_names,
            train=parts["train"],
            validation=parts.get("validation"),
            test=parts.get("test"),
            sound=clips.sound if self.sound else None,
        )

    def _read_part(
        self, classes: Sequence[Sequence[str]], framing: Framing, clips: Clips, workers: int | None
    ) -> Labelled:
        files = [file for one in classes for file in one]
        labels = [label for label, one in enumerate(classes) for _ in one]
        what = "recording" if self.sound else "image"
        encoded = Encoded(
            count=len(files),
            read=lambda row: (self.root / files[row]).read_bytes(),
            describe=lambda row: f"{what} '{files[row]}' of '{self.root.name}'",
            where=self.root.name,
        )
        numbers = torch.tensor(labels, dtype=torch.int64)
        if not self.sound:
            return Labelled(pixels=decode(encoded, framing, workers), labels=numbers)
        spectrograms, marks = decode_clips(encoded, clips)
        return Labelled(pixels=spectrograms, labels=numbers, marks=marks)


def find_folder(root: Path, classes: str | Sequence[str] | None = None) -> FolderFiles:
    """List the pictures or the recordings of a folder, without opening them.

    A class is a folder; its files may lie deeper. Classes are numbered in the sorted order of their names. Hidden
    files and files that are neither by their ending are passed over, and so are pictures among more recordings or
    recordings among as many pictures. Among recordings, folders whose names begin with an underscore (background
    noise) are no classes.

    Mini-Speech-Commands, known by its name or its eight classes, has the test part that papers use: of each class
    every 8th file in sorted order, from the first.

    Args:
        root: an existing folder, resolved.
        classes: a published subset or the names of classes, as `limbeck.data.subsets.chosen` takes them; other class
            folders are not looked into. None for all.

    Raises:
        InputError: there are no class folders, a class has no files or is not there, or parts have different classes.
    """
    folders = _folders(root)
    found: dict[str, Path] = {}
    named = any(name.lower() == "train" for name in folders)
    if named:
        for name, folder in folders.items():
            role = SPLIT_NAMES.get(name.lower())
            if role is None:
                continue
            if role in found:
                raise InputError(f"folder '{root}' has two {role} folders; keep one of them")
            found[role] = folder
        found = assign_roles(found)
    elif folders and all(name.lower() in SPLIT_NAMES for name in folders):
        raise InputError(f"folder '{root}' has no training folder; add train/<class>/ beside '{next(iter(folders))}'")
    else:
        found["train"] = root
    there = list(_folders(found["train"]))
    wanted = None
    if classes is not None and there:
        wanted = [there[number] for number in chosen(classes, there, root.name)]
    listed = {role: _listed(folder, root, wanted) for role, folder in found.items()}
    sound = _is_sound(listed["train"])
    parts = {role: _chosen(listed[role], folder, root, sound) for role, folder in found.items()}
    if sound and not named and _is_mini_speech(root, there):
        parts, named = _every_eighth(parts["train"]), True
    names = tuple(parts["train"])
    for role, part in parts.items():
        _check_same(names, tuple(part), role)
    return FolderFiles(
        root=root,
        class_names=names,
        parts={role: tuple(part[name] for name in names) for role, part in parts.items()},
        carve=not named,
        sound=sound,
    )


_Classes = dict[str, tuple[str, ...]]


def _folders(folder: Path) -> dict[str, Path]:
    inside = (path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    return {path.name: path for path in sorted(inside)}


def _listed(folder: Path, root: Path, wanted: Sequence[str] | None) -> _Classes:
    """Pictures and recordings of each class folder, or of those that are wanted."""
    inside = _folders(folder).items()
    return {name: _files(path, root) for name, path in inside if wanted is None or name in wanted}


def _files(folder: Path, root: Path) -> tuple[str, ...]:
    """Names below the root of a class's files; linked folders are not entered."""
    found, left = [], [folder.relative_to(root).as_posix()]
    while left:
        inside = left.pop()
        # Millions of files: no Path and, where the system tells kinds while it lists, no call for each of them.
        with os.scandir(root / inside) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    left.append(f"{inside}/{entry.name}")
                elif _is_example(entry.name) and entry.is_file():
                    found.append(f"{inside}/{entry.name}")
    return tuple(sorted(found, key=lambda name: name.split("/")))


def _suffix(name: str) -> str:
    return name[name.rfind(".") :].lower()


def _is_example(name: str) -> bool:
    return not name.startswith(".") and _suffix(name) in _ALL_SUFFIXES


def _is_recording(name: str) -> bool:
    return _suffix(name) in _SOUND_SUFFIXES


def _is_sound(classes: _Classes) -> bool:
    """Whether there are more recordings than pictures."""
    kinds = [_is_recording(file) for files in classes.values() for file in files]
    return 2 * sum(kinds) > len(kinds)


def _chosen(classes: _Classes, folder: Path, root: Path, sound: bool) -> _Classes:
    """The files of one kind of each class."""
    kept = {
        name: tuple(file for file in files if _is_recording(file) == sound)
        for name, files in classes.items()
        if not (sound and name.startswith("_"))
    }
    loose = 0 if any(kept.values()) else sum(_is_example(path.name) for path in folder.iterdir())
    if loose:
        inside = "" if folder == root else f"{folder.name}/"
        raise InputError(
            f"folder '{folder}' holds {loose} pictures or recordings without class folders; put each into the folder "
            f"of its class, as {inside}<class>/picture.JPEG, or move them away"
        )
    if not any(kept.values()):
        raise InputError(
            f"folder '{folder}' holds neither parquet files nor class folders with pictures or recordings; arrange "
            "them as <class>/picture.png, or train/<class>/ and test/<class>/"
        )
    for name, files in kept.items():
        if not files:
            where = f"{name}" if folder == root else f"{folder.name}/{name}"
            what = "recordings" if sound else "pictures"
            raise InputError(f"class folder '{where}' of '{root.name}' has no {what}; add some or remove the folder")
    return kept


def _is_mini_speech(root: Path, folders: Sequence[str]) -> bool:
    classes = {name for name in folders if not name.startswith("_")}
    return canonical_name(root.name) == "mini-speech-commands" or classes == _MINI_SPEECH


def _every_eighth(classes: _Classes) -> dict[str, _Classes]:
    """Training and test files; IDC's code counts from 0 and tests on number 0, 8, 16, ..."""
    test = {name: files[::_MINI_SPEECH_STRIDE] for name, files in classes.items()}
    train = {
        name: tuple(file for number, file in enumerate(files) if number % _MINI_SPEECH_STRIDE)
        for name, files in classes.items()
    }
    return {"train": train, "test": test}


def _check_same(train: tuple[str, ...], other: tuple[str, ...], role: str) -> None:
    missing, surplus = sorted(set(train) - set(other)), sorted(set(other) - set(train))
    if missing or surplus:
        name = (missing or surplus)[0]
        here, there = ("training", role) if missing else (role, "training")
        raise InputError(f"class '{name}' has a {here} folder but no {there} folder; give both the same classes")
