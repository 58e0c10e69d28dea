"""One call from a name, a path or arrays to a data set."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from limbeck.core.errors import InputError, unknown
from limbeck.data.arrays import ArrayPair, from_dataset_splits, from_pairs
from limbeck.data.cache import cache_key, cached, default_cache
from limbeck.data.clips import decoder_versions
from limbeck.data.digits import digits
from limbeck.data.folder import FolderFiles, find_folder
from limbeck.data.from_torchvision import TORCHVISION_NAMES, from_torchvision
from limbeck.data.labelled import LabelledSplits
from limbeck.data.options import LoadOptions
from limbeck.data.parquet import ParquetFiles, find_parquet
from limbeck.data.splits import Data, carve_test, make
from limbeck.data.subsets import choose_classes, chosen, subset_name

__all__ = ["NAMES", "from_arrays", "from_dataset", "holds_sound", "load"]

NAMES = ("digits", *TORCHVISION_NAMES)
"""Data sets known by name."""

STREAM_FROM = 4_000_000_000
"""Bytes of decoded pictures from which on they are streamed."""

_FILES_ONLY = ("root", "download")
_PICTURES_ONLY = ("image_column", "fit", "channels", "stream", "workers")
_DECODED = ("stream", "workers")
_SOUND_ONLY = ("audio_column", "sample_rate", "seconds")


def load(source: str | Path = "digits", options: LoadOptions | None = None, **changes: Any) -> Data:
    """Load a data set.

    Sources:

    * a name: ``digits`` (bundled with scikit-learn, fixed test part), or ``mnist``, ``fashion-mnist``,
      ``cifar10``, ``cifar100`` and ``svhn`` through torchvision, whose files lie in ``root``;
    * a folder with ``train-*.parquet`` and ``test-*.parquet`` (``val``, ``valid``, ``validation`` too);
    * a folder ``train/<class>/*`` with ``test`` or ``val`` beside it;
    * a folder ``<class>/*``, a folder of parquet files of other names, or one parquet file: a test part is
      split off.

    Folders and parquet files may hold recordings (wav, flac, ogg, mp3, ...) instead of pictures. They become
    spectrograms as in IDC's experiments on speech (`limbeck.ops.sound`), and ``spec.sound`` says what the values
    mean. A folder with the name or the classes of Mini-Speech-Commands gets the test part that papers use.

    A source with validation images but no test images is tested on those; one with both keeps both. A path
    that is spelled like a name is written ``./digits``.

    Pictures that would take more than 4 GB are streamed: `limbeck.data.streamed.StreamedSet` decodes what is asked for.
    ``classes`` takes some classes of a source, or a published subset of ImageNet.

    Args:
        source: name or path.
        options: how to load it.
        **changes: fields of `LoadOptions` to set.

    Raises:
        InputError: the source is not known or not readable, an option does not apply to it, or its images do
            not fit together; the sentence names the cause and the remedy.
    """
    options = LoadOptions.of(options, changes)
    splits = _named(source, options) if isinstance(source, str) else None
    data = _make(splits or _from_path(source, options), options)
    return replace(data, source=str(source), options=options)


def from_arrays(
    train: ArrayPair,
    test: ArrayPair | None = None,
    *,
    validation_set: ArrayPair | None = None,
    class_names: Sequence[str] | None = None,
    name: str = "arrays",
    channels_last: bool | None = None,
    options: LoadOptions | None = None,
    **changes: Any,
) -> Data:
    """A data set from images in memory.

    Args:
        train: images ``[N, C, H, W]`` or ``[N, H, W]``, integers 0 .. 255 or floats in [0, 1], which are
            rounded to 256 levels; and integer labels ``[N]``.
        test: the same for testing.
        validation_set: the same for validation; None splits a part off the training images.
        class_names: one per class; None numbers them.
        name: name of the data set, by which presets and published constants are found.
        channels_last: True for images ``[N, H, W, C]``; None refuses images that look like that.
        options: how to split, normalize and frame.
        **changes: fields of `LoadOptions` to set.

    Raises:
        InputError: the images or labels are not such, do not fit together, or an option does not apply to
            arrays.
    """
    options = LoadOptions.of(options, changes)
    _refuse(options, (*_FILES_ONLY, "image_column", "label_column", *_SOUND_ONLY, *_DECODED, "classes"), "arrays")
    pairs = {"train": train, "validation": validation_set, "test": test}
    splits = from_pairs(pairs, class_names=class_names, name=name, framing=options.framing, channels_last=channels_last)
    return _make(splits, options)


def from_dataset(
    train: Any,
    test: Any = None,
    *,
    validation_set: Any = None,
    class_names: Sequence[str] | None = None,
    name: str = "dataset",
    channels_last: bool | None = None,
    options: LoadOptions | None = None,
    **changes: Any,
) -> Data:
    """A data set from map-style PyTorch data sets, each read once.

    Args:
        train: its items are ``(image, label)``: a Pillow image, or integers 0 .. 255 or floats in [0, 1] of
            shape ``[C, H, W]`` or ``[H, W]``, without random or normalizing transforms; and an integer.
        test: the same for testing.
        validation_set: the same for validation; None splits a part off the training images.
        class_names: one per class; None takes ``train.classes`` where there is such, else numbers.
        name: name of the data set, by which presets and published constants are found.
        channels_last: True for images ``[H, W, C]``; None refuses images that look like that.
        options: how to split, normalize and frame.
        **changes: fields of `LoadOptions` to set.

    Raises:
        InputError: the items are not such, do not fit together, or an option does not apply to data sets.
    """
    options = LoadOptions.of(options, changes)
    _refuse(options, (*_FILES_ONLY, "image_column", "label_column", *_SOUND_ONLY, *_DECODED, "classes"), "data sets")
    datasets = {"train": train, "validation": validation_set, "test": test}
    splits = from_dataset_splits(
        datasets, class_names=class_names, name=name, framing=options.framing, channels_last=channels_last
    )
    return _make(splits, options)


def _make(splits: LabelledSplits, options: LoadOptions) -> Data:
    return make(
        splits,
        validation=options.validation,
        split_seed=options.split_seed,
        normalization=options.normalization,
        workers=options.workers,
        cache=_cache(options),
    )


def _cache(options: LoadOptions) -> Path | None:
    """The folder of what is kept between runs, if anything is."""
    if options.cache is False:
        return None
    return default_cache() if options.cache is True else Path(options.cache).expanduser()


def _named(source: str, options: LoadOptions) -> LabelledSplits | None:
    """The data set known by this name; None if the source is to be read as a path."""
    known = {re.sub(r"[-_ ]", "", name): name for name in NAMES}
    name = known.get(re.sub(r"[-_ ]", "", source.lower()))
    if name is None:
        if not re.search(r"[/\\~]|^\.", source) and not Path(source).exists():
            raise unknown("data set", source, NAMES)
        return None
    if name == "digits":
        _refuse(options, (*_FILES_ONLY, "image_column", "label_column", *_SOUND_ONLY, *_DECODED), "'digits'")
        return _some_classes(digits(options.framing), options)
    _refuse(options, ("image_column", "label_column", *_SOUND_ONLY, *_DECODED), f"'{name}'")
    return _some_classes(from_torchvision(name, options.root, options.download, options.framing), options)


def _some_classes(splits: LabelledSplits, options: LoadOptions) -> LabelledSplits:
    """The classes that are asked for, of images in memory."""
    if options.classes is None:
        return splits
    numbers = chosen(options.classes, splits.class_names, splits.name)
    parts: dict[str, Any] = {}
    for role in ("train", "validation", "test"):
        part = getattr(splits, role)
        if part is not None:
            rows, labels = choose_classes(part.labels, numbers, len(splits.class_names))
            parts[role] = replace(part.select(rows), labels=labels)
    return replace(splits, class_names=tuple(splits.class_names[number] for number in numbers), **parts)


def _from_path(source: str | Path, options: LoadOptions) -> LabelledSplits:
    path = Path(source).expanduser().resolve()
    if not path.exists():
        raise InputError(f"there is no folder '{source}'; give an existing folder or one of {', '.join(NAMES)}")
    if path.is_file() and path.suffix.lower() != ".parquet":
        raise InputError(
            f"'{source}' is a file of another kind; give a folder of pictures, recordings or parquet files"
        )
    columns = options.image_column, options.label_column, options.audio_column
    files: ParquetFiles | FolderFiles | None = find_parquet(path, *columns, options.classes)
    _refuse(options, _FILES_ONLY, f"'{source}'")
    if files is None:
        files = find_folder(path, options.classes)
        _refuse(options, ("image_column", "label_column", "audio_column"), f"'{source}'")
    _refuse(options, _PICTURES_ONLY if files.sound else _SOUND_ONLY, f"'{source}'")
    splits = files.listed(options.framing) if _streams(files, options) else _read(files, path, options)
    splits = replace(splits, name=subset_name(options.classes) or splits.name)
    return carve_test(splits, options.test_fraction, options.split_seed) if files.carve else splits


def _streams(files: ParquetFiles | FolderFiles, options: LoadOptions) -> bool:
    """Whether pictures stay encoded."""
    if files.sound or options.stream != "auto":
        return options.stream == "on"
    try:
        return files.decoded_bytes(options.framing) > STREAM_FROM
    except InputError:
        return False  # decoding everything meets it too, and tells more


def _read(files: ParquetFiles | FolderFiles, path: Path, options: LoadOptions) -> LabelledSplits:
    directory = _cache(options)
    if directory is None:
        return files.read(options.framing, options.clips, options.workers)
    columns = {"image_column": options.image_column, "label_column": options.label_column}
    shape = asdict(options.framing) | columns
    if files.sound:
        shape = asdict(options.clips) | decoder_versions() | {"column": options.audio_column or "", **columns}
    if options.classes is not None:
        shape["classes"] = options.classes
    key = cache_key(path, files.files, shape)
    return cached(directory, key, lambda: files.read(options.framing, options.clips, options.workers))


def holds_sound(source: str | Path) -> bool:
    """Whether a path leads to recordings rather than pictures, without reading them; False for names and mistakes.

    Args:
        source: what `load` is given.
    """
    path = Path(source).expanduser()
    try:
        files: ParquetFiles | FolderFiles | None = None
        if path.exists():
            files = find_parquet(path.resolve(), None, None) or find_folder(path.resolve())
        return files is not None and files.sound
    except (InputError, OSError):
        return False


def _refuse(options: LoadOptions, names: Sequence[str], source: str) -> None:
    """Refuse options that would have no effect."""
    plain = LoadOptions()
    for name in names:
        if getattr(options, name) != getattr(plain, name):
            flag = name.replace("_", "-")
            raise InputError(f"{name} (--{flag}) has no effect on {source}; leave it out")
