"""From recordings to spectrograms and back.

Letters in shapes: N recordings, S samples, F frequencies, T frames, H rows, W columns.
"""

from __future__ import annotations

import torch
import torch.nn.functional as functional
from torch import Tensor

from limbeck.core.sound import PADDING, Sound
from limbeck.core.streams import Stream

__all__ = ["heard", "log_spectrograms", "magnitudes", "waveforms"]

_THIN = 1e-3
"""Where windows add up to less than this, in the last millisecond, a division by the sum only makes noise."""


def magnitudes(clips: Tensor, sound: Sound) -> Tensor:
    """``|STFT|`` with a periodic Hann window, windows centred, recordings mirrored at both ends.

    These are the choices of librosa 0.9, with which IDC's code was run. A window of 255 samples has 128 frequencies,
    and 16,000 samples have 125 frames at a hop of 128.

    Args:
        clips: ``[N, S]``, in [-1, 1].
        sound: window and hop.

    Returns:
        ``[N, F, T]``, not scaled: a sine of amplitude a comes to ``a * n_fft / 4``.
    """
    return _stft(clips, sound).abs()


def log_spectrograms(clips: Tensor, sound: Sound, size: tuple[int, int]) -> Tensor:
    """Logarithms of resized magnitudes, not yet on the scale of [0, 1].

    As in IDC's code: `magnitudes`, one column of zeros before and two after, bilinear resizing (corners not aligned,
    no antialiasing), logarithm.

    Args:
        clips: ``[N, S]``.
        sound: window, hop and floor.
        size: ``(H, W)``.

    Returns:
        ``[N, 1, H, W]``, row 0 the lowest frequency.
    """
    padded = functional.pad(magnitudes(clips, sound)[:, None], PADDING)
    resized = functional.interpolate(padded, size=size, mode="bilinear", align_corners=False)
    return (resized + sound.floor).log()


def heard(images: Tensor, sound: Sound) -> Tensor:
    """The magnitudes that spectrograms in [0, 1] stand for.

    Scale and logarithm are undone exactly; what the resizing lost is interpolated. Values above 1 are louder than the
    loudest recording and stay so; below the floor there is silence.

    Args:
        images: ``[N, 1, H, W]``.
        sound: what the values mean.

    Returns:
        ``[N, F, T]``, at least 0.
    """
    # Pixels are learnt: a stray one must not come to an infinite magnitude.
    resized = (sound.from_unit(images.clamp(-1, 2)).exp() - sound.floor).clamp_min(0)
    size = (sound.bins, sound.frames + sum(PADDING))
    padded = functional.interpolate(resized, size=size, mode="bilinear", align_corners=False)
    return padded[:, 0, :, PADDING[0] : PADDING[0] + sound.frames]


def waveforms(images: Tensor, sound: Sound, rounds: int = 60, momentum: float = 0.99) -> Tensor:
    """A recording with about this spectrogram for each image, by the fast Griffin-Lim algorithm.

    A spectrogram says how loud each frequency is and not where in its swing it is. The phases are found by going back
    and forth between the wanted magnitudes and what a recording can have, with a step beyond (Perraudin, Balazs and
    Søndergaard, "A fast Griffin-Lim algorithm", WASPAA 2013). They start from numbers of a stream of their own, so
    equal images give equal recordings.

    Args:
        images: ``[N, 1, H, W]`` in [0, 1].
        sound: what the values mean.
        rounds: how often to go back and forth.
        momentum: how far to step beyond; 0 is the algorithm of Griffin and Lim.

    Returns:
        ``[N, S]``, as loud as the magnitudes say; may leave [-1, 1].
    """
    wanted = heard(images.detach().float().cpu(), sound)
    angle = 2 * torch.pi * Stream(0).uniform(1, *wanted.shape[1:]).to(wanted.dtype)
    # One beginning for all: a recording does not depend on what stands beside it.
    phases = torch.polar(torch.ones_like(angle), angle).expand(wanted.shape)
    before = torch.zeros_like(phases)
    for _ in range(rounds):
        possible = _stft(_istft(wanted * phases, sound), sound)
        beyond = possible - momentum / (1 + momentum) * before
        phases = beyond / beyond.abs().clamp_min(1e-12)
        before = possible
    return _istft(wanted * phases, sound)


def _window(sound: Sound, like: Tensor) -> Tensor:
    return torch.hann_window(sound.n_fft, periodic=True, dtype=like.dtype, device=like.device)


def _stft(clips: Tensor, sound: Sound) -> Tensor:
    window = _window(sound, clips)
    return torch.stft(
        clips, sound.n_fft, sound.hop, window=window, center=True, pad_mode="reflect", return_complex=True
    )


def _istft(spectra: Tensor, sound: Sound) -> Tensor:
    """The recordings ``[N, S]`` whose spectra are nearest in the least squares sense; silent where none is known."""
    window = _window(sound, spectra.real)
    clips = torch.istft(spectra, sound.n_fft, sound.hop, window=window, center=True, length=sound.samples)
    overlap = torch.zeros(sound.n_fft + sound.hop * (sound.frames - 1), dtype=window.dtype)
    for frame in range(sound.frames):
        overlap[frame * sound.hop :][: sound.n_fft] += window.square().cpu()
    start = sound.n_fft // 2
    known = overlap[start : start + sound.samples] >= _THIN
    return torch.where(known.to(clips.device), clips, torch.zeros_like(clips))
