"""Pictures that stay encoded, in files or tables, until they are asked for.

Letters in shapes: N images, C channels, H rows, W columns.
"""

from __future__ import annotations

import abc
import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from limbeck.data.decode import decode_picture, unreadable
from limbeck.data.framing import Framing

__all__ = ["FilePictures", "Listed", "Pictures"]

_MOST_AT_ONCE = 16


class Pictures(abc.ABC):
    """Encoded pictures, numbered from 0: a plain value that can be copied and pickled and holds no open file."""

    @abc.abstractmethod
    def __len__(self) -> int:
        """How many there are."""

    @abc.abstractmethod
    def portions(self, rows: Sequence[int], workers: int) -> list[list[int]]:
        """Rows cut into pieces, in order, each of which one thread reads from its beginning to its end.

        Args:
            rows: rising, without repeats.
            workers: threads that will read.
        """

    @abc.abstractmethod
    def read(self, portion: Sequence[int]) -> Iterator[tuple[int, bytes]]:
        """Row and encoded bytes of the pictures of one of the `portions`, in order.

        Raises:
            InputError: a file cannot be read, or a picture is missing.
        """

    @abc.abstractmethod
    def describe(self, row: int) -> str:
        """What to call one of them in a message."""

    @abc.abstractmethod
    def fingerprint(self, rows: Tensor) -> bytes:
        """A hash that changes with names and sizes of the files of these pictures, without reading them.

        A picture that is replaced by another one of as many bytes is not noticed.

        Args:
            rows: int64 ``[n]``.
        """


@dataclass(frozen=True)
class FilePictures(Pictures):
    """Pictures in files of their own.

    Args:
        root: folder that names are relative to.
        names: one for each picture, with ``/`` between folders.
    """

    root: Path
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.names)

    def portions(self, rows: Sequence[int], workers: int) -> list[list[int]]:
        """Runs of at most 16 files, fewer where that keeps all threads busy."""
        size = max(1, min(_MOST_AT_ONCE, len(rows) // (4 * workers)))
        return [list(rows[start : start + size]) for start in range(0, len(rows), size)]

    def read(self, portion: Sequence[int]) -> Iterator[tuple[int, bytes]]:
        """Row and content of each file; raises an `InputError` that names one that cannot be read."""
        for row in portion:
            try:
                content = (self.root / self.names[row]).read_bytes()
            except OSError as error:
                raise unreadable(self.describe(row), error) from error
            yield row, content

    def describe(self, row: int) -> str:
        """The name of the file below the folder."""
        return f"image '{self.names[row]}' of '{self.root.name}'"

    def fingerprint(self, rows: Tensor) -> bytes:
        """A hash of names below the folder and of sizes; touching a file does not change it."""
        state, root = hashlib.blake2b(digest_size=16), os.fspath(self.root)
        for row in rows.tolist():
            # No Path: there may be millions.
            size = os.stat(f"{root}/{self.names[row]}").st_size
            state.update(f"{self.names[row]}\0{size}\n".encode())
        return state.digest()


@dataclass(frozen=True, kw_only=True)
class Listed:
    """Labelled images that stay encoded: where they are, and what they become.

    Args:
        pictures: where they are; parts of one source may share it.
        rows: which of them, int64 ``[N]``.
        labels: int64 ``[N]`` on the CPU.
        framing: size and channels to bring them to.
        shape: ``(C, H, W)`` of every image, known from the first.
    """

    pictures: Pictures
    rows: Tensor
    labels: Tensor
    framing: Framing
    shape: tuple[int, ...]

    @classmethod
    def of(cls, pictures: Pictures, labels: Tensor, framing: Framing, rows: Tensor | None = None) -> Listed:
        """Images whose shape is that of the first one, which is decoded.

        Args:
            pictures: where they are.
            labels: int64 ``[N]``.
            framing: size and channels to bring them to.
            rows: which of the pictures, int64 ``[N]``, N at least 1; None for all.

        Raises:
            InputError: the first picture cannot be read.
        """
        rows = torch.arange(len(pictures)) if rows is None else rows
        [(first, content)] = pictures.read([int(rows[0])])
        try:
            shape = decode_picture(content, framing).shape
        except Exception as error:
            raise unreadable(pictures.describe(first), error) from error
        return cls(pictures=pictures, rows=rows, labels=labels, framing=framing, shape=shape)

    @property
    def count(self) -> int:
        """Number of images N."""
        return len(self.rows)

    def select(self, rows: Tensor) -> Listed:
        """The images of these rows, int64 ``[n]``, in the order of the rows."""
        return replace(self, rows=self.rows[rows], labels=self.labels[rows])
