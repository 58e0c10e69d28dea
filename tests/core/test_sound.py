from __future__ import annotations

import pytest
import torch

from limbeck.core.errors import InputError
from limbeck.core.plain import decode_dataclass, encode
from limbeck.core.sound import PADDING, Sound


def test_a_second_of_speech_has_the_size_that_idc_resizes() -> None:
    sound = Sound()
    assert (sound.bins, sound.frames, sound.seconds) == (128, 125, 1.0)
    assert sound.frames + sum(PADDING) == 128


@pytest.mark.parametrize(("samples", "n_fft", "hop"), [(16_000, 256, 128), (8_000, 255, 128), (300, 255, 100)])
def test_frames_are_those_of_the_transform(samples: int, n_fft: int, hop: int) -> None:
    sound = Sound(samples=samples, n_fft=n_fft, hop=hop)
    spectrum = torch.stft(torch.zeros(samples), n_fft, hop, window=torch.ones(n_fft), return_complex=True)
    assert spectrum.shape == (sound.bins, sound.frames)


def test_the_scale_goes_from_the_quietest_to_the_loudest_and_back() -> None:
    sound = Sound(low=-6.0, high=2.0)
    logarithms = torch.tensor([-6.0, -2.0, 2.0, 6.0], dtype=torch.float64)
    assert sound.to_unit(logarithms).tolist() == [0.0, 0.5, 1.0, 1.5]
    assert torch.equal(sound.from_unit(sound.to_unit(logarithms)), logarithms)


def test_it_is_plain_data() -> None:
    sound = Sound(sample_rate=8_000, low=-6.9)
    assert decode_dataclass(Sound, encode(sound), "sound") == sound


@pytest.mark.parametrize("wrong", [{"sample_rate": 0}, {"hop": 0}, {"floor": 0.0}, {"low": 1.0}, {"n_fft": 1}])
def test_what_cannot_be_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(InputError, match="spectrograms need"):
        Sound(**wrong)  # type: ignore[arg-type]


def test_recordings_shorter_than_a_window_are_refused() -> None:
    with pytest.raises(InputError, match=r"shorter than one window of 255; set seconds \(--seconds\)"):
        Sound(samples=254)
