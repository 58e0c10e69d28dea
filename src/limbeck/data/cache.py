"""Decoded data sets kept on disk, so that the second load takes a moment.

An entry is a folder: ``images.safetensors`` with pixels and labels of each part, and ``entry.json`` with
names and a checksum. Its name is a hash of everything that the decoded images depend on, so an entry never
goes stale: changed files or other options lead to another entry. Entries may be deleted at any time.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from limbeck.core.errors import InputError
from limbeck.core.plain import decode_dataclass, encode
from limbeck.core.sound import Sound
from limbeck.data.labelled import Labelled, LabelledSplits
from limbeck.storage.atomic import replacing_folder
from limbeck.storage.cache import cache_root

__all__ = ["cache_key", "cached", "default_cache"]

_VERSION = 1
_ROLES = ("train", "validation", "test")


def default_cache() -> Path:
    """``$LIMBECK_CACHE/data``, or ``~/.cache/limbeck/data`` where the variable is not set."""
    return cache_root() / "data"


def cache_key(root: Path, files: Sequence[Path], settings: Mapping[str, Any]) -> str:
    """Name of the entry for these files, read with these settings: 32 hexadecimal digits.

    Files count by path, size and time of change, not by content, which would take as long to read as to
    decode.

    Args:
        root: folder or file that was asked for.
        files: every file that is read.
        settings: options that change the decoded images, of plain values.
    """
    state = hashlib.blake2b(digest_size=16)
    # Another Pillow may carry another JPEG decoder.
    head = [_VERSION, importlib.metadata.version("pillow"), str(root), sorted(settings.items())]
    state.update(json.dumps(head).encode())
    for file in files:
        facts = file.stat()
        state.update(json.dumps([str(file), facts.st_size, facts.st_mtime_ns]).encode())
    return state.hexdigest()


def cached(directory: Path, key: str, build: Callable[[], LabelledSplits]) -> LabelledSplits:
    """What ``build`` returned before under this key, or what it returns now, which is then kept.

    An entry that is damaged is built again. Where the entry cannot be written, a warning says so and nothing
    is kept.

    Args:
        directory: folder of all entries; made when missing.
        key: name of the entry.
        build: decodes the data set.
    """
    entry = directory / key
    found = _read(entry)
    if found is not None:
        return found
    splits = build()
    try:
        _write(entry, splits)
    except OSError as error:
        warnings.warn(
            f"decoded images could not be kept in '{directory}' ({error}); set cache (--cache) to another folder",
            stacklevel=2,
        )
    return splits


def _write(entry: Path, splits: LabelledSplits) -> None:
    import safetensors.torch

    tensors = {}
    for role in _ROLES:
        part = getattr(splits, role)
        if part is not None:
            tensors[f"{role}.pixels"] = part.pixels.contiguous()
            tensors[f"{role}.labels"] = part.labels.contiguous()
            if part.marks is not None:
                tensors[f"{role}.marks"] = part.marks.contiguous()
    with replacing_folder(entry) as folder:
        safetensors.torch.save_file(tensors, folder / "images.safetensors")
        about = {
            "name": splits.name,
            "class_names": splits.class_names,
            "sound": encode(splits.sound),
            "checksum": _checksum(folder / "images.safetensors"),
        }
        (folder / "entry.json").write_text(json.dumps(about), encoding="utf-8")


def _read(entry: Path) -> LabelledSplits | None:
    """The entry, or None where it is missing or damaged."""
    import safetensors
    import safetensors.torch

    images = entry / "images.safetensors"
    try:
        about = json.loads((entry / "entry.json").read_text(encoding="utf-8"))
        if about["checksum"] != _checksum(images):
            return None
        tensors = safetensors.torch.load_file(images)
        parts = {
            role: Labelled(
                pixels=tensors[f"{role}.pixels"],
                labels=tensors[f"{role}.labels"],
                marks=tensors.get(f"{role}.marks"),
            )
            for role in _ROLES
            if f"{role}.pixels" in tensors
        }
        sound = about.get("sound")
        return LabelledSplits(
            name=about["name"],
            class_names=tuple(about["class_names"]),
            train=parts["train"],
            validation=parts.get("validation"),
            test=parts.get("test"),
            sound=None if sound is None else decode_dataclass(Sound, sound, "sound"),
        )
    except (OSError, ValueError, InputError, KeyError, TypeError, safetensors.SafetensorError):
        return None


def _checksum(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
