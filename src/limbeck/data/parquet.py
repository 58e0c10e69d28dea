"""Parquet files in the Hugging Face layout: a column of encoded pictures or recordings and a column of labels."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from limbeck.core.errors import InputError
from limbeck.data.clips import Clips, decode_clips
from limbeck.data.decode import Encoded, decode
from limbeck.data.folder import SPLIT_NAMES, assign_roles
from limbeck.data.framing import Framing
from limbeck.data.labelled import Labelled, LabelledSplits

__all__ = ["ParquetFiles", "find_parquet"]

_IMAGE_NAMES = ("image", "img")
_SOUND_NAMES = ("audio", "speech")
_LABEL_NAMES = ("label", "labels", "fine_label")
_SPLIT_FILE = re.compile(rf"({'|'.join(SPLIT_NAMES)})([-_.].*)?\.parquet", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class ParquetFiles:
    """Parquet files by part.

    Args:
        name: name of the data set.
        parts: for ``train``, ``validation`` and ``test`` the sorted files.
        carve: whether a test part has to be split off, because the files name no parts.
        image_column: column of pictures; None finds it.
        label_column: column of labels; None finds it.
        audio_column: column of recordings; None finds it.
    """

    name: str
    parts: dict[str, tuple[Path, ...]]
    carve: bool
    image_column: str | None = None
    label_column: str | None = None
    audio_column: str | None = None

    @property
    def sound(self) -> bool:
        """Whether the files hold recordings.

        Raises:
            InputError: the columns are not found.
        """
        return self._find(self.parts["train"][0]).sound

    @property
    def files(self) -> list[Path]:
        """All files."""
        return [file for files in self.parts.values() for file in files]

    def read(self, framing: Framing, clips: Clips | None = None) -> LabelledSplits:
        """Decode everything.

        Args:
            framing: what pictures are brought to.
            clips: what recordings are brought to; None for the defaults.

        Raises:
            InputError: the columns are not found or hold something else, a picture or recording cannot be read,
                the pictures of a part differ in size or channels, or labels differ in kind or in names between
                the parts.
        """
        clips = clips or Clips()
        # All columns are looked up before the first picture is decoded.
        columns = {role: self._columns(files) for role, files in self.parts.items()}
        names: tuple[str, ...] | None = columns["train"].class_names
        for role, found in columns.items():
            if found.class_names != names:
                raise InputError(
                    f"the {role} files of '{self.name}' name other classes than the training files; "
                    "give both the same class names"
                )
        tables = {role: _read_tables(files, columns[role]) for role, files in self.parts.items()}
        if names is None:
            names = _names_from(tables["train"].labels)
        sound = columns["train"].sound
        parts = {
            role: self._decoded(table, names, role, framing, clips if sound else None) for role, table in tables.items()
        }
        return LabelledSplits(
            name=self.name,
            class_names=names,
            train=parts["train"],
            validation=parts.get("validation"),
            test=parts.get("test"),
            sound=clips.sound if sound else None,
        )

    def _find(self, file: Path) -> _Columns:
        return _find_columns(file, self.image_column, self.label_column, self.audio_column)

    def _columns(self, files: tuple[Path, ...]) -> _Columns:
        found = [self._find(file) for file in files]
        for file, columns in zip(files, found, strict=True):
            if columns != found[0]:
                raise InputError(f"'{file.name}' has other columns or classes than '{files[0].name}'; give equal files")
        return found[0]

    def _decoded(
        self, table: _Table, names: tuple[str, ...], role: str, framing: Framing, clips: Clips | None
    ) -> Labelled:
        labels = _numbered(table, names, role)
        if not table.pictures:
            raise InputError(f"the {role} files of '{self.name}' have no rows; remove them or add rows")
        encoded = Encoded(
            count=len(table.pictures),
            read=table.pictures.__getitem__,
            describe=table.describe,
            where=self.name,
        )
        if clips is None:
            return Labelled(pixels=decode(encoded, framing), labels=labels)
        spectrograms, marks = decode_clips(encoded, clips)
        return Labelled(pixels=spectrograms, labels=labels, marks=marks)


def find_parquet(
    root: Path, image_column: str | None, label_column: str | None, audio_column: str | None = None
) -> ParquetFiles | None:
    """The parquet files of a folder (or of its ``data`` folder) or a single file; None if there are none.

    Args:
        root: an existing folder or file, resolved.
        image_column: column of pictures; None finds it.
        label_column: column of labels; None finds it.
        audio_column: column of recordings; None finds it.

    Raises:
        InputError: both columns are given, or there are files of other parts but none named ``train-*.parquet``.
    """
    if image_column is not None and audio_column is not None:
        raise InputError(
            "image_column (--image-column) and audio_column (--audio-column) exclude one another; leave one out"
        )
    inside = sorted(root.glob("*.parquet")) or sorted((root / "data").glob("*.parquet"))
    files = [root] if root.is_file() else inside
    if not files:
        return None
    parts: dict[str, tuple[Path, ...]] = {}
    for file in files:
        match = _SPLIT_FILE.fullmatch(file.name)
        if match is not None and root.is_dir():
            role = SPLIT_NAMES[match.group(1).lower()]
            parts[role] = (*parts.get(role, ()), file)
    carve = not parts
    if carve:
        parts = {"train": tuple(files)}
    if "train" not in parts:
        raise InputError(f"'{root}' has no training files; name them train-*.parquet")
    return ParquetFiles(
        name=root.stem if root.is_file() else root.name,
        parts=assign_roles(parts),
        carve=carve,
        image_column=image_column,
        label_column=label_column,
        audio_column=audio_column,
    )


@dataclass(frozen=True, kw_only=True)
class _Columns:
    """Where to look: ``image`` is the column of pictures, or of recordings where ``sound`` is true."""

    image: str
    label: str
    class_names: tuple[str, ...] | None
    sound: bool


@dataclass(frozen=True, kw_only=True)
class _Table:
    """Rows of several files on end; ``starts`` holds the first row and the name of each file."""

    pictures: list[bytes]
    labels: list[Any]
    starts: list[tuple[int, str]]

    def describe(self, row: int) -> str:
        first, file = next(start for start in reversed(self.starts) if start[0] <= row)
        return f"row {row - first} of '{file}'"


def _find_columns(file: Path, image_column: str | None, label_column: str | None, audio_column: str | None) -> _Columns:
    import pyarrow.parquet

    try:
        schema = pyarrow.parquet.read_schema(file)
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read '{file.name}' as parquet ({error}); repair or remove it") from error
    features = _features(schema.metadata or {})
    sound = audio_column is not None or (image_column is None and _offers_sound(features, schema.names))
    if sound:
        image = _pick(audio_column, "audio", "Audio", features, schema.names, _SOUND_NAMES, file)
    else:
        image = _pick(image_column, "image", "Image", features, schema.names, _IMAGE_NAMES, file)
    label = _pick(label_column, "label", "ClassLabel", features, schema.names, _LABEL_NAMES, file)
    if image == label:
        raise InputError(f"column '{label}' of '{file.name}' cannot hold both examples and labels; name two columns")
    names = features.get(label, {}).get("names")
    return _Columns(
        image=image, label=label, class_names=None if names is None else tuple(map(str, names)), sound=sound
    )


def _offers_sound(features: dict[str, dict[str, Any]], columns: list[str]) -> bool:
    """Whether there is a column of recordings and none of pictures, by the note of types or by usual names."""
    kinds = {features.get(name, {}).get("_type") for name in columns}
    if kinds & {"Image", "Audio"}:
        return "Image" not in kinds
    return not any(name in columns for name in _IMAGE_NAMES) and any(name in columns for name in _SOUND_NAMES)


def _features(metadata: dict[bytes, bytes]) -> dict[str, dict[str, Any]]:
    """Feature types by column, from the note that Hugging Face leaves; empty without one."""
    try:
        features = json.loads(metadata[b"huggingface"])["info"]["features"]
        return {name: feature for name, feature in features.items() if isinstance(feature, dict)}
    except (KeyError, ValueError, TypeError, AttributeError):
        return {}


def _pick(
    chosen: str | None,
    what: str,
    feature: str,
    features: dict[str, dict[str, Any]],
    columns: list[str],
    usual: tuple[str, ...],
    file: Path,
) -> str:
    remedy = f"set {what}_column (--{what}-column) to one of: {', '.join(columns)}"
    if chosen is not None:
        if chosen not in columns:
            raise InputError(f"'{file.name}' has no column '{chosen}'; {remedy}")
        return chosen
    typed = [name for name in columns if features.get(name, {}).get("_type") == feature]
    if len(typed) == 1:
        return typed[0]
    for name in usual:
        if name in (typed or columns):
            return name
    raise InputError(f"'{file.name}' has no column that is clearly the {what} column; {remedy}")


def _read_tables(files: tuple[Path, ...], columns: _Columns) -> _Table:
    import pyarrow
    import pyarrow.parquet

    pictures: list[bytes] = []
    labels: list[Any] = []
    starts: list[tuple[int, str]] = []
    for file in files:
        starts.append((len(pictures), file.name))
        try:
            table = pyarrow.parquet.read_table(file, columns=[columns.image, columns.label], partitioning=None)
        except (OSError, ValueError) as error:
            raise InputError(f"cannot read '{file.name}' as parquet ({error}); repair or remove it") from error
        pictures += _encoded(table.column(columns.image), columns, file)
        column = table.column(columns.label)
        kind = column.type.value_type if pyarrow.types.is_dictionary(column.type) else column.type
        if not (pyarrow.types.is_integer(kind) or pyarrow.types.is_string(kind) or pyarrow.types.is_large_string(kind)):
            raise InputError(
                f"label column '{columns.label}' of '{file.name}' holds {column.type}, neither integers nor "
                "names; set label_column (--label-column)"
            )
        labels += column.to_pylist()
    rows = _Table(pictures=pictures, labels=labels, starts=starts)
    for number, (picture, label) in enumerate(zip(pictures, labels, strict=True)):
        if picture is None or label is None:
            missing = "recording" if columns.sound else "picture"
            what = missing if picture is None else "label"
            raise InputError(f"{rows.describe(number)} has no {what}; fill it in or remove the row")
    return rows


def _encoded(column: Any, columns: _Columns, file: Path) -> list[bytes]:
    import pyarrow

    kind = column.type
    if pyarrow.types.is_struct(kind) and kind.get_field_index("bytes") >= 0:
        import pyarrow.compute

        column = pyarrow.compute.struct_field(column, "bytes")
        kind = column.type
    if not (pyarrow.types.is_binary(kind) or pyarrow.types.is_large_binary(kind)):
        what, files = ("audio", "sound") if columns.sound else ("image", "picture")
        raise InputError(
            f"{what} column '{columns.image}' of '{file.name}' holds {kind}, not the bytes of {files} files; "
            f"set {what}_column (--{what}-column)"
        )
    return list(column.to_pylist())


def _names_from(labels: list[Any]) -> tuple[str, ...]:
    if labels and isinstance(labels[0], str):
        return tuple(sorted(set(labels)))
    return tuple(map(str, range(max(labels, default=-1) + 1)))


def _numbered(table: _Table, names: tuple[str, ...], role: str) -> Tensor:
    """Class numbers of the rows; the range of numbers that are given is checked later."""
    if not table.labels or not isinstance(table.labels[0], str):
        return torch.tensor(table.labels, dtype=torch.int64)
    numbers = {name: number for number, name in enumerate(names)}
    for row, label in enumerate(table.labels):
        if label not in numbers:
            raise InputError(
                f"{table.describe(row)} has the {role} label '{label}', a class without training images; "
                "give all parts the same classes"
            )
    return torch.tensor([numbers[label] for label in table.labels], dtype=torch.int64)
