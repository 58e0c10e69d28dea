"""Folders of pictures: ``train/<class>/*`` with ``test`` or ``val`` beside it, or ``<class>/*`` alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch

from limbeck.core.errors import InputError
from limbeck.data.decode import Encoded, decode
from limbeck.data.framing import Framing
from limbeck.data.labelled import Labelled, LabelledSplits

__all__ = ["FolderFiles", "assign_roles", "find_folder"]

_T = TypeVar("_T")

_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm"}
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
    """Picture files of a folder by part and class.

    Args:
        root: the folder.
        class_names: names of the class folders, sorted.
        parts: for ``train``, ``validation`` and ``test`` the sorted files of each class, in class order.
        carve: whether a test part has to be split off, because the folder names no parts.
    """

    root: Path
    class_names: tuple[str, ...]
    parts: dict[str, tuple[tuple[Path, ...], ...]]
    carve: bool

    @property
    def files(self) -> list[Path]:
        """All files."""
        return [file for classes in self.parts.values() for files in classes for file in files]

    def read(self, framing: Framing) -> LabelledSplits:
        """Decode everything.

        Raises:
            InputError: a picture cannot be read, or the pictures of a part differ in size or channels.
        """
        parts = {role: self._read_part(classes, framing) for role, classes in self.parts.items()}
        return LabelledSplits(
            name=self.root.name,
            class_names=self.class_names,
            train=parts["train"],
            validation=parts.get("validation"),
            test=parts.get("test"),
        )

    def _read_part(self, classes: Sequence[Sequence[Path]], framing: Framing) -> Labelled:
        files = [file for one in classes for file in one]
        labels = [label for label, one in enumerate(classes) for _ in one]
        encoded = Encoded(
            count=len(files),
            read=lambda row: files[row].read_bytes(),
            describe=lambda row: f"image '{files[row].relative_to(self.root).as_posix()}' of '{self.root.name}'",
            where=self.root.name,
        )
        return Labelled(pixels=decode(encoded, framing), labels=torch.tensor(labels, dtype=torch.int64))


def find_folder(root: Path) -> FolderFiles:
    """List the pictures of a folder, without opening them.

    A class is a folder; its pictures may lie deeper. Classes are numbered in the sorted order of their names.
    Hidden files and files that are no pictures by their ending are passed over.

    Args:
        root: an existing folder, resolved.

    Raises:
        InputError: there are no class folders, a class has no pictures, or parts have different classes.
    """
    folders = _folders(root)
    parts: dict[str, dict[str, tuple[Path, ...]]] = {}
    if any(name.lower() == "train" for name in folders):
        for name, folder in folders.items():
            role = SPLIT_NAMES.get(name.lower())
            if role is None:
                continue
            if role in parts:
                raise InputError(f"folder '{root}' has two {role} folders; keep one of them")
            parts[role] = _classes(folder, root)
        parts = assign_roles(parts)
    elif folders and all(name.lower() in SPLIT_NAMES for name in folders):
        raise InputError(f"folder '{root}' has no training folder; add train/<class>/ beside '{next(iter(folders))}'")
    else:
        parts["train"] = _classes(root, root)
    names = tuple(parts["train"])
    for role, classes in parts.items():
        _check_same(names, tuple(classes), role)
    return FolderFiles(
        root=root,
        class_names=names,
        parts={role: tuple(classes[name] for name in names) for role, classes in parts.items()},
        carve=not any(name.lower() == "train" for name in folders),
    )


def _folders(folder: Path) -> dict[str, Path]:
    inside = (path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    return {path.name: path for path in sorted(inside)}


def _classes(folder: Path, root: Path) -> dict[str, tuple[Path, ...]]:
    classes = {name: _pictures(path) for name, path in _folders(folder).items()}
    if not any(classes.values()):
        raise InputError(
            f"folder '{folder}' holds neither parquet files nor class folders with pictures; arrange them as "
            "<class>/picture.png, or train/<class>/ and test/<class>/"
        )
    for name, files in classes.items():
        if not files:
            where = f"{name}" if folder == root else f"{folder.name}/{name}"
            raise InputError(f"class folder '{where}' of '{root.name}' has no pictures; add some or remove the folder")
    return classes


def _pictures(folder: Path) -> tuple[Path, ...]:
    inside = (path for path in folder.rglob("*") if path.suffix.lower() in _SUFFIXES)
    return tuple(sorted(path for path in inside if not path.name.startswith(".") and path.is_file()))


def _check_same(train: tuple[str, ...], other: tuple[str, ...], role: str) -> None:
    missing, surplus = sorted(set(train) - set(other)), sorted(set(other) - set(train))
    if missing or surplus:
        name = (missing or surplus)[0]
        here, there = ("training", role) if missing else (role, "training")
        raise InputError(f"class '{name}' has a {here} folder but no {there} folder; give both the same classes")
