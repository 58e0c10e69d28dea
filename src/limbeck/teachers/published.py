"""The published teachers ("squeeze") of SRe2L, which DWA and later methods took over.

CIFAR and ImageNet: Yin, Xing and Shen, NeurIPS 2023, and their code; Tiny-ImageNet: the companion repository of the
first author.
"""

from __future__ import annotations

from dataclasses import replace

from limbeck.augmentations.crop_flip import CropFlip
from limbeck.augmentations.resized_crop_flip import ResizedCropFlip
from limbeck.core.errors import unknown
from limbeck.core.real import DataSpec
from limbeck.data import canonical_name, changes_when_mirrored
from limbeck.training.schedules import Schedule
from limbeck.training.settings import Training
from limbeck.training.teacher import Teacher

__all__ = ["published_teacher", "teacher_for"]

_CIFAR = Teacher(
    training=Training(lr=0.1, momentum=0.9, weight_decay=5e-4, batch_size=128, augmentation=CropFlip()),
    schedule=Schedule(kind="cosine"),
    epochs=200,
)
"""ResNet-18 with a 3x3 first convolution; 78.72 % on CIFAR-100 are reported."""
_TINY = Teacher(
    training=Training(lr=0.2, momentum=0.9, weight_decay=1e-4, batch_size=256, augmentation=ResizedCropFlip()),
    schedule=Schedule(kind="cosine", warmup=5, warmup_factor=0.01),
    epochs=50,
)
"""The same network; 59.57, 60.23 and 60.50 % are reported for 50, 100 and 200 epochs. SRe2L takes 50, DWA 100."""
_IMAGENET = Teacher(weights="torchvision:IMAGENET1K_V1")
"""torchvision's ResNet-18."""

_PUBLISHED = {
    "cifar10": _CIFAR,
    "cifar100": _CIFAR,
    "tiny-imagenet": _TINY,
    **dict.fromkeys(
        (
            "imagenet",
            "imagenet10",
            "imagenet100",
            "imagenette",
            "imagewoof",
            "imagefruit",
            "imageyellow",
            "imagemeow",
            "imagesquawk",
        ),
        _IMAGENET,
    ),
}


def published_teacher(data: str) -> Teacher:
    """The teacher that SRe2L and DWA have for a data set.

    Args:
        data: its name, in any spelling; subsets of ImageNet have that of ImageNet.

    Raises:
        InputError: none is published for it.
    """
    name = canonical_name(data)
    if name not in _PUBLISHED:
        raise unknown("data set of published teachers", data, _PUBLISHED)
    return _PUBLISHED[name]


def teacher_for(spec: DataSpec) -> Teacher:
    """A teacher for any data: the published one, or a network trained as on CIFAR for 30 epochs.

    Images are shifted by up to an eighth of their side, as they are on CIFAR. Digits are not mirrored; spectrograms are
    not augmented at all.

    Args:
        spec: the data.
    """
    name = canonical_name(spec.name)
    if name in _PUBLISHED:
        return _PUBLISHED[name]
    shift = max(1, round(min(spec.height, spec.width) / 8))
    augmentation = None if spec.sound is not None else CropFlip(padding=shift, flip=not changes_when_mirrored(name))
    return replace(_CIFAR, training=replace(_CIFAR.training, augmentation=augmentation), epochs=30)
