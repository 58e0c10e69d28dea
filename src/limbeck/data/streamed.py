"""Labelled images that are decoded when they are asked for, for sets that memory cannot hold.

Letters in shapes: N images, C channels, H rows, W columns, K classes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from limbeck.core.errors import InputError
from limbeck.core.real import DataSpec, RealSet
from limbeck.core.streams import Streams
from limbeck.data.decode import cores, decode_picture, unreadable
from limbeck.data.labelled import check_labels
from limbeck.data.pictures import Listed
from limbeck.data.rows import ClassRows, as_rows, row_of

__all__ = ["SAMPLE", "StreamedSet", "read_pictures", "sample_blocks"]

SAMPLE = 10_000
"""Images that the normalization of a streamed set is measured on; all where there are no more."""

_BLOCK = 256


class StreamedSet(RealSet, Dataset[tuple[Tensor, int]]):
    """Labelled images of one shape that stay encoded: `images` decodes those that are asked for, and keeps none.

    Values, order and errors do not depend on the number of threads, and are those of an `ImageSet` of the same
    pictures. A row that is asked for several times in one call is decoded once.

    Args:
        listed: where the images are, with labels in ``0 .. K - 1``.
        spec: what the set looks like; its ``shape`` is that of the images.
        workers: threads that decode; None for one per core.

    Raises:
        InputError: the images have not the spec's shape, or labels do not fit.
    """

    def __init__(self, listed: Listed, spec: DataSpec, workers: int | None = None) -> None:
        if listed.shape != spec.shape:
            raise InputError(f"images of shape {list(listed.shape)} do not fit a spec of shape {list(spec.shape)}")
        check_labels(listed.labels, listed.count, spec.classes, "image set")
        self.spec = spec
        self._workers = workers
        self._device, self._dtype = torch.device("cpu"), torch.float32
        self._hold(listed)

    def _hold(self, listed: Listed) -> None:
        self._listed = listed
        self._class_rows = ClassRows(listed.labels, self.spec.classes)

    def _copy(self) -> StreamedSet:
        new = object.__new__(StreamedSet)
        new.__dict__.update(self.__dict__)
        return new

    @property
    def pixels(self) -> Tensor:
        """Refused: nothing holds all pixels of a streamed set.

        Raises:
            InputError: always.
        """
        raise InputError(
            f"the images of '{self.spec.name}' are streamed, so their pixels are never all in memory; take "
            "images(rows), or load the data with stream off (--stream off)"
        )

    @property
    def labels(self) -> Tensor:
        """Labels, int64 ``[N]`` on the CPU; not a copy."""
        return self._listed.labels

    @property
    def device(self) -> torch.device:
        """Where images arrive."""
        return self._device

    @property
    def dtype(self) -> torch.dtype:
        """Number format in which images arrive."""
        return self._dtype

    def class_rows(self, label: int) -> Tensor:
        """Rows of one class in data set order, int64 ``[n]`` on the CPU; not a copy.

        Raises:
            IndexError: ``label`` is no class.
        """
        return self._class_rows(label)

    def images(self, rows: Tensor | Sequence[int]) -> Tensor:
        """Images of the given rows, decoded now.

        Args:
            rows: int64, any shape, on any device; repeats are allowed.

        Returns:
            Values in [0, 1] of `dtype` on `device`, ``[*rows.shape, C, H, W]``.

        Raises:
            TypeError: rows are not integers (a mask, for example).
            IndexError: a row does not exist.
            InputError: a picture cannot be read, or has another shape than the first.
        """
        return self.stored(rows).to(self._dtype).div_(255)

    def stored(self, rows: Tensor | Sequence[int]) -> Tensor:
        """Like `images`, but uint8."""
        index = as_rows(rows)
        flat = index.reshape(-1).to("cpu", torch.int64)
        wrong = flat[(flat < 0) | (flat >= len(self))]
        if len(wrong):
            raise IndexError(f"row {int(wrong[0])} lies outside a set of {len(self)} images")
        pixels = read_pictures(self._listed, flat, self._workers)
        return pixels.view(*index.shape, *self.spec.shape).to(self._device)

    def to(self, device: torch.device | str, dtype: torch.dtype = torch.float32) -> StreamedSet:
        """The same set whose images arrive on ``device`` as ``dtype``; they are decoded on the CPU.

        Raises:
            InputError: ``dtype`` is no float format.
        """
        if not dtype.is_floating_point:
            raise InputError(f"images cannot be {dtype}; choose a float dtype such as torch.float32")
        new = self._copy()
        new._device, new._dtype = torch.device(device), dtype
        return new

    def subset(self, rows: Tensor | Sequence[int]) -> StreamedSet:
        """A set of the given rows in that order; the spec, digest included, stays that of the whole.

        Args:
            rows: int64 ``[n]``.

        Raises:
            TypeError: rows are not integers.
        """
        index = as_rows(rows).reshape(-1)
        new = self._copy()
        new._hold(self._listed.select(index.to("cpu", torch.int64)))
        return new

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        """Image ``[C, H, W]`` in [0, 1] and label of one row; negative rows count from the end."""
        row = row_of(index, len(self))
        return self.images([row])[0], int(self.labels[row])

    def __repr__(self) -> str:
        shape = "x".join(map(str, self.spec.shape))
        return f"StreamedSet('{self.spec.name}', {len(self)} images {shape}, {self.spec.classes} classes)"


def read_pictures(listed: Listed, rows: Tensor, workers: int | None = None) -> Tensor:
    """Decode the images of some rows.

    Args:
        listed: where they are.
        rows: int64 ``[n]``; repeats are allowed, and are decoded once.
        workers: threads; None for one per core.

    Returns:
        uint8 ``[n, C, H, W]`` on the CPU.

    Raises:
        InputError: a picture cannot be read, or has another shape than the first; of several, the one in front.
    """
    pixels = np.empty((len(rows), *listed.shape), dtype=np.uint8)
    places: dict[int, list[int]] = {}
    for place, row in enumerate(listed.rows[rows].tolist()):
        places.setdefault(row, []).append(place)

    def fill(portion: list[int]) -> None:
        for row, content in listed.pictures.read(portion):
            try:
                image = decode_picture(content, listed.framing)
            except Exception as error:
                raise unreadable(listed.pictures.describe(row), error) from error
            if image.shape != listed.shape:
                raise _different(listed, row, image.shape)
            for place in places[row]:
                pixels[place] = image

    workers = cores() if workers is None else workers
    portions = listed.pictures.portions(sorted(places), workers)
    if min(workers, len(portions)) <= 1:
        for portion in portions:
            fill(portion)
        return torch.from_numpy(pixels)
    with ThreadPoolExecutor(min(workers, len(portions))) as pool:
        try:
            # Results come in the order of the portions, so the first error is the same whatever the threads do.
            for _ in pool.map(fill, portions):
                pass
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise
    return torch.from_numpy(pixels)


def sample_blocks(listed: Listed, workers: int | None = None) -> Iterator[Tensor]:
    """Blocks of uint8 ``[n, C, H, W]`` of all images, or of `SAMPLE` that a stream of their number chooses.

    Args:
        listed: where they are.
        workers: threads; None for one per core.
    """
    rows = torch.arange(listed.count)
    if listed.count > SAMPLE:
        rows = Streams(0)("normalization sample", listed.count).permutation(listed.count)[:SAMPLE].sort().values
    for block in rows.split(_BLOCK):
        yield read_pictures(listed, block, workers)


def _different(listed: Listed, row: int, shape: tuple[int, ...]) -> InputError:
    name = listed.pictures.describe(row)
    if shape[0] != listed.shape[0]:
        return InputError(
            f"{name} has {shape[0]} channel{'s' if shape[0] > 1 else ''} but the first image {listed.shape[0]}; set "
            "channels (--channels) to rgb or gray"
        )
    ours, first = ("x".join(map(str, one[1:])) for one in (shape, listed.shape))
    return InputError(
        f"{name} is {ours} (height x width) but the first image {first}; set image_size (--image-size) to bring them "
        "to one size"
    )
