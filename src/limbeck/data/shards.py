"""Pictures in columns of parquet files, read a few rows at a time."""

from __future__ import annotations

import bisect
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from limbeck.core.errors import InputError
from limbeck.data.pictures import Pictures

__all__ = ["ShardPictures", "holds_bytes", "label_values", "read_labels"]

_ROWS_AT_ONCE = 16
_BUFFER = 1 << 20


@dataclass(frozen=True, kw_only=True)
class ShardPictures(Pictures):
    """Pictures in a column of parquet files, on end.

    A row group is read from its beginning to the last row that is wanted, `_ROWS_AT_ONCE` rows at a time, by one
    thread; so memory is bounded by a few rows of each thread, however large groups and files are. Reading few rows of
    many groups costs more than reading many rows of few: small row groups serve random access best.

    Args:
        files: the files.
        column: the column of pictures.
        nested: whether their bytes stand in a field of that name, as Hugging Face writes them.
        groups: file and number within it of each row group that has rows.
        starts: first row of each of these groups, and the number of all rows at the end.
        file_starts: first row of each file.
    """

    files: tuple[Path, ...]
    column: str
    nested: bool
    groups: tuple[tuple[int, int], ...]
    starts: tuple[int, ...]
    file_starts: tuple[int, ...]

    @classmethod
    def of(cls, files: Sequence[Path], column: str) -> ShardPictures:
        """Where the rows of some files are; their footers are read.

        Args:
            files: at least one.
            column: the column of pictures: bytes, or structures with a field of that name.

        Raises:
            InputError: a file is no parquet file, or the column holds something else.
        """
        import pyarrow.parquet

        groups, starts, file_starts, count = [], [], [], 0
        nested = False
        for number, file in enumerate(files):
            try:
                with pyarrow.parquet.ParquetFile(file) as parquet:
                    metadata, kind = parquet.metadata, parquet.schema_arrow.field(column).type
            except (OSError, ValueError) as error:
                raise _unreadable(file, error) from error
            nested = holds_bytes(kind, column, file)
            file_starts.append(count)
            for group in range(metadata.num_row_groups):
                rows = metadata.row_group(group).num_rows
                if rows:
                    groups.append((number, group))
                    starts.append(count)
                    count += rows
        return cls(
            files=tuple(files),
            column=column,
            nested=nested,
            groups=tuple(groups),
            starts=(*starts, count),
            file_starts=tuple(file_starts),
        )

    def __len__(self) -> int:
        return self.starts[-1]

    def portions(self, rows: Sequence[int], workers: int) -> list[list[int]]:
        """The rows of one row group together."""
        portions: list[list[int]] = []
        last = -1
        for row in rows:
            group = self._group(row)
            if group != last:
                portions.append([])
                last = group
            portions[-1].append(row)
        return portions

    def read(self, portion: Sequence[int]) -> Iterator[tuple[int, bytes]]:
        """Row and bytes of the pictures of one row group; raises an `InputError` that names what cannot be read."""
        import pyarrow.parquet

        group = self._group(portion[0])
        file, number = self.groups[group]
        at, place = self.starts[group], 0
        wanted = f"{self.column}.bytes" if self.nested else self.column
        try:
            with pyarrow.parquet.ParquetFile(self.files[file], pre_buffer=False, buffer_size=_BUFFER) as parquet:
                batches = parquet.iter_batches(_ROWS_AT_ONCE, [number], columns=[wanted], use_threads=False)
                for batch in batches:
                    column = batch.column(0)
                    if self.nested:
                        column = column.field("bytes")
                    while place < len(portion) and portion[place] < at + len(batch):
                        content = column[portion[place] - at].as_py()
                        if content is None:
                            raise InputError(
                                f"{self.describe(portion[place])} has no picture; fill it in or remove the row"
                            )
                        yield portion[place], content
                        place += 1
                    at += len(batch)
                    if place == len(portion):
                        return
        except InputError:
            raise
        except (OSError, ValueError) as error:
            raise _unreadable(self.files[file], error) from error

    def describe(self, row: int) -> str:
        """The row within its file."""
        file = bisect.bisect_right(self.file_starts, row) - 1
        return f"row {row - self.file_starts[file]} of '{self.files[file].name}'"

    def fingerprint(self, rows: Tensor) -> bytes:
        """A hash of names and sizes of all files and of the rows."""
        state = hashlib.blake2b(digest_size=16)
        for file, start in zip(self.files, self.file_starts, strict=True):
            state.update(f"{file.name}\0{file.stat().st_size}\0{start}\n".encode())
        state.update(rows.to(torch.int64).contiguous().numpy().data)
        return state.digest()

    def _group(self, row: int) -> int:
        return bisect.bisect_right(self.starts, row) - 1


def read_labels(files: Sequence[Path], column: str) -> list[Any]:
    """Labels of all rows, numbers or names; no other column is read.

    Args:
        files: the files.
        column: the column of labels.

    Raises:
        InputError: a file cannot be read, or the column holds something else, or nothing in some row.
    """
    import pyarrow.parquet

    labels: list[Any] = []
    for file in files:
        try:
            table = pyarrow.parquet.read_table(file, columns=[column], partitioning=None)
        except (OSError, ValueError) as error:
            raise _unreadable(file, error) from error
        values = label_values(table.column(column), column, file)
        if None in values:
            raise InputError(f"row {values.index(None)} of '{file.name}' has no label; fill it in or remove the row")
        labels += values
    return labels


def label_values(column: Any, name: str, file: Path) -> list[Any]:
    """Values of a column of labels.

    Args:
        column: a column as pyarrow holds it.
        name: its name.
        file: where it stands.

    Raises:
        InputError: it holds neither integers nor names.
    """
    import pyarrow

    kind = column.type.value_type if pyarrow.types.is_dictionary(column.type) else column.type
    if not (pyarrow.types.is_integer(kind) or pyarrow.types.is_string(kind) or pyarrow.types.is_large_string(kind)):
        raise InputError(
            f"label column '{name}' of '{file.name}' holds {column.type}, neither integers nor "
            "names; set label_column (--label-column)"
        )
    return list(column.to_pylist())


def holds_bytes(kind: Any, name: str, file: Path, sound: bool = False) -> bool:
    """Whether the bytes of a column stand in a field of that name (True) or in the column itself (False).

    Args:
        kind: type of the column, as pyarrow names it.
        name: its name.
        file: where it stands.
        sound: whether recordings are expected.

    Raises:
        InputError: it holds no bytes.
    """
    import pyarrow

    nested = pyarrow.types.is_struct(kind) and kind.get_field_index("bytes") >= 0
    if nested:
        kind = kind.field("bytes").type
    if not (pyarrow.types.is_binary(kind) or pyarrow.types.is_large_binary(kind)):
        what, files = ("audio", "sound") if sound else ("image", "picture")
        raise InputError(
            f"{what} column '{name}' of '{file.name}' holds {kind}, not the bytes of {files} files; "
            f"set {what}_column (--{what}-column)"
        )
    return nested


def _unreadable(file: Path, error: Exception) -> InputError:
    return InputError(f"cannot read '{file.name}' as parquet ({error}); repair or remove it")
