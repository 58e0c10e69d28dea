"""A few real images of each class beside what was distilled from them, so that a report can show both."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from limbeck.core.errors import InputError
from limbeck.core.real import DataSpec, RealSet
from limbeck.storage.atomic import replacing
from limbeck.storage.preview import picture

__all__ = ["EXAMPLES", "read_examples", "write_examples"]

EXAMPLES = "real.png"
_MOST_CLASSES, _MOST_IMAGES, _MOST_VALUES = 20, 10, 3_000_000
"""Classes, images of each, and numbers in all of them together (but one image of each class, however large)."""


def write_examples(folder: Path, data: RealSet) -> Path:
    """Write the first training images of the first classes as one picture, atomically; its path.

    Classes go down and images across, pixel by pixel and with nothing between them: 10 of each of 20 classes, fewer
    where images are large or a class is small.

    Args:
        folder: of a run.
        data: its training images.
    """
    classes = min(data.spec.classes, _MOST_CLASSES)
    fit = _MOST_VALUES // (classes * data.spec.channels * data.spec.height * data.spec.width)
    count = max(1, min(_MOST_IMAGES, fit, *data.class_counts()[:classes]))
    rows = torch.stack([data.class_rows(label)[:count] for label in range(classes)])
    path = folder / EXAMPLES
    with replacing(path) as temporary:
        picture(data.images(rows).cpu(), scale=1, gap=0).save(temporary, format="PNG", optimize=True)
    return path


def read_examples(folder: Path, spec: DataSpec) -> Tensor | None:
    """What `write_examples` wrote, ``[K, n, C, H, W]`` in [0, 1], grey or in colours; None where there is none.

    Args:
        folder: of a run.
        spec: of its data.

    Raises:
        InputError: the picture is damaged, or not of such images.
    """
    import numpy
    from PIL import Image

    path = folder / EXAMPLES
    if not path.is_file():
        return None
    try:
        with Image.open(path, formats=["PNG"]) as image:
            pixels = torch.from_numpy(numpy.array(image.convert("RGB")))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} is damaged ({error}); remove it to go without the real images.") from error
    classes, count = pixels.shape[0] // spec.height, pixels.shape[1] // spec.width
    if (classes * spec.height, count * spec.width) != pixels.shape[:2] or not 0 < classes <= spec.classes or not count:
        raise InputError(f"{path} does not show images of {spec.name}; remove it to go without the real images.")
    tiles = pixels.float().div(255).unflatten(0, (classes, spec.height)).unflatten(2, (count, spec.width))
    return tiles.permute(0, 2, 4, 1, 3)[:, :, : 3 if spec.channels == 3 else 1]
