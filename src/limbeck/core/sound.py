"""What the numbers of a spectrogram mean: enough to make one from a recording, and to make it heard again."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from limbeck.core.errors import InputError

__all__ = ["PADDING", "Sound"]

PADDING = (1, 2)
"""Columns of silence before and after the frames of a recording, as in IDC's code: 125 frames become 128."""


@dataclass(frozen=True, kw_only=True)
class Sound:
    """How one-channel images in [0, 1] stand for sound.

    An image ``[1, H, W]`` is a magnitude spectrogram with a logarithmic scale, resized to ``H x W``. Row 0 is the
    lowest frequency, column 0 the first moment. The values are ``(log(magnitude + floor) - low) / (high - low)``, so
    that 0 and 1 are the smallest and the largest of the training recordings; other sound may lie outside.

    Args:
        sample_rate: samples per second.
        samples: length of every recording, in samples.
        n_fft: samples of a window.
        hop: samples from one window to the next.
        floor: what is added to a magnitude before the logarithm is taken.
        low: smallest logarithm of the training recordings; 0 while they are not measured.
        high: largest; 1 likewise.

    Raises:
        InputError: a rate or a length that cannot be.
    """

    sample_rate: int = 16_000
    samples: int = 16_000
    n_fft: int = 255
    hop: int = 128
    floor: float = 1e-3
    low: float = 0.0
    high: float = 1.0

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        if min(self.sample_rate, self.hop) < 1 or self.n_fft < 2 or not (self.floor > 0 and self.high > self.low):
            raise InputError(
                f"spectrograms need a sample rate and a hop of at least 1, windows of at least 2 samples, a floor "
                f"above 0 and low below high, not {self.sample_rate}, {self.hop}, {self.n_fft}, {self.floor}, "
                f"{self.low} and {self.high}."
            )
        if self.samples < self.n_fft:
            raise InputError(
                f"recordings of {self.samples} samples are shorter than one window of {self.n_fft}; set seconds "
                "(--seconds) or sample_rate (--sample-rate) higher"
            )

    @property
    def seconds(self) -> float:
        """Length of a recording."""
        return self.samples / self.sample_rate

    @property
    def bins(self) -> int:
        """Frequencies of a spectrogram before it is resized."""
        return self.n_fft // 2 + 1

    @property
    def frames(self) -> int:
        """Windows of a recording, each centred on a multiple of the hop; the last may reach over the end."""
        return 1 + (self.samples + 2 * (self.n_fft // 2) - self.n_fft) // self.hop

    def to_unit(self, logarithms: Tensor) -> Tensor:
        """Logarithms of any shape on the scale from ``low`` to ``high``."""
        return (logarithms - self.low) / (self.high - self.low)

    def from_unit(self, images: Tensor) -> Tensor:
        """The logarithms again."""
        return images * (self.high - self.low) + self.low
