"""Distilled sets for other tools: a folder of pictures or of recordings, or one NumPy file."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, get_args

import torch
from torch import Tensor

from limbeck.core.distilled import Distilled
from limbeck.core.errors import InputError, unknown
from limbeck.formats.wav import clips, wav_bytes
from limbeck.storage.atomic import replacing, replacing_folder

__all__ = ["Target", "export", "to_image_folder", "to_npz", "to_wav_folder"]

Target = Literal["imagefolder", "npz", "wav"]


def export(distilled: Distilled, to: Target, where: str | Path, decoded: bool = True) -> Path:
    """Write a distilled set in another form; nothing that exists is overwritten.

    Args:
        distilled: the set.
        to: ``imagefolder``, ``npz``, or ``wav`` for sets of sound.
        where: the folder, or the file, which gets the ending ``.npz`` if it has none.
        decoded: training images (True) or the stored images (False).

    Returns:
        What was written.

    Raises:
        InputError: the target exists, the images have a number of channels that pictures cannot have, or what is to
            be heard is no sound or is not decoded.
    """
    where = Path(where)
    if to not in get_args(Target):
        raise unknown("form", to, get_args(Target))
    if to == "npz" and where.suffix != ".npz":
        where = where.with_name(where.name + ".npz")
    if where.exists() and (where.is_file() or any(where.iterdir())):
        raise InputError(f"{where} exists already; choose another name, nothing is overwritten.")
    if to == "npz":
        to_npz(distilled, where, decoded)
    elif to == "wav":
        if not decoded:
            raise InputError(
                "a stored spectrogram may hold several clips side by side; leave --no-decoded out for wav."
            )
        to_wav_folder(distilled, where)
    else:
        to_image_folder(distilled, where, decoded)
    return where


def to_image_folder(distilled: Distilled, folder: Path, decoded: bool = True) -> None:
    """PNG files ``train/<class>/<number>.png``, 8 bits per value, as `torchvision.datasets.ImageFolder` reads them.

    Args:
        distilled: the set.
        folder: made; appears complete or not at all.
        decoded: training images (True) or the stored images (False).

    Raises:
        InputError: images have neither one nor three channels.
    """
    from PIL import Image

    images, labels = _images(distilled, decoded)
    if images.shape[1] not in (1, 3):
        raise InputError(f"images of {images.shape[1]} channels cannot be PNG files; export to npz instead.")
    pixels = (images.clamp(0, 1) * 255).round().to(torch.uint8)
    with _class_folders(folder, distilled, labels, ".png") as files:
        for file, image in zip(files, pixels, strict=True):
            Image.fromarray(image.permute(1, 2, 0).squeeze(-1).contiguous().numpy()).save(file)


def to_wav_folder(distilled: Distilled, folder: Path) -> None:
    """Files ``train/<class>/<number>.wav``, one channel, 16 bits, one for each decoded clip (`limbeck.formats.wav`).

    Args:
        distilled: a set of sound.
        folder: made; appears complete or not at all.

    Raises:
        InputError: the set holds pictures.
    """
    images, labels = distilled.decoded()
    sound = distilled.spec.sound
    recordings = clips(images, sound)
    assert sound is not None  # else there are no recordings
    with _class_folders(folder, distilled, labels, ".wav") as files:
        for file, clip in zip(files, recordings, strict=True):
            file.write_bytes(wav_bytes(clip, sound.sample_rate))


def to_npz(distilled: Distilled, path: Path, decoded: bool = True) -> None:
    """``images`` float32 ``[N, C, H, W]`` in [0, 1], ``labels`` int64 ``[N]``, ``class_names``, ``mean``, ``std``.

    Args:
        distilled: the set.
        path: the file; appears complete or not at all.
        decoded: training images (True) or the stored images (False).
    """
    import numpy as np

    images, labels = _images(distilled, decoded)
    normalization = distilled.spec.normalization
    with replacing(path) as temporary:
        np.savez_compressed(
            temporary,
            images=images.numpy(),
            labels=labels.numpy(),
            class_names=np.array(distilled.spec.class_names),
            mean=np.array(normalization.mean),
            std=np.array(normalization.std),
        )


def _images(distilled: Distilled, decoded: bool) -> tuple[Tensor, Tensor]:
    """Images in [0, 1] and labels, class by class."""
    if decoded:
        return distilled.decoded()
    stored = distilled.stored
    if distilled.parametrization.space == "normalized":
        stored = distilled.spec.normalization.invert(stored)
    labels = torch.arange(stored.shape[0]).repeat_interleave(stored.shape[1])
    return stored.flatten(0, 1), labels


@contextlib.contextmanager
def _class_folders(folder: Path, distilled: Distilled, labels: Tensor, suffix: str) -> Iterator[list[Path]]:
    """A file to be written for each label, in folders of the classes; ``classes.json`` has the classes' own names."""
    width = max(3, len(str(distilled.spec.classes - 1)))
    names = [_file_name(index, name, width) for index, name in enumerate(distilled.spec.class_names)]
    digits = len(str(len(labels)))
    with replacing_folder(folder) as temporary:
        for name in names:
            (temporary / "train" / name).mkdir(parents=True)
        yield [
            temporary / "train" / names[label] / f"{number:0{digits}d}{suffix}"
            for number, label in enumerate(labels.tolist())
        ]
        (temporary / "classes.json").write_text(
            json.dumps(dict(zip(names, distilled.spec.class_names, strict=True)), ensure_ascii=False, indent=2)
        )


def _file_name(index: int, name: str, width: int) -> str:
    """A folder name for a class: its own if it is harmless, and always one that sorts in label order."""
    harmless = re.sub(r"[^\w.-]+", "_", name).strip("._") or "class"
    return f"{index:0{width}d}_{harmless[:50]}"
