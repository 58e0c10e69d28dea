"""Labelled images as a source delivers them: not yet split, not yet measured.

Letters in shapes: N images, C channels, H rows, W columns, K classes.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import torch
from torch import Tensor

from limbeck.core.errors import InputError
from limbeck.core.sound import Sound
from limbeck.data.pictures import Listed

__all__ = ["Labelled", "LabelledSplits", "check_labels", "check_splits"]

_NAMES_SHOWN = 5


@dataclass(frozen=True, kw_only=True)
class Labelled:
    """Images and their labels.

    Args:
        pixels: uint8 ``[N, C, H, W]`` on the CPU, contiguous; of sound, float32 logarithms ``[N, 1, H, W]``, which
            `limbeck.data.make` brings to [0, 1].
        labels: int64 ``[N]`` on the CPU.
        marks: of sound, a hash of each recording, int64 ``[N]``; None for pictures, which are their own mark.
    """

    pixels: Tensor
    labels: Tensor
    marks: Tensor | None = None

    @property
    def count(self) -> int:
        """Number of images N."""
        return len(self.pixels)

    @property
    def shape(self) -> tuple[int, ...]:
        """``(C, H, W)`` of every image."""
        return tuple(self.pixels.shape[1:])

    def select(self, rows: Tensor) -> Labelled:
        """The images of these rows, int64 ``[n]``, in the order of the rows."""
        marks = None if self.marks is None else self.marks[rows]
        return Labelled(pixels=self.pixels.index_select(0, rows), labels=self.labels[rows], marks=marks)


@dataclass(frozen=True, kw_only=True)
class LabelledSplits:
    """What a source found.

    Its parts are all decoded (`Labelled`) or all still encoded (`limbeck.data.pictures.Listed`).

    Args:
        name: name of the data set.
        class_names: one name per class, in label order.
        train: images to distil and to train from.
        validation: the source's own validation images, if it has any.
        test: the source's own test images, if it has any.
        sound: what the images are made from, not yet measured, where they are spectrograms.
    """

    name: str
    class_names: tuple[str, ...]
    train: Labelled | Listed
    validation: Labelled | Listed | None = None
    test: Labelled | Listed | None = None
    sound: Sound | None = None


def check_labels(labels: Tensor, count: int, classes: int, what: str) -> None:
    """Check labels against the images and the classes that they belong to.

    Args:
        labels: any tensor that claims to be labels.
        count: number of images.
        classes: number of classes K.
        what: what is checked, for messages, for example ``"training"``.

    Raises:
        InputError: labels are not int64 ``[count]``, or one lies outside ``0 .. K - 1``.
    """
    if labels.dtype != torch.int64 or labels.dim() != 1:
        shape = list(labels.shape)
        raise InputError(
            f"{what} labels must be int64 of shape [N], not {labels.dtype} {shape}; give one class number per image"
        )
    if labels.numel() != count:
        raise InputError(
            f"there are {count} {what} images but {labels.numel()} {what} labels; give one label per image"
        )
    if count == 0:
        return
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= classes:
        wrong = low if low < 0 else high
        row = int((labels == wrong).nonzero()[0])
        raise InputError(
            f"{what} label {wrong} (row {row}) lies outside 0..{classes - 1}; "
            f"number the {classes} classes from 0 and leave unlabelled images out"
        )


def check_splits(splits: LabelledSplits) -> None:
    """Check everything that `limbeck.data.make` relies on, before any work.

    Raises:
        InputError: no or repeated class names, labels that do not fit, a class without training or without
            test images, or images of different shapes in the parts.
    """
    names = splits.class_names
    if not names:
        raise InputError(f"data set '{splits.name}' has no classes; give images of at least one class")
    repeated = [name for name, times in Counter(names).items() if times > 1]
    if repeated:
        raise InputError(f"class name '{repeated[0]}' is given more than once; give each class its own name")
    parts = {"training": splits.train, "validation": splits.validation, "test": splits.test}
    for what, part in parts.items():
        if part is not None:
            _check_part(part, what, splits)
    _check_every_class(splits.train, "training", names)
    if splits.test is not None:
        _check_every_class(splits.test, "test", names)


def _check_part(part: Labelled | Listed, what: str, splits: LabelledSplits) -> None:
    check_labels(part.labels, part.count, len(splits.class_names), what)
    if part.count == 0:
        raise InputError(f"the {what} split of '{splits.name}' holds no images; add images or leave the split out")
    ours, theirs = part.shape, splits.train.shape
    if ours != theirs:
        raise InputError(
            f"{what} images are {_shape(ours)} (channels x height x width) but training images are "
            f"{_shape(theirs)}; set image_size (--image-size) or channels (--channels) to bring them together"
        )


def _check_every_class(part: Labelled | Listed, what: str, names: tuple[str, ...]) -> None:
    counts = torch.bincount(part.labels, minlength=len(names))
    empty = [names[label] for label in (counts == 0).nonzero().flatten().tolist()]
    if not empty:
        return
    shown = ", ".join(f"'{name}'" for name in empty[:_NAMES_SHOWN])
    more = f" and {len(empty) - _NAMES_SHOWN} more" if len(empty) > _NAMES_SHOWN else ""
    which = f"class {shown} has" if len(empty) == 1 else f"classes {shown}{more} have"
    name = "its name" if len(empty) == 1 else "their names"
    remedy = f"remove {name}" if what == "training" else "leave the test split out"
    raise InputError(f"{which} no {what} images; add some or {remedy}")


def _shape(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))
