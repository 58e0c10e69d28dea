"""From labelled images to training, validation and test sets with their spec.

Letters in shapes: N images, C channels, H rows, W columns.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import overload

import torch
from torch import Tensor

from limbeck.core.errors import InputError
from limbeck.core.real import DataSpec, Normalization, RealSet
from limbeck.core.sound import Sound
from limbeck.core.streams import Streams
from limbeck.data.images import ImageSet
from limbeck.data.labelled import Labelled, LabelledSplits, check_splits
from limbeck.data.normalizations import NormalizationKind, constants_for, measure_blocks, normalization_for
from limbeck.data.options import LoadOptions
from limbeck.data.pictures import Listed
from limbeck.data.streamed import StreamedSet, sample_blocks
from limbeck.data.whitening import aloud, check_size, whitened

__all__ = ["Data", "carve_test", "make"]

_Part = Labelled | Listed


@dataclass(frozen=True, kw_only=True)
class Data:
    """A data set, ready to distil and to judge with.

    Args:
        train: images to distil and to train from.
        validation: images to choose settings by, apart from the training images; None if there are none.
        test: images for the final figure only; None if the source has none.
        spec: what all three look like; its digest is that of ``train``.
        source: what `limbeck.data.load` was given, so that a run can be repeated; None for data from Python.
        options: how it was loaded; None likewise.
    """

    train: RealSet
    validation: RealSet | None
    test: RealSet | None
    spec: DataSpec
    source: str | None = None
    options: LoadOptions | None = None

    def require_test(self) -> RealSet:
        """The test images.

        Raises:
            InputError: there are none.
        """
        if self.test is None:
            raise InputError(
                f"data set '{self.spec.name}' has no test split; add test images to its source (a 'test' "
                "folder, test-*.parquet files, or test=... for arrays)"
            )
        return self.test

    def require_validation(self) -> RealSet:
        """The validation images.

        Raises:
            InputError: there are none.
        """
        if self.validation is None:
            raise InputError(
                f"data set '{self.spec.name}' has no validation split; set validation (--validation) above 0"
            )
        return self.validation


def make(
    splits: LabelledSplits,
    *,
    validation: float = 0.1,
    split_seed: int = 0,
    normalization: NormalizationKind = "measured",
    workers: int | None = None,
    cache: Path | None = None,
    say: Callable[[str], None] = aloud,
) -> Data:
    """Check labelled images, split off a validation part, and measure the training part.

    Args:
        splits: what a source found.
        validation: share of each class's training images, in [0, 1), that becomes the validation part:
            rounded, but at least 1 and never all where a class has 2 or more images. 0 means none. Not used
            when the source has its own validation images.
        split_seed: which images those are; the same for a class whatever the other classes hold.
        normalization: see `limbeck.data.LoadOptions`; measured on the training part after the split, of streamed
            images on at most `limbeck.data.streamed.SAMPLE` of them.
        workers: threads that decode streamed images; None for one per core.
        cache: folder below which a whitening is kept; None keeps none.
        say: is told before a whitening is fitted; by default a line on standard error.

    Raises:
        InputError: the images, labels or classes do not fit together, an argument is out of range, or the images are
            too large to be whitened or streamed.
    """
    _check_fraction("validation", validation)
    check_splits(splits)
    if normalization == "zca":
        _check_whitened(splits)
    train, held_out = splits.train, splits.validation
    if held_out is None and validation > 0:
        train, held_out = _split(train, len(splits.class_names), validation, split_seed, "validation split")
    test, sound = splits.test, splits.sound
    if sound is not None and isinstance(train, Labelled):
        sound = _measured(sound, train, splits.name)
        train, held_out, test = _scaled(train, sound), _scaled(held_out, sound), _scaled(test, sound)
    channels, height, width = train.shape
    digest = _digest(train, splits.class_names, splits.sound)
    if normalization == "zca" and isinstance(train, Labelled):
        seen = whitened(train.pixels, splits.name, digest, cache, say)
    else:
        seen = _normalization(normalization, splits.name, train, workers)
    spec = DataSpec(
        name=splits.name,
        channels=channels,
        height=height,
        width=width,
        class_names=splits.class_names,
        normalization=seen,
        digest=digest,
        sound=sound,
    )
    return Data(
        train=_real_set(train, spec, workers),
        validation=_real_set(held_out, spec, workers),
        test=_real_set(test, spec, workers),
        spec=spec,
    )


def carve_test(splits: LabelledSplits, fraction: float, seed: int) -> LabelledSplits:
    """Turn a share of each class's training images into the test part; counts as in `make`.

    Args:
        splits: what a source without test images found.
        fraction: share of each class, in [0, 1); 0 leaves the test part out.
        seed: which images.

    Raises:
        InputError: ``fraction`` is out of range, or the images and labels do not fit together.
    """
    _check_fraction("test_fraction", fraction)
    check_splits(splits)
    if fraction == 0:
        return splits
    counts = torch.bincount(splits.train.labels, minlength=len(splits.class_names))
    if int(counts.min()) < 2:
        name = splits.class_names[int(counts.argmin())]
        raise InputError(
            f"class '{name}' of '{splits.name}' has a single image, so no test image can be split off; add "
            "images of it or set test_fraction (--test-fraction) to 0"
        )
    train, test = _split(splits.train, len(splits.class_names), fraction, seed, "test split")
    return replace(splits, train=train, test=test)


def _split(images: _Part, classes: int, fraction: float, seed: int, stream: str) -> tuple[_Part, _Part | None]:
    """What stays and what is taken; both keep the order of the images."""
    streams = Streams(seed)
    taken = torch.zeros(len(images.labels), dtype=torch.bool)
    for label in range(classes):
        rows = (images.labels == label).nonzero().flatten()
        count = len(rows)
        if count < 2:
            continue
        share = min(max(int(fraction * count + 0.5), 1), count - 1)
        taken[rows[streams(stream, label).permutation(count)[:share]]] = True
    if not taken.any():
        return images, None
    return images.select(_rows(~taken)), images.select(_rows(taken))


def _rows(mask: Tensor) -> Tensor:
    return mask.nonzero().flatten()


@overload
def _real_set(part: Labelled | Listed, spec: DataSpec, workers: int | None) -> RealSet: ...
@overload
def _real_set(part: None, spec: DataSpec, workers: int | None) -> None: ...
def _real_set(part: Labelled | Listed | None, spec: DataSpec, workers: int | None) -> RealSet | None:
    if part is None:
        return None
    if isinstance(part, Listed):
        return StreamedSet(part, spec, workers)
    return ImageSet(part.pixels, part.labels, spec)


def _check_whitened(splits: LabelledSplits) -> None:
    """Refuse, before any work, what cannot be whitened."""
    if isinstance(splits.train, Listed):
        raise InputError(
            f"the images of '{splits.name}' are streamed, and whitening needs all of them in memory; set stream "
            "(--stream) to off, or normalization (--normalization) to measured"
        )
    check_size(splits.train.shape, splits.name)


def _normalization(kind: NormalizationKind, name: str, train: Labelled | Listed, workers: int | None) -> Normalization:
    if isinstance(train, Labelled):
        return normalization_for(kind, name, train.pixels)
    if kind == "measured":
        return measure_blocks(sample_blocks(train, workers))
    return constants_for(kind, name, train.shape[0])


@overload
def _scaled(part: Labelled, sound: Sound) -> Labelled: ...
@overload
def _scaled(part: Labelled | Listed | None, sound: Sound) -> Labelled | None: ...
def _scaled(part: Labelled | Listed | None, sound: Sound) -> Labelled | None:
    """Logarithms on the scale of the training recordings; those of other recordings may leave [0, 1]."""
    return replace(part, pixels=sound.to_unit(part.pixels)) if isinstance(part, Labelled) else None


def _measured(sound: Sound, train: Labelled, name: str) -> Sound:
    """The scale: smallest and largest logarithm of the training recordings."""
    low, high = (float(value) for value in train.pixels.aminmax())
    if not low < high:
        raise InputError(f"all training recordings of '{name}' are silent; give recordings that can be heard")
    return replace(sound, low=low, high=high)


def _digest(train: Labelled | Listed, class_names: tuple[str, ...], sound: Sound | None) -> str:
    """Hash of shape, pixels, labels and class names: 32 hexadecimal digits.

    Of sound it is the recordings and how they are treated that count: their spectrograms differ from one machine to
    another in the last bits. Of streamed pictures it is how they are framed, and names (below the folder of the data)
    and sizes of their files in place of pixels, which would take hours to read; times of change do not count.
    """
    state = hashlib.blake2b(digest_size=16)
    state.update(repr(((train.count, *train.shape), class_names)).encode())
    if isinstance(train, Listed):
        state.update(repr(("streamed", train.framing.fit, train.framing.channels)).encode())
        state.update(train.pictures.fingerprint(train.rows))
    elif sound is None or train.marks is None:
        state.update(train.pixels.contiguous().numpy().data)
    else:
        state.update(repr(sound).encode())
        state.update(train.marks.contiguous().numpy().data)
    state.update(train.labels.contiguous().numpy().data)
    return state.hexdigest()


def _check_fraction(field: str, value: float) -> None:
    if not 0 <= value < 1:
        flag = field.replace("_", "-")
        raise InputError(f"{field} must lie in [0, 1), not {value}; set {field} (--{flag}) to a share such as 0.1")
