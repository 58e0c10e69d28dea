"""Distilled sets for other tools: a folder of pictures or of recordings, or one NumPy file."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from limbeck.core.distilled import Distilled
from limbeck.core.errors import InputError, unknown
from limbeck.core.whitening import Whitening
from limbeck.formats.wav import clips, wav_bytes
from limbeck.storage.atomic import replacing, replacing_folder

__all__ = ["Target", "export", "to_image_folder", "to_jpeg_folder", "to_npz", "to_wav_folder"]

Target = Literal["imagefolder", "npz", "wav"]


def export(distilled: Distilled, to: Target, where: str | Path, decoded: bool = True, jpeg: int | None = None) -> Path:
    """Write a distilled set in another form; nothing that exists is overwritten.

    Args:
        distilled: the set.
        to: ``imagefolder``, ``npz``, or ``wav`` for sets of sound.
        where: the folder, or the file, which gets the ending ``.npz`` if it has none.
        decoded: training images (True) or the stored images (False).
        jpeg: quality, 1 to 100, of JPEG files in the layout of SRe2L (`to_jpeg_folder`) instead of lossless PNG files.

    Returns:
        What was written.

    Raises:
        InputError: the target exists, a JPEG quality is out of its range or for another form, the images have a number
            of channels that pictures cannot have, or what is to be heard is no sound or is not decoded.
    """
    where = Path(where)
    if to not in get_args(Target):
        raise unknown("form", to, get_args(Target))
    if jpeg is not None and (to != "imagefolder" or not 1 <= jpeg <= 100):
        raise InputError(
            f"JPEG files have a quality of 1 to 100 and are for the form imagefolder, not {jpeg} for {to}; leave "
            "--jpeg out for files without loss."
        )
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
    elif jpeg is not None:
        to_jpeg_folder(distilled, where, jpeg, decoded)
    else:
        to_image_folder(distilled, where, decoded)
    return where


def to_image_folder(distilled: Distilled, folder: Path, decoded: bool = True) -> None:
    """PNG files ``train/<class>/<number>.png``, 8 bits per value, as `torchvision.datasets.ImageFolder` reads them.

    What was learnt beside the pixels stands in ``learnt.json``: ``student_lr``, and with decoded images
    ``labels_soft``, the probabilities by file.

    Args:
        distilled: the set.
        folder: made; appears complete or not at all.
        decoded: training images (True) or the stored images (False).

    Raises:
        InputError: images have neither one nor three channels.
    """
    from PIL import Image

    pixels, labels = _pixels(distilled, decoded)
    with _class_folders(folder, distilled, labels, ".png", decoded) as files:
        for file, image in zip(files, pixels, strict=True):
            Image.fromarray(_picture(image)).save(file)


def to_jpeg_folder(distilled: Distilled, folder: Path, quality: int = 75, decoded: bool = True) -> None:
    """JPEG files ``new000/class000_id000.jpg``, as SRe2L's programs write and read them; pixels are changed.

    Programs that read such folders number the classes by the alphabetical order of the folders, here that of the
    labels; a teacher that knows the classes in another order would teach nonsense. ``classes.json`` says which folder
    is which. At 32 pixels the loss is visible.

    Args:
        distilled: the set.
        folder: made; appears complete or not at all.
        quality: 1 to 100; SRe2L's 75 by default, with half the resolution of colours, as its programs have it.
        decoded: training images (True) or the stored images (False).

    Raises:
        InputError: images have neither one nor three channels.
    """
    from PIL import Image

    pixels, labels = _pixels(distilled, decoded)
    most = int(torch.bincount(labels).max()) - 1
    width, digits = max(3, len(str(distilled.spec.classes - 1))), max(3, len(str(most)))
    names = [f"new{label:0{width}d}" for label in range(distilled.spec.classes)]
    _require_sorted(names)
    seen, files = [0] * len(names), []
    with replacing_folder(folder) as temporary:
        for name in names:
            (temporary / name).mkdir()
        for image, label in zip(pixels, labels.tolist(), strict=True):
            file = temporary / names[label] / f"class{label:0{width}d}_id{seen[label]:0{digits}d}.jpg"
            Image.fromarray(_picture(image)).save(file, quality=quality)
            files.append(file.relative_to(temporary))
            seen[label] += 1
        _write_names(temporary, names, distilled)
        _write_learnt(temporary, files, distilled, decoded)


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

    Of whitened sets there are also ``whitening`` and ``whitening_inverse``, float32 ``[D, D]``, and ``whitening_mean``
    ``[D]``: networks saw ``(x - whitening_mean) @ whitening``, with x the D values of an image in the order C, H, W.
    Their images are not clamped, so that this gives back what was learnt.

    What was learnt beside the pixels is there, too, where it is: ``labels_soft``, probabilities of the decoded images,
    float32 ``[N, classes]``, and ``student_lr``, the step size to train with.

    Args:
        distilled: the set.
        path: the file; appears complete or not at all.
        decoded: training images (True) or the stored images (False).
    """
    import numpy as np

    images, labels = _images(distilled, decoded)
    normalization, soft = distilled.spec.normalization, distilled.soft_labels
    learnt: dict[str, Any] = {} if soft is None else {"labels_soft": soft.numpy()}
    if distilled.student_lr is not None:
        learnt["student_lr"] = np.array(distilled.student_lr)
    with replacing(path) as temporary:
        np.savez_compressed(
            temporary,
            images=images.numpy(),
            labels=labels.numpy(),
            class_names=np.array(distilled.spec.class_names),
            mean=np.array(normalization.mean),
            std=np.array(normalization.std),
            **_whitening(normalization.whitening),
            **learnt,
        )


def _whitening(whitening: Whitening | None) -> dict[str, Any]:
    """The arrays by which images are whitened and taken back."""
    if whitening is None:
        return {}
    return {
        "whitening": whitening.matrix().numpy(),
        "whitening_inverse": whitening.inverse().numpy(),
        "whitening_mean": whitening.mean.numpy(),
    }


def _pixels(distilled: Distilled, decoded: bool) -> tuple[Tensor, Tensor]:
    """Images as bytes ``[N, C, H, W]``, and labels."""
    if distilled.spec.channels not in (1, 3):
        raise InputError(
            f"images of {distilled.spec.channels} channels cannot be picture files; export to npz instead."
        )
    levels = distilled.levels()
    if levels is not None:
        return levels, torch.arange(distilled.spec.classes).repeat_interleave(distilled.ipc)
    images, labels = _images(distilled, decoded)
    return (images.clamp(0, 1) * 255).round().to(torch.uint8), labels


def _picture(image: Tensor) -> Any:
    """One image ``[C, H, W]`` as an array that pictures are made of."""
    return image.permute(1, 2, 0).squeeze(-1).contiguous().numpy()


def _images(distilled: Distilled, decoded: bool) -> tuple[Tensor, Tensor]:
    """Images in [0, 1] and labels, class by class."""
    if decoded:
        return distilled.decoded()
    stored = distilled.values(distilled.stored)
    if distilled.parametrization.space == "normalized":
        stored = distilled.spec.normalization.invert(stored)
    labels = torch.arange(stored.shape[0]).repeat_interleave(stored.shape[1])
    return stored.flatten(0, 1), labels


@contextlib.contextmanager
def _class_folders(
    folder: Path, distilled: Distilled, labels: Tensor, suffix: str, decoded: bool = True
) -> Iterator[list[Path]]:
    """A file to be written for each label, in folders of the classes; ``classes.json`` has the classes' own names."""
    width = max(3, len(str(distilled.spec.classes - 1)))
    names = [_file_name(index, name, width) for index, name in enumerate(distilled.spec.class_names)]
    digits = len(str(len(labels)))
    _require_sorted(names)
    with replacing_folder(folder) as temporary:
        for name in names:
            (temporary / "train" / name).mkdir(parents=True)
        files = [
            Path("train") / names[label] / f"{number:0{digits}d}{suffix}"
            for number, label in enumerate(labels.tolist())
        ]
        yield [temporary / file for file in files]
        _write_names(temporary, names, distilled)
        _write_learnt(temporary, files, distilled, decoded)


def _write_names(folder: Path, names: Sequence[str], distilled: Distilled) -> None:
    """Which folder holds which class."""
    said = dict(zip(names, distilled.spec.class_names, strict=True))
    (folder / "classes.json").write_text(json.dumps(said, ensure_ascii=False, indent=2), encoding="utf-8")


def _write_learnt(folder: Path, files: Sequence[Path], distilled: Distilled, decoded: bool) -> None:
    """``learnt.json``, where something was learnt beside the pixels: the step size, and probabilities by file.

    Stored images may hold several decoded ones, so that only these have labels of their own.
    """
    learnt: dict[str, Any] = {} if distilled.student_lr is None else {"student_lr": distilled.student_lr}
    soft = distilled.soft_labels
    if soft is not None and decoded:
        learnt["labels_soft"] = {file.as_posix(): row for file, row in zip(files, soft.tolist(), strict=True)}
    if learnt:
        (folder / "learnt.json").write_text(json.dumps(learnt, indent=1), encoding="utf-8")


def _require_sorted(names: Sequence[str]) -> None:
    """Folders are read back in alphabetical order, which must be that of the labels."""
    assert list(names) == sorted(names), "the names of class folders do not sort in the order of the labels"


def _file_name(index: int, name: str, width: int) -> str:
    """A folder name for a class: its own if it is harmless, and always one that sorts in label order."""
    harmless = re.sub(r"[^\w.-]+", "_", name).strip("._") or "class"
    return f"{index:0{width}d}_{harmless[:50]}"
