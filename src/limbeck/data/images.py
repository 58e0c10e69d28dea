"""Labelled images in memory, one byte per value; spectrograms as float32.

Letters in shapes: N images, C channels, H rows, W columns, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.utils.data import Dataset

from limbeck.core.errors import InputError
from limbeck.core.real import DataSpec, RealSet
from limbeck.data.labelled import check_labels
from limbeck.data.rows import ClassRows, as_rows, row_of

__all__ = ["ImageSet", "check_ipc"]


class ImageSet(RealSet, Dataset[tuple[Tensor, int]]):
    """Labelled images of one shape, reachable by row and by class.

    Pixels are kept as uint8 and turned into numbers in [0, 1] when asked for: ``value / 255`` in the dtype of
    the set (float32 at first, see `to`). Float images come in through `limbeck.data.from_arrays`, which
    rounds them to 256 levels. Spectrograms are kept as float32 and are not rounded: 256 levels are enough for what
    was a picture, not for a logarithm of sound.

    Args:
        pixels: uint8 ``[N, C, H, W]``, or float32 in about [0, 1] where the spec has sound.
        labels: int64 ``[N]``, each in ``0 .. K - 1``.
        spec: what the set looks like; its ``shape`` is that of the pixels.

    Raises:
        InputError: pixels are not of that type and the spec's shape, or labels do not fit them.
    """

    def __init__(self, pixels: Tensor, labels: Tensor, spec: DataSpec) -> None:
        wanted = torch.uint8 if spec.sound is None else torch.float32
        if pixels.dtype != wanted or tuple(pixels.shape[1:]) != spec.shape:
            raise InputError(
                f"pixels must be {str(wanted).removeprefix('torch.')} of shape "
                f"[N, {', '.join(map(str, spec.shape))}], not {pixels.dtype} "
                f"{list(pixels.shape)}; use limbeck.data.from_arrays for other arrays"
            )
        labels = labels.cpu()
        check_labels(labels, len(pixels), spec.classes, "image set")
        self.spec = spec
        self._dtype = torch.float32
        self._store(pixels.contiguous(), labels)

    def _store(self, pixels: Tensor, labels: Tensor, rows: ClassRows | None = None) -> None:
        self._pixels = pixels
        self._labels = labels
        self._class_rows = rows or ClassRows(labels, self.spec.classes)

    def _like(self, pixels: Tensor, labels: Tensor, rows: ClassRows | None, dtype: torch.dtype) -> ImageSet:
        """A set of checked pixels and labels, which are not checked again."""
        new = object.__new__(ImageSet)
        new.spec = self.spec
        new._dtype = dtype
        new._store(pixels, labels, rows)
        return new

    @property
    def pixels(self) -> Tensor:
        """What is stored, uint8 (float32 of sound) ``[N, C, H, W]`` on `device`; not a copy."""
        return self._pixels

    @property
    def labels(self) -> Tensor:
        """Labels, int64 ``[N]`` on the CPU; not a copy."""
        return self._labels

    @property
    def device(self) -> torch.device:
        """Where the bytes are and images arrive."""
        return self._pixels.device

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
        """Images of the given rows.

        Args:
            rows: int64, any shape, on any device; repeats are allowed.

        Returns:
            Values in [0, 1] of `dtype` on `device`, ``[*rows.shape, C, H, W]``.

        Raises:
            TypeError: rows are not integers (a mask, for example).
            IndexError: a row does not exist.
        """
        return self._as_numbers(self.stored(rows))

    def stored(self, rows: Tensor | Sequence[int]) -> Tensor:
        """Like `images`, but the stored values, uint8 (float32 of sound)."""
        index = as_rows(rows)
        flat = index.reshape(-1).to(self.device, non_blocking=True)
        chosen = self._pixels.view(len(self._pixels), -1).index_select(0, flat)
        return chosen.view(*index.shape, *self.spec.shape)

    def to(self, device: torch.device | str, dtype: torch.dtype = torch.float32) -> ImageSet:
        """The same set with its bytes on ``device``, whose images arrive there as ``dtype``.

        Raises:
            InputError: ``dtype`` is no float format.
        """
        if not dtype.is_floating_point:
            raise InputError(f"images cannot be {dtype}; choose a float dtype such as torch.float32")
        return self._like(self._pixels.to(device), self._labels, self._class_rows, dtype)

    def subset(self, rows: Tensor | Sequence[int]) -> ImageSet:
        """A set of the given rows in that order; the spec, digest included, stays that of the whole.

        Args:
            rows: int64 ``[n]``.

        Raises:
            TypeError: rows are not integers.
        """
        index = torch.as_tensor(rows).reshape(-1)
        return self._like(self.stored(index), self._labels[index.to("cpu", torch.int64)], None, self._dtype)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        """Image ``[C, H, W]`` in [0, 1] and label of one row; negative rows count from the end."""
        row = row_of(index, len(self))
        return self._as_numbers(self._pixels[row].clone()), int(self._labels[row])

    def _as_numbers(self, stored: Tensor) -> Tensor:
        """Stored values, which are the caller's own, in [0, 1] and the dtype of the set."""
        numbers = stored.to(self._dtype)
        return numbers if stored.is_floating_point() else numbers.div_(255)

    def __repr__(self) -> str:
        shape = "x".join(map(str, self.spec.shape))
        return f"ImageSet('{self.spec.name}', {len(self)} images {shape}, {self.spec.classes} classes)"


def check_ipc(data: RealSet, ipc: int) -> None:
    """Check that every class can give ``ipc`` different images.

    Args:
        data: the images to choose from.
        ipc: images per class.

    Raises:
        InputError: ``ipc`` is below 1 or above the size of the smallest class.
    """
    if ipc < 1:
        raise InputError(f"images per class must be at least 1, not {ipc}; raise ipc (--ipc)")
    counts = data.class_counts()
    least = min(counts)
    if least < ipc:
        name = data.spec.class_names[counts.index(least)]
        raise InputError(
            f"class '{name}' of '{data.spec.name}' has {least} images but {ipc} are needed; "
            f"lower ipc (--ipc) to {least} or give more images"
            if least
            else f"class '{name}' of '{data.spec.name}' has no images but {ipc} are needed; give images of it"
        )
