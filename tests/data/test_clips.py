from __future__ import annotations

import importlib.metadata
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from limbeck.core.errors import InputError
from limbeck.data.clips import Clips, decode_clips, decoder_versions
from limbeck.data.decode import Encoded
from limbeck.formats.wav import wav_bytes
from limbeck.ops.sound import log_spectrograms
from tests.data.makers import tone


def encoded(*recordings: bytes) -> Encoded:
    return Encoded(count=len(recordings), read=recordings.__getitem__, describe=lambda row: f"clip {row}", where="toy")


def written(samples: torch.Tensor, rate: int, kind: str, subtype: str | None = None) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples.numpy(), rate, format=kind, subtype=subtype)
    return buffer.getvalue()


def shown(recording: bytes, clips: Clips | None = None) -> torch.Tensor:
    return decode_clips(encoded(recording), clips or Clips())[0]


def test_a_recording_becomes_the_spectrogram_of_its_samples() -> None:
    samples = tone(1000)
    found, marks = decode_clips(encoded(written(samples, 16_000, "WAV", "FLOAT")), Clips())
    assert found.shape == (1, 1, 64, 64) and found.dtype == torch.float32 and marks.dtype == torch.int64
    expected = log_spectrograms(samples.float()[None], Clips().sound, (64, 64))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    assert int(found[0, 0, :, 30].argmax()) == round(1000 / 8000 * 64)


@pytest.mark.parametrize("kind", ["WAV", "FLAC", "OGG", "MP3", "AIFF"])
@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100])
def test_every_kind_and_rate_sounds_alike(kind: str, rate: int) -> None:
    found = shown(written(tone(1000, rate=rate), rate, kind))
    here = found[0, 0, :, 10:50].exp()
    assert (here.argmax(dim=0) == 8).all()
    # The energy of the tone is where it is in the original.
    torch.testing.assert_close(here.max(), shown(wav_bytes(tone(1000), 16_000))[0, 0].exp().max(), rtol=0.05, atol=0)


def test_channels_are_averaged() -> None:
    left, right = tone(1000), tone(3000)
    stereo = shown(written(torch.stack([left, right], dim=1), 16_000, "WAV", "FLOAT"))
    mono = shown(written((left + right) / 2, 16_000, "WAV", "FLOAT"))
    torch.testing.assert_close(stereo, mono, rtol=1e-4, atol=1e-4)


def test_short_recordings_are_followed_by_silence_and_long_ones_are_cut() -> None:
    short, long = shown(wav_bytes(tone(1000, 0.5), 16_000)), shown(wav_bytes(tone(1000, 7.0), 16_000))
    silence = torch.tensor(1e-3).log()
    assert (short[..., 34:] == silence).all() and (short[..., :30].amax(dim=2) > 0).all()
    # All but the last columns, which a full recording mirrors, are as if it had just the right length.
    torch.testing.assert_close(long, shown(wav_bytes(tone(1000), 16_000)))


def test_rate_length_and_size_can_be_chosen() -> None:
    clips = Clips(sample_rate=8_000, seconds=0.5, image_size=(32, 16))
    assert clips.sound.samples == 4_000
    assert shown(wav_bytes(tone(1000, 0.5), 16_000), clips).shape == (1, 1, 32, 16)


def test_a_mark_is_that_of_the_recording() -> None:
    first, second = wav_bytes(tone(1000), 16_000), wav_bytes(tone(1001), 16_000)
    marks = decode_clips(encoded(first, second, first), Clips())[1]
    assert marks[0] == marks[2] != marks[1]


def test_many_recordings_are_read_in_order() -> None:
    pitches = [500 + 10 * number for number in range(300)]
    found = decode_clips(
        encoded(*(wav_bytes(tone(pitch, 0.25, 8_000), 8_000) for pitch in pitches)),
        Clips(sample_rate=8_000, seconds=0.25, image_size=(128, 8)),
    )[0]
    peaks = found[:, 0, :, 4].argmax(dim=1)
    torch.testing.assert_close(peaks.float(), torch.tensor(pitches) * 255 / 8_000, rtol=0, atol=1.1)


@pytest.mark.parametrize(
    ("recording", "message"),
    [
        (b"nothing", r"cannot read clip 1: it is no recording that libsndfile knows; repair or remove it"),
        (b"", r"cannot read clip 1: it is no recording"),
        (
            wav_bytes(torch.zeros(0), 16_000),
            r"cannot use clip 1: it is empty, and one window takes 15\.9 ms; remove it",
        ),
        (wav_bytes(tone(1000, 0.01), 16_000), r"clip 1: it lasts 10 ms, and one window takes 15\.9 ms"),
        (written(torch.full((16_000,), float("nan")), 16_000, "WAV", "FLOAT"), "clip 1: .* that are no numbers"),
    ],
)
def test_what_cannot_be_used_is_named(recording: bytes, message: str) -> None:
    with pytest.raises(InputError, match=message):
        decode_clips(encoded(wav_bytes(tone(1000), 16_000), recording), Clips())


@pytest.mark.parametrize("missing", ["soundfile", "soxr"])
def test_a_missing_library_is_a_hint(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.metadata.version

    def version(name: str) -> str:
        if name == missing:
            raise importlib.metadata.PackageNotFoundError(name)
        return real(name)

    monkeypatch.setattr(importlib.metadata, "version", version)
    with pytest.raises(InputError, match=rf"package '{missing}', which is not installed; pip install limbeck\[audio\]"):
        decode_clips(encoded(b""), Clips())


def test_versions_are_those_of_the_decoders() -> None:
    assert list(decoder_versions()) == ["soundfile", "soxr"]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"sample_rate": 0}, "must be above 0"),
        ({"seconds": 0.0}, "must be above 0"),
        ({"seconds": 0.01}, "shorter than one window"),
        ({"image_size": 0}, "image_size must be at least 1"),
    ],
)
def test_what_cannot_be_is_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Clips(**wrong)


def test_no_warning_and_no_file_is_left(tmp_path: Path) -> None:
    shown(written(tone(440, rate=11_025), 11_025, "OGG"))
    assert not list(tmp_path.iterdir()) and np.isfinite(shown(wav_bytes(tone(440), 16_000)).numpy()).all()
