"""How recordings of any rate and length become spectrograms of one shape.

Letters in shapes: N recordings, S samples, H rows, W columns.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import io
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from limbeck.core.errors import InputError
from limbeck.core.sound import Sound
from limbeck.data.decode import Encoded
from limbeck.ops.sound import log_spectrograms

__all__ = ["Clips", "decode_clips", "decoder_versions"]

_SIDE = 64
_AT_ONCE = 256
_MARGIN = 1024
"""Samples read beyond those that are kept, so that the end of a long recording is resampled from what follows it."""
_DECODERS = ("soundfile", "soxr")


@dataclass(frozen=True, kw_only=True)
class Clips:
    """Rate and length that every recording is brought to, and the size of its spectrogram.

    Args:
        sample_rate: samples per second; recordings of other rates are resampled.
        seconds: length; shorter recordings are followed by silence, longer ones are cut.
        image_size: side of a square, or (height, width), of the spectrogram; None for 64.

    Raises:
        InputError: a rate, length or side that cannot be.
    """

    sample_rate: int = 16_000
    seconds: float = 1.0
    image_size: int | tuple[int, int] | None = None

    def __post_init__(self) -> None:
        if not (self.sample_rate > 0 and self.seconds > 0):
            raise InputError(
                f"sample_rate and seconds must be above 0, not {self.sample_rate} and {self.seconds}; set "
                "sample_rate (--sample-rate) and seconds (--seconds)"
            )
        if min(self.size) < 1:
            raise InputError(f"image_size must be at least 1, not {self.image_size}; set image_size (--image-size)")
        self.sound  # noqa: B018 - refuses what cannot be, before any work

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of every spectrogram."""
        size = _SIDE if self.image_size is None else self.image_size
        return (size, size) if isinstance(size, int) else size

    @property
    def sound(self) -> Sound:
        """What the spectrograms mean, not yet measured."""
        return Sound(sample_rate=self.sample_rate, samples=round(self.seconds * self.sample_rate))


def decoder_versions() -> dict[str, str]:
    """Versions of the libraries that read recordings.

    Raises:
        InputError: one of them is not installed.
    """
    try:
        return {name: importlib.metadata.version(name) for name in _DECODERS}
    except importlib.metadata.PackageNotFoundError as error:
        raise _missing(str(error.name)) from error


def decode_clips(encoded: Encoded, clips: Clips) -> tuple[Tensor, Tensor]:
    """Logarithmic spectrograms of recordings, not yet on the scale of [0, 1], and what each was made from.

    Channels are averaged. Any rate and length is accepted; silence fills short recordings up.

    Args:
        encoded: at least one recording.
        clips: what to bring them to.

    Returns:
        float32 ``[N, 1, H, W]``; and int64 ``[N]``, a hash of each encoded recording.

    Raises:
        InputError: a recording cannot be read or is shorter than one window, or the libraries that read recordings
            are not installed.
    """
    decoder_versions()
    spectrograms = torch.empty(encoded.count, 1, *clips.size)
    marks = torch.empty(encoded.count, dtype=torch.int64)
    for start in range(0, encoded.count, _AT_ONCE):
        rows = range(start, min(start + _AT_ONCE, encoded.count))
        waves = torch.empty(len(rows), clips.sound.samples)
        for place, row in enumerate(rows):
            wave, marks[row] = _decode_one(encoded, row, clips)
            waves[place] = torch.from_numpy(wave)
        spectrograms[start : rows.stop] = log_spectrograms(waves, clips.sound, clips.size)
    return spectrograms, marks


def _decode_one(encoded: Encoded, row: int, clips: Clips) -> tuple[np.ndarray[Any, Any], int]:
    """One recording, float32 ``[S]``, and its hash."""
    import soundfile
    import soxr

    sound = clips.sound
    try:
        content = encoded.read(row)
        with soundfile.SoundFile(io.BytesIO(content)) as file:
            rate = file.samplerate
            most = -(-(sound.samples + _MARGIN) * rate // sound.sample_rate)
            wave = file.read(most, dtype="float32", always_2d=True).mean(axis=1)
        if rate != sound.sample_rate:
            wave = soxr.resample(wave, rate, sound.sample_rate)
    except Exception as error:
        # libsndfile's sentence shows the address of a buffer; whatever the kind of error, the file is of no use.
        cause = "it is no recording that libsndfile knows" if type(error).__name__ == "LibsndfileError" else str(error)
        raise InputError(f"cannot read {encoded.describe(row)}: {cause}; repair or remove it") from error
    if len(wave) < sound.n_fft:
        lasts = f"it lasts {1000 * len(wave) / sound.sample_rate:.3g} ms" if len(wave) else "it is empty"
        raise InputError(
            f"cannot use {encoded.describe(row)}: {lasts}, and one window takes "
            f"{1000 * sound.n_fft / sound.sample_rate:.3g} ms; remove it"
        )
    if not np.isfinite(wave).all():
        raise InputError(f"cannot use {encoded.describe(row)}: it has samples that are no numbers; remove it")
    wave = wave[: sound.samples]
    filled = np.zeros(sound.samples, dtype=np.float32)
    filled[: len(wave)] = wave
    mark = int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), "little", signed=True)
    return filled, mark


def _missing(name: str) -> InputError:
    return InputError(
        f"recordings are read with the package '{name}', which is not installed; pip install limbeck[audio]"
    )
