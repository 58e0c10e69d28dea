"""A folder of soft labels: one file of tensors for each epoch, and ``manifest.json`` that says whose they are.

The manifest is written first, with what the labels will belong to, and again after each epoch: a folder that was
interrupted is continued with the epoch that is missing. Each epoch has a hash. No code of a file is run.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from limbeck.core.errors import InputError
from limbeck.storage.atomic import write_bytes, write_text
from limbeck.storage.differences import first_difference

__all__ = ["FORMAT", "MANIFEST", "LabelStore", "add_epoch", "begin_store", "open_store"]

FORMAT = 1
MANIFEST = "manifest.json"


@dataclass(frozen=True)
class StoredEpoch:
    """One file of a store.

    Args:
        file: its name.
        bytes: its size.
        sha256: of its content.
    """

    file: str
    bytes: int
    sha256: str


@dataclass(frozen=True)
class LabelStore:
    """Soft labels on the disk.

    Args:
        folder: where they lie.
        about: whose they are: the set, the protocol, the teacher, the seed, the compression.
        planned: epochs that it is to hold.
        epochs: those that it holds.
    """

    folder: Path
    about: Mapping[str, Any]
    planned: int
    epochs: tuple[StoredEpoch, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether all epochs are there."""
        return len(self.epochs) == self.planned

    @property
    def bytes(self) -> int:
        """Bytes of all files, the manifest included."""
        return sum(epoch.bytes for epoch in self.epochs) + len(_manifest(self).encode())

    @property
    def digest(self) -> str:
        """What identifies the content: 32 hexadecimal digits."""
        return hashlib.sha256(_manifest(self).encode()).hexdigest()[:32]

    def read(self, epoch: int) -> dict[str, Tensor]:
        """The tensors of an epoch; after the last stored one it goes round.

        Args:
            epoch: which one, from 0.

        Raises:
            InputError: the file is missing, truncated or edited.
        """
        from safetensors.torch import load

        stored = self.epochs[epoch % len(self.epochs)]
        path = self.folder / stored.file
        try:
            content = path.read_bytes()
        except OSError as error:
            raise InputError(f"{path} cannot be read ({error.strerror}); restore it from a copy.") from error
        if hashlib.sha256(content).hexdigest() != stored.sha256:
            raise InputError(f"{path} was edited or truncated (hash differs); restore it from a copy.")
        return load(content)


def begin_store(folder: Path, about: Mapping[str, Any], planned: int) -> LabelStore:
    """A new folder of labels, or the one that is there, to be continued.

    Args:
        folder: made when missing.
        about: whose labels they are, as plain data.
        planned: epochs that it is to hold, at least 1.

    Raises:
        InputError: the folder holds other labels, or files that are none.
    """
    # As JSON will give it back, so that it can be compared.
    asked = json.loads(json.dumps({"about": about, "planned": planned}))
    if (folder / MANIFEST).is_file():
        store = _read(folder)
        difference = first_difference({"about": store.about, "planned": store.planned}, asked)
        if difference:
            raise InputError(
                f"{folder} holds other labels ({difference}); choose another --out, or repeat what they were made with "
                "to continue them."
            )
        return store
    if folder.exists() and (folder.is_file() or any(child.name[:5] != ".tmp-" for child in folder.iterdir())):
        raise InputError(f"{folder} is not empty and holds no labels; choose another --out.")
    store = LabelStore(folder, asked["about"], planned)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_text(folder / MANIFEST, _manifest(store))
    except OSError as error:
        raise InputError(f"{folder} cannot be written ({error.strerror}); choose another --out.") from error
    return store


def add_epoch(store: LabelStore, tensors: Mapping[str, Tensor]) -> LabelStore:
    """The store with one more epoch, on the disk already.

    Args:
        store: so far; not complete.
        tensors: by name, on the CPU.
    """
    from safetensors.torch import save

    assert not store.complete, "the store is complete"
    content = save({name: tensor.contiguous() for name, tensor in tensors.items()})
    name = f"epoch-{len(store.epochs):04d}.safetensors"
    write_bytes(store.folder / name, content)
    entry = StoredEpoch(name, len(content), hashlib.sha256(content).hexdigest())
    store = replace(store, epochs=(*store.epochs, entry))
    write_text(store.folder / MANIFEST, _manifest(store))
    return store


def open_store(folder: str | Path) -> LabelStore:
    """The labels in a folder, to be read.

    Raises:
        InputError: there are none, or not all of them yet.
    """
    folder = Path(folder)
    if not (folder / MANIFEST).is_file():
        raise InputError(f"{folder} holds no soft labels ({MANIFEST} is missing); make some with 'limbeck relabel'.")
    store = _read(folder)
    if not store.complete:
        raise InputError(
            f"{folder} holds {len(store.epochs)} of {store.planned} epochs; repeat the 'limbeck relabel' that began it."
        )
    return store


def _manifest(store: LabelStore) -> str:
    epochs = [{"file": epoch.file, "bytes": epoch.bytes, "sha256": epoch.sha256} for epoch in store.epochs]
    plain = {
        "format": FORMAT,
        "about": store.about,
        "planned": store.planned,
        "bytes": sum(epoch.bytes for epoch in store.epochs),
        "epochs": epochs,
    }
    return json.dumps(plain, indent=2, ensure_ascii=False) + "\n"


def _read(folder: Path) -> LabelStore:
    path = folder / MANIFEST
    try:
        plain = json.loads(path.read_text(encoding="utf-8"))
        if plain["format"] != FORMAT:
            raise InputError(f"{path} is not of format {FORMAT}, the only one this version reads; install a newer one.")
        epochs = tuple(StoredEpoch(entry["file"], entry["bytes"], entry["sha256"]) for entry in plain["epochs"])
        store = LabelStore(folder, plain["about"], plain["planned"], epochs)
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} is damaged ({error!r}); restore it from a copy.") from error
    names = [epoch.file for epoch in epochs]
    if names != [f"epoch-{number:04d}.safetensors" for number in range(len(names))] or len(names) > store.planned:
        raise InputError(f"{path} is damaged (its list of files); restore it from a copy.")
    return store
