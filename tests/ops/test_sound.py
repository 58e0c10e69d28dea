from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from limbeck.core.sound import Sound
from limbeck.core.streams import Stream
from limbeck.ops.sound import heard, log_spectrograms, magnitudes, waveforms
from tests.data.makers import tone

SOUND = Sound()


def by_hand(clip: np.ndarray, n_fft: int, hop: int) -> np.ndarray:
    """Magnitudes of windows cut one by one and transformed by the definition."""
    half = n_fft // 2
    mirrored = np.concatenate([clip[half:0:-1], clip, clip[-2 : -half - 2 : -1]])
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n_fft) / n_fft)
    waves = np.exp(-2j * np.pi * np.outer(np.arange(half + 1), np.arange(n_fft)) / n_fft)
    frames = [mirrored[start : start + n_fft] * window for start in range(0, len(mirrored) - n_fft + 1, hop)]
    return np.abs(waves @ np.stack(frames, axis=1))


def test_magnitudes_follow_the_definition() -> None:
    clips = Stream(0).normal(2, 1000)
    sound = Sound(samples=1000)
    found = magnitudes(clips, sound)
    assert found.shape == (2, 128, sound.frames)
    for clip, ours in zip(clips, found, strict=True):
        np.testing.assert_allclose(ours.numpy(), by_hand(clip.numpy(), 255, 128), atol=1e-11)


@pytest.mark.parametrize("bin_", [5, 16, 100])
def test_a_pure_tone_peaks_in_its_bin_with_a_quarter_of_the_window(bin_: int) -> None:
    spectrogram = magnitudes(tone(bin_ * 16_000 / 255, loudness=0.5)[None], SOUND)[0]
    assert spectrogram.shape == (128, 125)
    inside = spectrogram[:, 2:-2]
    assert (inside.argmax(dim=0) == bin_).all()
    # A Hann window adds up to n / 2, and half of a sine is at its negative frequency.
    torch.testing.assert_close(inside[bin_], torch.full_like(inside[bin_], 0.5 * 255 / 4), rtol=1e-6, atol=0)


def test_logarithms_are_taken_of_padded_and_halved_magnitudes() -> None:
    clips = 0.1 * Stream(1).normal(1, 16_000)
    padded = torch.zeros(128, 128, dtype=torch.float64)
    padded[:, 1:126] = magnitudes(clips, SOUND)[0]
    # Halving bilinearly is averaging squares of four.
    halved = padded.view(64, 2, 64, 2).mean(dim=(1, 3))
    found = log_spectrograms(clips, SOUND, (64, 64))
    assert found.shape == (1, 1, 64, 64)
    torch.testing.assert_close(found[0, 0], (halved + 1e-3).log())
    torch.testing.assert_close(log_spectrograms(clips, SOUND, (128, 128))[0, 0], (padded + 1e-3).log())


def test_silence_is_the_floor() -> None:
    assert (log_spectrograms(torch.zeros(1, 16_000), SOUND, (64, 64)) == math.log(1e-3)).all()


def spectrograms(clips: torch.Tensor, size: int) -> tuple[torch.Tensor, Sound]:
    """Images in [0, 1], and what they mean."""
    logarithms = log_spectrograms(clips.float(), SOUND, (size, size))
    sound = replace(SOUND, low=float(logarithms.min()), high=float(logarithms.max()))
    return sound.to_unit(logarithms), sound


def test_what_is_heard_undoes_scale_logarithm_and_padding() -> None:
    clips = 0.1 * Stream(2).normal(1, 16_000).float()
    images, sound = spectrograms(clips, 128)
    torch.testing.assert_close(heard(images, sound), magnitudes(clips, sound), rtol=1e-4, atol=1e-4)


def test_pixels_far_outside_stay_finite() -> None:
    images = torch.tensor([-1e9, 1e9]).view(2, 1, 1, 1).expand(2, 1, 64, 64)
    found = heard(images, replace(SOUND, low=-6.9, high=3.4))
    assert (found[0] == 0).all() and found[1].isfinite().all() and found[1].min() > 0


@pytest.mark.parametrize("size", [64, 128])
def test_a_melody_is_heard_again(size: int) -> None:
    halves = [torch.cat([tone(low, 0.5), tone(high, 0.5)]) for low, high in ((600, 1800), (2400, 900))]
    images, sound = spectrograms(torch.stack(halves), size)
    found = waveforms(images, sound)
    assert found.shape == (2, 16_000)
    again = magnitudes(found, sound)
    wanted = heard(images, sound)
    assert float((again - wanted).norm() / wanted.norm()) < 0.15
    for row, (low, high) in enumerate(((600, 1800), (2400, 900))):
        for frame, frequency in ((30, low), (95, high)):
            assert abs(int(again[row, :, frame].argmax()) - frequency * 255 / 16_000) <= 1


def test_more_rounds_come_nearer() -> None:
    images, sound = spectrograms(0.3 * Stream(3).normal(1, 16_000), 128)
    wanted = heard(images, sound)
    distances = [float((magnitudes(waveforms(images, sound, rounds), sound) - wanted).norm()) for rounds in (1, 10, 60)]
    assert distances[0] > 1.3 * distances[1] > 1.3 * distances[2]


def test_a_recording_depends_on_its_image_alone() -> None:
    images, sound = spectrograms(torch.stack([tone(600), tone(1500)]), 64)
    before = torch.get_rng_state()
    together = waveforms(images, sound, rounds=5)
    torch.testing.assert_close(waveforms(images[1:], sound, rounds=5)[0], together[1], rtol=0, atol=1e-5)
    assert torch.equal(waveforms(images, sound, rounds=5), together)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_end_does_not_crack() -> None:
    images, sound = spectrograms(0.1 * Stream(4).normal(1, 16_000), 64)
    found = waveforms(images, sound)[0]
    assert found[-200:].abs().max() < 3 * found.abs().max()
    assert found[-5:].abs().max() == 0
