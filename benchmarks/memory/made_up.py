"""Folders of made-up JPEGs in the layout of ImageNet: many files, quickly written, small on the disk."""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

__all__ = ["write_jpegs"]


def write_jpegs(folder: Path, classes: int, each: int, size: int | tuple[int, int] = 224, seed: int = 0) -> None:
    """``classes`` folders ``n00000000``, ``n00000001``, ... with ``each`` JPEGs.

    Each picture is a grid of 4 x 4 random colours, scaled up, since noise compresses badly; the colours of a class lie
    around one of its own.

    Args:
        folder: where the class folders go; made when missing.
        classes: how many.
        each: pictures of each class.
        size: side of a square, or (height, width).
        seed: which pictures; the same for a class whatever the number of classes.
    """
    high, wide = (size, size) if isinstance(size, int) else size

    def write(label: int) -> None:
        numbers = np.random.default_rng((seed, label))
        here = folder / f"n{label:08d}"
        here.mkdir(parents=True, exist_ok=True)
        around = numbers.integers(64, 192, 3)
        for number in range(each):
            colours = (around + numbers.integers(-64, 64, (4, 4, 3))).astype(np.uint8)
            stream = io.BytesIO()
            Image.fromarray(colours).resize((wide, high), Image.Resampling.BILINEAR).save(stream, "JPEG", quality=75)
            (here / f"{here.name}_{number:05d}.JPEG").write_bytes(stream.getvalue())

    with ThreadPoolExecutor() as pool:
        list(pool.map(write, range(classes)))
