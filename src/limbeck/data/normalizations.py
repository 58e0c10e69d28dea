"""Per-channel statistics: measured, or the constants that papers use. Whitening is in `limbeck.data.whitening`.

Sources of the constants: the public code of DC and DSA (``published``) and of IDC and DREAM (``idc``), which
differ in CIFAR-100 alone: IDC gives it the constants of CIFAR-10. Subsets of ImageNet have the constants of ImageNet,
as in the public code of MTT.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from typing import Literal

import torch
from torch import Tensor

from limbeck.core.errors import InputError
from limbeck.core.real import Normalization

__all__ = [
    "NormalizationKind",
    "canonical_name",
    "changes_when_mirrored",
    "constants_for",
    "measure",
    "measure_blocks",
    "normalization_for",
]

NormalizationKind = Literal["measured", "published", "idc", "zca"]

STD_FLOOR = 1 / 255
"""Smallest standard deviation that `measure` reports: one grey level, so that a constant channel can be
divided by it."""

_CIFAR10 = ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010))
_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_PUBLISHED: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "mnist": ((0.1307,), (0.3081,)),
    "fashion-mnist": ((0.2861,), (0.3530,)),
    "svhn": ((0.4377, 0.4438, 0.4728), (0.1980, 0.2010, 0.1970)),
    "cifar10": _CIFAR10,
    "cifar100": ((0.5071, 0.4866, 0.4409), (0.2673, 0.2564, 0.2762)),
    "tiny-imagenet": _IMAGENET,
    "imagenet": _IMAGENET,
    "imagenet10": _IMAGENET,
    "imagenet100": _IMAGENET,
    "imagenette": _IMAGENET,
    "imagewoof": _IMAGENET,
    "imagefruit": _IMAGENET,
    "imageyellow": _IMAGENET,
    "imagemeow": _IMAGENET,
    "imagesquawk": _IMAGENET,
}
_IDC = {**_PUBLISHED, "cifar100": _CIFAR10}

_OTHER_SPELLINGS = {"fmnist": "fashion-mnist", "tinyimagenet200": "tiny-imagenet", "imagenet1k": "imagenet"}
_WITHOUT_CONSTANTS = ("digits", "mini-speech-commands")
_DIGITS = ("mnist", "svhn", "digits")
_ENCODING = re.compile(r"[-_. ](jpe?g|png|parquet)$")


def canonical_name(name: str) -> str:
    """The published data set that a name belongs to, or the name itself when it belongs to none.

    Case and punctuation do not matter, nor does an ending that names the encoding: ``cifar10-jpeg`` and
    ``CIFAR-10`` give ``cifar10``, ``FashionMNIST`` gives ``fashion-mnist``.
    """
    key = _key(_ENCODING.sub("", name.lower()))
    known = {_key(published): published for published in (*_PUBLISHED, *_WITHOUT_CONSTANTS)} | _OTHER_SPELLINGS
    return known.get(key, name)


def changes_when_mirrored(name: str) -> bool:
    """Whether the mirror image of a class is no longer of it, as of digits; by the data set's name in any spelling."""
    return canonical_name(name) in _DIGITS


def _key(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def measure(pixels: Tensor) -> Normalization:
    """Mean and population standard deviation of each channel, in units of [0, 1].

    Computed exactly from counts of the 256 levels, so the order of the images does not change a bit of it; of
    spectrograms, whose values are not rounded, in float64. A deviation below one grey level (1/255), as of a constant
    channel, is reported as one grey level.

    Args:
        pixels: uint8, or float32 in about [0, 1], ``[N, C, H, W]``, at least one image.
    """
    if pixels.is_floating_point():
        return _measure_floats(pixels)
    # Blocks bound the memory of the copies.
    return measure_blocks(pixels.split(16384))


def measure_blocks(blocks: Iterable[Tensor]) -> Normalization:
    """`measure` of images that come in blocks, which are looked at once.

    Args:
        blocks: uint8 ``[n, C, H, W]``, at least one image in all.
    """
    histograms = torch.zeros(0, 256, dtype=torch.int64)
    for block in blocks:
        counts = [torch.bincount(channel.reshape(-1), minlength=256) for channel in block.unbind(1)]
        histograms = torch.stack(counts) + (histograms if len(histograms) else 0)
    means, stds = [], []
    levels = torch.arange(256)
    for histogram in histograms:
        count = int(histogram.sum())
        total = int((levels * histogram).sum())
        squares = int((levels * levels * histogram).sum())
        means.append(total / count / 255)
        stds.append(max(math.sqrt(count * squares - total * total) / count / 255, STD_FLOOR))
    return Normalization(tuple(means), tuple(stds), "measured")


def _measure_floats(pixels: Tensor) -> Normalization:
    means, stds = [], []
    for channel in range(pixels.shape[1]):
        blocks = pixels[:, channel].split(4096)
        count = pixels[:, channel].numel()
        mean = sum(float(block.double().sum()) for block in blocks) / count
        # A second pass: a difference of large sums would lose digits.
        variance = sum(float((block.double() - mean).square().sum()) for block in blocks) / count
        means.append(mean)
        stds.append(max(math.sqrt(variance), STD_FLOOR))
    return Normalization(tuple(means), tuple(stds), "measured")


def normalization_for(kind: NormalizationKind, name: str, pixels: Tensor) -> Normalization:
    """The statistics of a data set.

    Args:
        kind: ``measured`` from ``pixels``; ``published`` constants of the data set; ``idc`` constants as IDC
            uses them; not ``zca``.
        name: name of the data set, in any spelling that `canonical_name` understands.
        pixels: training images, as for `measure`.

    Raises:
        InputError: no constants are known for the name, or they have another number of channels.
    """
    return measure(pixels) if kind == "measured" else constants_for(kind, name, pixels.shape[1])


def constants_for(kind: NormalizationKind, name: str, channels: int) -> Normalization:
    """The constants of a published data set.

    Args:
        kind: ``published``, or ``idc`` for those that IDC uses.
        name: name of the data set, in any spelling that `canonical_name` understands.
        channels: channels of its images.

    Raises:
        InputError: no constants are known for the name, or they have another number of channels.
    """
    table = {"published": _PUBLISHED, "idc": _IDC}.get(kind)
    if table is None:
        raise InputError(f"unknown normalization '{kind}'; known: measured, published, idc, zca")
    constants = table.get(canonical_name(name))
    if constants is None:
        raise InputError(
            f"no published normalization is known for '{name}'; set normalization (--normalization) to measured"
        )
    mean, std = constants
    if len(mean) != channels:
        raise InputError(
            f"the published normalization of '{canonical_name(name)}' has {len(mean)} channels but the "
            f"images have {channels}; set normalization (--normalization) to measured"
        )
    return Normalization(mean, std, kind)
