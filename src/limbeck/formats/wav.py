"""Spectrograms of a distilled set as recordings that can be listened to."""

from __future__ import annotations

import io
import wave
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from limbeck.core.errors import InputError
from limbeck.core.sound import Sound
from limbeck.ops.sound import waveforms

__all__ = ["clips", "wav_bytes"]

PEAK = 0.9
"""Largest sample of a recording, 1 being the most that a file can hold."""
_AT_ONCE = 128


def clips(images: Tensor, sound: Sound | None) -> Tensor:
    """A recording for each spectrogram, by Griffin-Lim, all equally loud: their largest sample is 0.9.

    Equal spectrograms give equal recordings. What a spectrogram has lost (phases, detail of frequency) is made up.

    Args:
        images: decoded images ``[N, 1, H, W]`` in [0, 1].
        sound: what their values mean.

    Returns:
        ``[N, S]`` in [-0.9, 0.9]; silence stays silence.

    Raises:
        InputError: the images are no sound.
    """
    if sound is None:
        raise InputError("this set holds pictures, which cannot be heard; export it to imagefolder or npz.")
    waves = torch.cat([waveforms(block, sound) for block in images.split(_AT_ONCE)])
    peaks = waves.abs().amax(dim=1, keepdim=True)
    return torch.where(peaks > 0, PEAK * waves / peaks, waves)


def wav_bytes(clip: Tensor, sample_rate: int, width: Literal[1, 2] = 2) -> bytes:
    """The bytes of a wav file with one channel.

    Args:
        clip: ``[S]`` in [-1, 1]; values outside are clamped.
        sample_rate: samples per second.
        width: bytes per sample.
    """
    levels = clip.clamp(-1, 1).double().numpy()
    # Eight bits are unsigned in wav files.
    samples = np.rint(levels * 32767).astype("<i2") if width == 2 else np.rint(levels * 127 + 128).astype("u1")
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(width)
        file.setframerate(sample_rate)
        file.writeframes(samples.tobytes())
    return buffer.getvalue()
