"""Distilled sets for other tools: a folder of pictures, or one NumPy file."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Literal, get_args

import torch
from torch import Tensor

from limbeck.core.distilled import Distilled
from limbeck.core.errors import InputError, unknown
from limbeck.storage.atomic import replacing, replacing_folder

__all__ = ["Target", "export", "to_image_folder", "to_npz"]

Target = Literal["imagefolder", "npz"]


def export(distilled: Distilled, to: Target, where: str | Path, decoded: bool = True) -> Path:
    """Write a distilled set in another form; nothing that exists is overwritten.

    Args:
        distilled: the set.
        to: ``imagefolder`` or ``npz``.
        where: the folder, or the file, which gets the ending ``.npz`` if it has none.
        decoded: training images (True) or the stored images (False).

    Returns:
        What was written.

    Raises:
        InputError: the target exists, or the images have a number of channels that pictures cannot have.
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
    width = max(3, len(str(distilled.spec.classes - 1)))
    names = [_file_name(index, name, width) for index, name in enumerate(distilled.spec.class_names)]
    digits = len(str(len(labels)))
    with replacing_folder(folder) as temporary:
        for name in names:
            (temporary / "train" / name).mkdir(parents=True)
        for number, (image, label) in enumerate(zip(pixels, labels.tolist(), strict=True)):
            array = image.permute(1, 2, 0).squeeze(-1).contiguous().numpy()
            Image.fromarray(array).save(temporary / "train" / names[label] / f"{number:0{digits}d}.png")
        (temporary / "classes.json").write_text(
            json.dumps(dict(zip(names, distilled.spec.class_names, strict=True)), ensure_ascii=False, indent=2)
        )


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


def _file_name(index: int, name: str, width: int) -> str:
    """A folder name for a class: its own if it is harmless, and always one that sorts in label order."""
    harmless = re.sub(r"[^\w.-]+", "_", name).strip("._") or "class"
    return f"{index:0{width}d}_{harmless[:50]}"
