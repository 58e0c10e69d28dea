"""Images that are in memory already: arrays, tensors and PyTorch data sets.

Letters in shapes: N images, C channels, H rows, W columns.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from limbeck.core.errors import InputError
from limbeck.data.framing import Framing
from limbeck.data.labelled import Labelled, LabelledSplits

__all__ = ["ArrayPair", "as_labels", "as_pixels", "from_dataset_splits", "from_pairs"]

ArrayPair = tuple[Any, Any]
"""Images and labels: tensors, arrays, or nested sequences of numbers."""


def as_pixels(images: Any, *, channels_last: bool | None = None) -> Tensor:
    """Bytes of images, always a copy.

    Integers 0 .. 255 are taken as they are. Floats in [0, 1] are rounded to 256 levels, ``round(255 *
    value)``, half to even, which moves a value by at most 1/510. Booleans become 0 and 255.

    Args:
        images: ``[N, C, H, W]``, or ``[N, H, W]`` for one channel.
        channels_last: True for ``[N, H, W, C]``; None refuses arrays that look like that.

    Returns:
        uint8 ``[N, C, H, W]`` on the CPU, contiguous.

    Raises:
        InputError: another shape or type, NaN, or values outside the range.
    """
    array = _numpy(images)
    if array.ndim == 3:
        array = array[:, None]
    elif array.ndim == 4 and _last(array.shape, channels_last):
        array = array.transpose(0, 3, 1, 2)
    if array.ndim != 4 or 0 in array.shape:
        raise InputError(
            f"images have shape {list(array.shape)}; give at least one image as [N, C, H, W], or [N, H, W] "
            "for one channel"
        )
    return torch.from_numpy(np.array(_levels(array), dtype=np.uint8, order="C"))


def _last(shape: tuple[int, ...], channels_last: bool | None) -> bool:
    if channels_last is None and shape[3] in (1, 3, 4) and shape[1] > 4 and shape[2] > 4:
        raise InputError(
            f"images of shape {list(shape)} look channel-last; set channels_last to True, or to False if "
            "they are [N, C, H, W] already"
        )
    return bool(channels_last)


def _levels(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Whole numbers 0 .. 255, of any type."""
    if array.dtype == np.bool_:
        return array * np.uint8(255)
    floating = np.issubdtype(array.dtype, np.floating)
    if not floating and not np.issubdtype(array.dtype, np.integer):
        raise InputError(f"images of type {array.dtype} are no numbers; give integers 0..255 or floats in [0, 1]")
    low, high = array.min(), array.max()
    if not floating:
        if low < 0 or high > 255:
            raise InputError(f"integer pixel values span {low}..{high}; scale them to 0..255")
        return array
    if np.isnan(low) or np.isnan(high):
        raise InputError("pixel values contain NaN; remove or repair those images")
    if low < 0 or high > 1:
        raise InputError(
            f"float pixel values span {low:g}..{high:g}; scale them to [0, 1] without normalizing, or give "
            "integers 0..255"
        )
    return np.rint(array.astype(np.float64 if array.dtype.itemsize > 4 else np.float32) * 255)


def as_labels(labels: Any, what: str) -> Tensor:
    """Class numbers as int64 ``[N]`` on the CPU, always a copy; their range is checked later.

    Args:
        labels: integers ``[N]``.
        what: whose labels, for messages, for example ``"training"``.

    Raises:
        InputError: not integers, or not one number per image.
    """
    array = _numpy(labels)
    if array.ndim != 1:
        raise InputError(
            f"{what} labels have shape {list(array.shape)}; give one class number per image, shape [N] (not one-hot)"
        )
    if not np.issubdtype(array.dtype, np.integer):
        raise InputError(f"{what} labels are {array.dtype}, not integers; give class numbers 0, 1, 2, ...")
    return torch.from_numpy(array.astype(np.int64))


def _numpy(values: Any) -> np.ndarray[Any, Any]:
    if isinstance(values, Tensor):
        values = values.detach().cpu()
        return (values.float() if values.dtype == torch.bfloat16 else values).numpy()
    try:
        return np.asarray(values)
    except ValueError as error:
        raise InputError("images or labels are lists of unequal lengths; give arrays of one shape") from error


def from_pairs(
    pairs: dict[str, ArrayPair | None],
    *,
    class_names: Sequence[str] | None,
    name: str,
    framing: Framing,
    channels_last: bool | None = None,
) -> LabelledSplits:
    """Splits from arrays.

    Args:
        pairs: ``train`` and, if there are any, ``validation`` and ``test``.
        class_names: one per class; None names the classes ``"0" .. "K - 1"``, K - 1 being the largest
            training label.
        name: name of the data set.
        framing: size and channels to bring the images to.
        channels_last: as for `as_pixels`.

    Raises:
        InputError: images or labels are not of the kinds that `as_pixels` and `as_labels` take, or a pair is
            none.
    """
    parts: dict[str, Labelled | None] = {}
    for key, pair in pairs.items():
        what = "training" if key == "train" else key
        if pair is None:
            parts[key] = None
            continue
        if not isinstance(pair, tuple | list) or len(pair) != 2:
            raise InputError(f"{key} must be a pair (images, labels); give {key}=(images, labels)")
        labels = as_labels(pair[1], what)
        parts[key] = Labelled(
            pixels=framing.pixels(as_pixels(pair[0], channels_last=channels_last)),
            labels=labels,
        )
    train = parts["train"]
    if train is None:
        raise InputError("train is missing; give train=(images, labels)")
    if class_names is None:
        class_names = [str(label) for label in range(int(train.labels.max()) + 1 if len(train.labels) else 0)]
    return LabelledSplits(
        name=name,
        class_names=tuple(map(str, class_names)),
        train=train,
        validation=parts.get("validation"),
        test=parts.get("test"),
    )


def from_dataset_splits(
    datasets: dict[str, Any],
    *,
    class_names: Sequence[str] | None,
    name: str,
    framing: Framing,
    channels_last: bool | None = None,
) -> LabelledSplits:
    """Splits from map-style PyTorch data sets, read once from the first item to the last.

    Args:
        datasets: ``train`` and, if there are any, ``validation`` and ``test``; items are ``(image, label)``,
            the image a Pillow image, ``[C, H, W]`` or ``[H, W]``.
        class_names: one per class; None takes the training data set's ``classes``, else numbers.
        name: name of the data set.
        framing: size and channels to bring the images to.
        channels_last: True for images ``[H, W, C]``; as for `as_pixels`.

    Raises:
        InputError: items of another kind, or images of different sizes.
    """
    pairs = {key: None if one is None else _collect(one, key, framing) for key, one in datasets.items()}
    if class_names is None:
        class_names = getattr(datasets["train"], "classes", None)
    splits = from_pairs(pairs, class_names=class_names, name=name, framing=framing, channels_last=channels_last)
    return splits


def _collect(dataset: Any, key: str, framing: Framing) -> ArrayPair:
    """Images and labels of one data set; pictures are framed here, arrays later."""
    from PIL.Image import Image

    if not hasattr(dataset, "__getitem__") or not hasattr(dataset, "__len__"):
        raise InputError(f"the {key} data set has no length or items; give a map-style torch Dataset")
    images, labels = [], []
    for row in range(len(dataset)):
        item = dataset[row]
        if not isinstance(item, tuple | list) or len(item) != 2:
            raise InputError(f"item {row} of the {key} data set is no pair; make it return (image, label)")
        image, label = item
        images.append(framing.picture(image) if isinstance(image, Image) else _numpy(image))
        labels.append(_label(label, row, key))
    shapes = Counter(image.shape for image in images)
    if len(shapes) > 1:
        shown = ", ".join(f"{list(shape)}: {times}" for shape, times in shapes.most_common(4))
        raise InputError(
            f"images of the {key} data set have different shapes ({shown}); resize them in its transform, "
            "or let it return Pillow images and set image_size"
        )
    return (np.stack(images) if images else np.empty((0, 1, 1, 1))), np.array(labels, dtype=np.int64)


def _label(label: Any, row: int, key: str) -> int:
    number = label.item() if isinstance(label, Tensor | np.generic | np.ndarray) and label.size else label
    if isinstance(number, bool) or not isinstance(number, int):
        raise InputError(f"label {number!r} of item {row} of the {key} data set is no integer; give class numbers")
    return number
