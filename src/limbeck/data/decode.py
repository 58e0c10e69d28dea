"""Encoded pictures to one tensor of bytes."""

from __future__ import annotations

import io
import os
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from limbeck.core.errors import InputError
from limbeck.data.framing import Framing

__all__ = ["Encoded", "cores", "decode", "decode_picture", "unreadable"]

# Pillow releases the interpreter lock while it decodes; below this size the rest of the work, which holds the
# lock, is most of it, and threads only wait for one another.
_THREADS_FROM_PIXELS = 96 * 96
_KINDS_SHOWN = 4


@dataclass(frozen=True, kw_only=True)
class Encoded:
    """Pictures in files or tables, not yet decoded.

    Args:
        count: how many.
        read: the encoded bytes of one of them.
        describe: what to call one of them in a message.
        where: what to call all of them in a message.
    """

    count: int
    read: Callable[[int], bytes]
    describe: Callable[[int], str]
    where: str


class _OtherShapeError(Exception):
    """An image has not the shape of the first."""


def decode(encoded: Encoded, framing: Framing, workers: int | None = None) -> Tensor:
    """Decode pictures to uint8 ``[N, C, H, W]``.

    Args:
        encoded: at least one picture.
        framing: size and channels to bring them to.
        workers: threads, which change nothing of the result; None for as many as pay.

    Raises:
        InputError: a picture cannot be read, or they differ in size or channels and ``framing`` does not
            settle it.
    """
    first = _decode_one(encoded, 0, framing)
    pixels = np.empty((encoded.count, *first.shape), dtype=np.uint8)

    def fill(block: range) -> None:
        for row in block:
            image = first if row == 0 else _decode_one(encoded, row, framing)
            if image.shape != first.shape:
                raise _OtherShapeError
            pixels[row] = image

    workers = min(workers, encoded.count) if workers is not None else _workers(encoded)
    size = max(1, min(64, encoded.count // (4 * workers)))
    blocks = [range(start, min(start + size, encoded.count)) for start in range(0, encoded.count, size)]
    try:
        if workers == 1:
            fill(range(encoded.count))
        else:
            with ThreadPoolExecutor(workers) as pool:
                for _ in pool.map(fill, blocks):
                    pass
    except _OtherShapeError:
        raise _different(encoded, framing) from None
    return torch.from_numpy(pixels)


def decode_picture(content: bytes, framing: Framing) -> np.ndarray[Any, Any]:
    """One picture as uint8 ``[C, H, W]``.

    Args:
        content: the bytes of its file.
        framing: size and channels to bring it to.

    Raises:
        Exception: of many kinds (OSError, SyntaxError, struct.error, ...), as decoders do; `unreadable` makes a
            sentence of any.
    """
    from PIL import Image

    with Image.open(io.BytesIO(content)) as picture:
        return framing.picture(picture)


def unreadable(name: str, error: Exception) -> InputError:
    """The error for a picture that cannot be read.

    Args:
        name: what to call the picture.
        error: what reading or decoding it raised.
    """
    from PIL import UnidentifiedImageError

    # Pillow's own sentence shows the address of a buffer.
    cause = "it is no picture that Pillow knows" if isinstance(error, UnidentifiedImageError) else str(error)
    remedy = "" if isinstance(error, InputError) else "; repair or remove it"
    return InputError(f"cannot read {name}: {cause}{remedy}")


def cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _decode_one(encoded: Encoded, row: int, framing: Framing) -> np.ndarray[Any, Any]:
    try:
        return decode_picture(encoded.read(row), framing)
    except Exception as error:
        raise unreadable(encoded.describe(row), error) from error


def _workers(encoded: Encoded) -> int:
    from PIL import Image

    with Image.open(io.BytesIO(encoded.read(0))) as picture:
        width, height = picture.size
    return min(cores(), encoded.count) if width * height >= _THREADS_FROM_PIXELS else 1


def _different(encoded: Encoded, framing: Framing) -> InputError:
    """The error for images of different shapes: which there are, and what settles it."""
    plain = replace(framing, image_size=None)
    shapes = Counter(_decode_one(encoded, row, plain).shape for row in range(encoded.count))
    channels = Counter[str]()
    sizes = Counter[str]()
    for (depth, height, width), times in shapes.items():
        channels[f"{depth} channel{'s' if depth > 1 else ''}"] += times
        sizes[f"{height}x{width}"] += times
    if len(channels) > 1:
        what, kinds, remedy = "numbers of channels", channels, "set channels (--channels) to rgb or gray"
    else:
        what, kinds, remedy = (
            "sizes (height x width)",
            sizes,
            "set image_size (--image-size) to bring them to one size",
        )
    shown = ", ".join(f"{kind}: {times}" for kind, times in kinds.most_common(_KINDS_SHOWN))
    more = ", ..." if len(kinds) > _KINDS_SHOWN else ""
    return InputError(f"images in '{encoded.where}' have different {what} ({shown}{more}); {remedy}")
