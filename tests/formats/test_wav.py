from __future__ import annotations

import io
import wave
from dataclasses import replace

import numpy as np
import pytest
import soundfile
import torch

from limbeck.core.errors import InputError
from limbeck.core.sound import Sound
from limbeck.formats.wav import clips, wav_bytes
from limbeck.ops.sound import log_spectrograms, waveforms
from tests.data.makers import tone


@pytest.mark.parametrize(("width", "step"), [(2, 1 / 32767), (1, 1 / 127)])
def test_what_is_written_is_read(width: int, step: float) -> None:
    samples = tone(440, 0.1)
    content = wav_bytes(samples, 8_000, width)  # type: ignore[arg-type]
    with wave.open(io.BytesIO(content)) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, width, 8_000)
    read, rate = soundfile.read(io.BytesIO(content))
    assert rate == 8_000
    np.testing.assert_allclose(read, samples.numpy(), atol=1.01 * step)


def test_values_outside_are_clamped() -> None:
    read, _ = soundfile.read(io.BytesIO(wav_bytes(torch.tensor([-3.0, 0.0, 3.0]), 8_000)))
    np.testing.assert_allclose(read, [-1, 0, 1], atol=1e-4)


def test_recordings_are_equally_loud_and_silence_is_silent() -> None:
    sound = replace(Sound(), low=-7.0, high=3.5)
    loud = sound.to_unit(log_spectrograms(torch.stack([tone(600), 0.05 * tone(600)]).float(), sound, (64, 64)))
    images = torch.cat([loud, torch.full((1, 1, 64, 64), -1.0)])
    found = clips(images, sound)
    assert found.abs().amax(dim=1).tolist() == pytest.approx([0.9, 0.9, 0.0])
    raw = waveforms(images[:1], sound)
    torch.testing.assert_close(found[:1], 0.9 * raw / raw.abs().max(), rtol=0, atol=1e-3)


def test_pictures_cannot_be_heard() -> None:
    with pytest.raises(InputError, match="holds pictures"):
        clips(torch.zeros(1, 1, 8, 8), None)
