"""What can be chosen when a data set is loaded; the command line derives its flags from these fields."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

from limbeck.core.errors import InputError, unknown
from limbeck.data.clips import Clips
from limbeck.data.framing import Channels, Fit, Framing
from limbeck.data.normalizations import NormalizationKind

__all__ = ["LoadOptions", "Stream"]

Stream = Literal["auto", "on", "off"]


@dataclass(frozen=True, kw_only=True)
class LoadOptions:
    """How to load a data set.

    Raises:
        InputError: a size, fit, channels, sample rate or length that cannot be.
    """

    added: ClassVar[Mapping[str, Any]] = {
        "audio_column": None,
        "sample_rate": 16_000,
        "seconds": 1.0,
        "stream": "auto",
        "workers": None,
        "classes": None,
    }

    validation: float = 0.1
    """Share of each class's training images kept apart for validation, in [0, 1); 0 keeps none. Not used
    where the source has validation images of its own besides test images."""

    split_seed: int = 0
    """Which images are kept apart for validation, and for testing where the source has no test images."""

    normalization: NormalizationKind = "measured"
    """How networks see images: by statistics of each channel, measured on the training images, the published constants
    of the data set, or the constants that IDC uses (CIFAR-100 gets those of CIFAR-10); or zca: whitened as whole
    images, which trajectory matching is published with on small ones."""

    image_size: int | tuple[int, int] | None = None
    """Side of a square, or height and width, that images are brought to; None keeps the size of pictures
    and makes spectrograms of 64."""

    fit: Fit = "crop"
    """How images are brought to that size: crop scales the shorter side and cuts the middle out, resize
    stretches."""

    channels: Channels = "as-is"
    """Keep the channels of the images, or make them gray (1 channel) or rgb (3 channels)."""

    root: Path | None = None
    """Folder of torchvision's files, for data sets known by name."""

    download: bool = False
    """Fetch a data set known by name into the root where it is missing."""

    cache: bool | Path = True
    """Keep decoded pictures in $LIMBECK_CACHE or ~/.cache/limbeck (True), in this folder, or nowhere
    (False)."""

    image_column: str | None = None
    """Parquet column of pictures; None finds it."""

    audio_column: str | None = None
    """Parquet column of recordings; None finds it."""

    label_column: str | None = None
    """Parquet column of labels; None finds it."""

    test_fraction: float = 0.2
    """Share of each class split off for testing where a folder or parquet file names no parts, in [0, 1)."""

    sample_rate: int = 16_000
    """Samples per second that recordings are brought to."""

    seconds: float = 1.0
    """Length that recordings are brought to: shorter ones are followed by silence, longer ones are cut."""

    stream: Stream = "auto"
    """Whether pictures of a folder or of parquet files are decoded each time they are asked for (on) or once, into
    memory (off); auto: on where they would take more than 4 GB, decoded."""

    workers: int | None = None
    """Threads that decode pictures; None for as many as pay. They change nothing of the result."""

    classes: str | tuple[str, ...] | None = None
    """Which classes to take: a published subset of ImageNet by name (imagenette, imagewoof, imagefruit, imageyellow,
    imagemeow, imagesquawk, imagenet10, imagenet100), or names of classes. They are numbered anew, in the order of the
    data, which is the sorted one of class folders; None for all."""

    def __post_init__(self) -> None:
        self.framing, self.clips  # noqa: B018 - refuse what cannot be, before any work
        if self.stream not in ("auto", "on", "off"):
            raise InputError(f"unknown stream '{self.stream}'; known: auto, on, off")
        if self.workers is not None and self.workers < 1:
            raise InputError(f"workers must be at least 1, not {self.workers}; set workers (--workers)")

    @property
    def framing(self) -> Framing:
        """Size and channels of images."""
        return Framing(image_size=self.image_size, fit=self.fit, channels=self.channels)

    @property
    def clips(self) -> Clips:
        """Rate and length of recordings, and the size of their spectrograms."""
        return Clips(sample_rate=self.sample_rate, seconds=self.seconds, image_size=self.image_size)

    @classmethod
    def of(cls, options: LoadOptions | None, changes: Mapping[str, Any]) -> LoadOptions:
        """Options with some fields changed.

        Args:
            options: what to start from; None for the defaults.
            changes: values by field name.

        Raises:
            InputError: a name is no field, or a value cannot be.
        """
        names = [field.name for field in fields(cls)]
        for name in changes:
            if name not in names:
                raise unknown("loading option", name, names)
        return replace(options or cls(), **changes)
