"""Whitening fitted to training images, and kept on disk: the eigenvectors of many values take a while.

An entry is one file, named by a hash of the training images and of how the fit is done. Entries may be deleted at any
time.
"""

from __future__ import annotations

import hashlib
import json
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

from torch import Tensor

from limbeck.core.errors import InputError
from limbeck.core.real import Normalization
from limbeck.core.whitening import Whitening
from limbeck.ops import zca
from limbeck.storage.atomic import write_bytes
from limbeck.storage.whitening import whitening_from_bytes, whitening_to_bytes

__all__ = ["LARGEST", "aloud", "check_size", "whitened"]

LARGEST = 12_288
"""Most values of an image that are whitened: 64 x 64 pixels of three channels."""

_VERSION = 1
_COPIES = 5
"""Float64 matrices in memory at once: products, covariance, eigenvectors and the room that these take to be found."""
_BLOCK = 4096
_FOLDER = "whitening"


def aloud(message: str) -> None:
    """A line for whoever waits, on standard error."""
    print(message, file=sys.stderr)


def check_size(shape: tuple[int, ...], name: str) -> None:
    """Refuse images whose covariance is too large.

    Args:
        shape: ``(C, H, W)``.
        name: of the data, for messages.

    Raises:
        InputError: they have more than `LARGEST` values.
    """
    values = shape[0] * shape[1] * shape[2]
    if values > LARGEST:
        raise InputError(
            f"images of '{name}' have {values} values each, and to whiten them would take about "
            f"{_COPIES * 8 * values**2 / 1e9:.0f} GB of memory; set image_size (--image-size) to 64 or less, or "
            "normalization (--normalization) to measured"
        )


def whitened(
    pixels: Tensor, name: str, digest: str, cache: Path | None, say: Callable[[str], None] = aloud
) -> Normalization:
    """ZCA whitening fitted to training images, or the same fit of an earlier call.

    Args:
        pixels: training images, uint8 or float32 in about [0, 1], ``[N, C, H, W]``; turned to float64 in blocks.
        name: of the data, for messages.
        digest: what identifies the images.
        cache: folder of decoded data, below which fits are kept; None keeps none.
        say: is told of a fit before it begins.

    Raises:
        InputError: images are too large, or there is only one.
    """
    check_size(tuple(pixels.shape[1:]), name)
    if len(pixels) < 2:
        raise InputError(f"'{name}' has a single training image, which cannot be whitened; give more images")
    path = None if cache is None else cache / _FOLDER / f"{_key(digest)}.safetensors"
    found = _kept(path, pixels)
    if found is None:
        found = _fit(pixels, name, say)
        _keep(path, found)
    channels = pixels.shape[1]
    return Normalization((0.0,) * channels, (1.0,) * channels, "zca", found)


def _fit(pixels: Tensor, name: str, say: Callable[[str], None]) -> Whitening:
    values = pixels[0].numel()
    say(f"fitting ZCA whitening: covariance of {len(pixels)} training images of '{name}', {values} values each")
    moments = zca.moments(pixels.split(_BLOCK))
    if values > _BLOCK:
        say(f"fitting ZCA whitening: eigenvectors of {values} x {values} numbers, which can take many minutes")
    return zca.whitening(moments)


def _key(digest: str) -> str:
    facts = json.dumps([_VERSION, digest, zca.EPS])
    return hashlib.blake2b(facts.encode(), digest_size=16).hexdigest()


def _kept(path: Path | None, pixels: Tensor) -> Whitening | None:
    """The fit in a file; None where it is missing or damaged."""
    if path is None:
        return None
    try:
        found = whitening_from_bytes(path.read_bytes(), str(path))
    except (OSError, InputError):
        return None
    return found if found.values == pixels[0].numel() else None


def _keep(path: Path | None, found: Whitening) -> None:
    if path is None:
        return
    try:
        write_bytes(path, whitening_to_bytes(found))
    except OSError as error:
        warnings.warn(
            f"the whitening could not be kept in '{path.parent}' ({error}); set cache (--cache) to another folder",
            stacklevel=2,
        )
