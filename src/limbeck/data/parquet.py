"""Parquet files in the Hugging Face layout: a column of encoded pictures or recordings and a column of labels."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Sequence
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
from limbeck.data.labelled import Labelled, LabelledSplits, check_labels
from limbeck.data.pictures import Listed
from limbeck.data.shards import ShardPictures, holds_bytes, label_values, read_labels
from limbeck.data.subsets import choose_classes, chosen

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
        classes: which classes to take, as `limbeck.data.subsets.chosen` takes them; None for all.
    """

    name: str
    parts: dict[str, tuple[Path, ...]]
    carve: bool
    image_column: str | None = None
    label_column: str | None = None
    audio_column: str | None = None
    classes: str | Sequence[str] | None = None

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

    def decoded_bytes(self, framing: Framing) -> int:
        """Bytes of all pictures, decoded, if they are like the first one, which is opened.

        Labels are read only where classes are chosen.

        Raises:
            InputError: it cannot be read, or the columns are not found.
        """
        if self.classes is not None:
            splits = self.listed(framing)
            parts = (splits.train, splits.validation, splits.test)
            return sum(part.count * math.prod(part.shape) for part in parts if part is not None)
        pictures = self._pictures("train", self._columns(self.parts["train"]))
        # Labels play no role for the shape.
        shape = Listed.of(pictures, torch.empty(0, dtype=torch.int64), framing).shape if len(pictures) else (0,)
        return math.prod(shape) * sum(
            len(pictures if role == "train" else self._pictures(role, self._columns(files)))
            for role, files in self.parts.items()
        )

    def listed(self, framing: Framing) -> LabelledSplits:
        """The pictures as they are, to be decoded later; labels are read, and the first picture of each part.

        Raises:
            InputError: as `read`, as far as labels and first pictures go.
        """
        columns = self._all_columns()
        values = {role: read_labels(files, columns[role].label) for role, files in self.parts.items()}
        names = columns["train"].class_names or _names_from(values["train"])
        parts: dict[str, Listed] = {}
        for role in self.parts:
            pictures = self._pictures(role, columns[role])
            labels, rows = self._taken(_numbered(values[role], pictures.describe, names, role), names, role)
            if not len(rows):
                raise self._empty(role)
            parts[role] = Listed.of(pictures, labels, framing, rows)
        return LabelledSplits(
            name=self.name,
            class_names=self._class_names(names),
            train=parts["train"],
            validation=parts.get("validation"),
            test=parts.get("test"),
        )

    def read(self, framing: Framing, clips: Clips | None = None, workers: int | None = None) -> LabelledSplits:
        """Decode everything.

        Args:
            framing: what pictures are brought to.
            clips: what recordings are brought to; None for the defaults.
            workers: threads that decode pictures; None for as many as pay.

        Raises:
            InputError: the columns are not found or hold something else, a picture or recording cannot be read,
                the pictures of a part differ in size or channels, or labels differ in kind or in names between
                the parts.
        """
        clips = clips or Clips()
        # All columns are looked up before the first picture is decoded.
        columns = self._all_columns()
        tables = {role: _read_tables(files, columns[role]) for role, files in self.parts.items()}
        names = columns["train"].class_names or _names_from(tables["train"].labels)
        sound = columns["train"].sound
        parts = {
            role: self._decoded(table, names, role, framing, clips if sound else None, workers)
            for role, table in tables.items()
        }
        return LabelledSplits(
            name=self.name,
            class_names=self._class_names(names),
            train=parts["train"],
            validation=parts.get("validation"),
            test=parts.get("test"),
            sound=clips.sound if sound else None,
        )

    def _all_columns(self) -> dict[str, _Columns]:
        columns = {role: self._columns(files) for role, files in self.parts.items()}
        for role, found in columns.items():
            if found.class_names != columns["train"].class_names:
                raise InputError(
                    f"the {role} files of '{self.name}' name other classes than the training files; "
                    "give both the same class names"
                )
        return columns

    def _pictures(self, role: str, columns: _Columns) -> ShardPictures:
        return ShardPictures.of(self.parts[role], columns.image)

    def _class_names(self, names: tuple[str, ...]) -> tuple[str, ...]:
        if self.classes is None:
            return names
        return tuple(names[number] for number in chosen(self.classes, names, self.name))

    def _taken(self, labels: Tensor, names: tuple[str, ...], role: str) -> tuple[Tensor, Tensor]:
        """Labels and rows of the classes that are taken."""
        if self.classes is None:
            return labels, torch.arange(len(labels))
        check_labels(labels, len(labels), len(names), "training" if role == "train" else role)
        rows, labels = choose_classes(labels, chosen(self.classes, names, self.name), len(names))
        return labels, rows

    def _empty(self, role: str) -> InputError:
        if self.classes is not None:
            return InputError(f"the {role} files of '{self.name}' have no rows of the chosen classes; choose others")
        return InputError(f"the {role} files of '{self.name}' have no rows; remove them or add rows")

    def _find(self, file: Path) -> _Columns:
        return _find_columns(file, self.image_column, self.label_column, self.audio_column)

    def _columns(self, files: tuple[Path, ...]) -> _Columns:
        found = [self._find(file) for file in files]
        for file, columns in zip(files, found, strict=True):
            if columns != found[0]:
                raise InputError(f"'{file.name}' has other columns or classes than '{files[0].name}'; give equal files")
        return found[0]

    def _decoded(
        self,
        table: _Table,
        names: tuple[str, ...],
        role: str,
        framing: Framing,
        clips: Clips | None,
        workers: int | None,
    ) -> Labelled:
        labels, taken = self._taken(_numbered(table.labels, table.describe, names, role), names, role)
        rows = taken.tolist()
        if not rows:
            raise self._empty(role)
        encoded = Encoded(
            count=len(rows),
            read=lambda number: table.pictures[rows[number]],
            describe=lambda number: table.describe(rows[number]),
            where=self.name,
        )
        if clips is None:
            return Labelled(pixels=decode(encoded, framing, workers), labels=labels)
        spectrograms, marks = decode_clips(encoded, clips)
        return Labelled(pixels=spectrograms, labels=labels, marks=marks)


def find_parquet(
    root: Path,
    image_column: str | None,
    label_column: str | None,
    audio_column: str | None = None,
    classes: str | Sequence[str] | None = None,
) -> ParquetFiles | None:
    """The parquet files of a folder (or of its ``data`` folder) or a single file; None if there are none.

    Args:
        root: an existing folder or file, resolved.
        image_column: column of pictures; None finds it.
        label_column: column of labels; None finds it.
        audio_column: column of recordings; None finds it.
        classes: which classes to take; None for all.

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
        classes=classes,
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
        labels += label_values(table.column(columns.label), columns.label, file)
    rows = _Table(pictures=pictures, labels=labels, starts=starts)
    for number, (picture, label) in enumerate(zip(pictures, labels, strict=True)):
        if picture is None or label is None:
            missing = "recording" if columns.sound else "picture"
            what = missing if picture is None else "label"
            raise InputError(f"{rows.describe(number)} has no {what}; fill it in or remove the row")
    return rows


def _encoded(column: Any, columns: _Columns, file: Path) -> list[bytes]:
    if holds_bytes(column.type, columns.image, file, columns.sound):
        import pyarrow.compute

        column = pyarrow.compute.struct_field(column, "bytes")
    return list(column.to_pylist())


def _names_from(labels: list[Any]) -> tuple[str, ...]:
    if labels and isinstance(labels[0], str):
        return tuple(sorted(set(labels)))
    return tuple(map(str, range(max(labels, default=-1) + 1)))


def _numbered(labels: list[Any], describe: Callable[[int], str], names: tuple[str, ...], role: str) -> Tensor:
    """Class numbers of the rows; the range of numbers that are given is checked later."""
    if not labels or not isinstance(labels[0], str):
        return torch.tensor(labels, dtype=torch.int64)
    numbers = {name: number for number, name in enumerate(names)}
    for row, label in enumerate(labels):
        if label not in numbers:
            raise InputError(
                f"{describe(row)} has the {role} label '{label}', a class without training images; "
                "give all parts the same classes"
            )
    return torch.tensor([numbers[label] for label in labels], dtype=torch.int64)
