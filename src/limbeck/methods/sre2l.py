"""SRe2L: squeeze, recover and relabel (Yin, Xing and Shen, NeurIPS 2023).

The three phases, line by line:

| line | here |
| --- | --- |
| squeeze: train a network with batch norm on the real images | `FixedTeacher`, `limbeck.teachers` |
| recover: for i = 1 ... ipc, for 100 classes at a time | `OneByOne` |
| x ~ N(0, 1) | `Noise(space="normalized")` |
| repeat T times: one window, mirror and cyclic shift for the whole batch | `Jitter` |
| L = CE + alpha sum over layers of the distances of batch norm's means and variances | `BatchStatistics` |
| a step of Adam, its size half a cosine; clamp to what real images can be | `Adam` |
| relabel: the teacher's logits when a network is trained on the set | `Taught`, protocols ``sre2l_*`` |

The last images are the result, as in the authors' code, and nothing is rounded or compressed on the way: ``limbeck
export --to imagefolder --jpeg 75`` gives what they store. ``small`` and ``digits`` are ours, for a CPU.
"""

from __future__ import annotations

from dataclasses import replace

from limbeck.augmentations.crop_flip import CropFlip
from limbeck.augmentations.jitter import Jitter
from limbeck.core.errors import unknown
from limbeck.core.recipe import Recipe
from limbeck.curricula.one_by_one import OneByOne
from limbeck.initializers.noise import Noise
from limbeck.labelers.taught import Taught
from limbeck.objectives.batch_statistics import BatchStatistics
from limbeck.optimizers.adam import Adam
from limbeck.parametrizations.plain import Plain
from limbeck.pools.fixed_teacher import FixedTeacher
from limbeck.teachers import Teacher, published_teacher

__all__ = ["PRESETS", "sre2l", "teacher_of"]

_IMAGENET = ("imagenet", "imagenette", "imagewoof", "imagefruit", "imageyellow", "imagemeow", "imagesquawk")
_OURS = ("small", "digits")

PRESETS = ("cifar10", "cifar100", "tiny-imagenet", *_IMAGENET, *_OURS)


def teacher_of(preset: str) -> Teacher:
    """The published teacher of a preset; ours is a ConvNet with batch norm, trained for minutes."""
    if preset not in _OURS:
        return published_teacher(preset)
    published = published_teacher("cifar10")
    digits = preset == "digits"
    augmentation = CropFlip(padding=1, flip=False) if digits else CropFlip(padding=4)
    return replace(
        published,
        network="convnet3:width=32,norm=batch" if digits else "convnet3:width=64,norm=batch",
        training=replace(published.training, batch_size=32 if digits else 128, augmentation=augmentation),
        epochs=30 if digits else 12,
    )


def sre2l(preset: str = "cifar100") -> Recipe:
    """The recipe of SRe2L.

    Args:
        preset: whose settings to use: a data set, or ``small`` or ``digits`` (ours, minutes on a CPU).

    Raises:
        InputError: there is no such preset.
    """
    if preset not in PRESETS:
        raise unknown("preset of sre2l", preset, PRESETS)
    tiny, large = preset == "tiny-imagenet", preset in _IMAGENET
    weight = 1.0 if tiny else 0.01
    recipe = Recipe(
        name="sre2l",
        objective=BatchStatistics(mean=weight, variance=weight),
        initializer=Noise(space="normalized"),
        parametrization=Plain(space="normalized"),
        augmentation=Jitter(shift=32 if large else 4, both_ways=tiny, crop=large or tiny, flip=large or tiny),
        pool=FixedTeacher(teacher=teacher_of(preset)),
        curriculum=OneByOne(steps=4000 if large or tiny else 1000, classes=100),
        labeler=Taught(),
        optimizer=Adam(lr=0.1 if tiny else 0.25),
        references=("yin2023sre2l",),
    )
    if preset not in _OURS:
        return recipe
    return recipe.with_(augmentation__shift=1 if preset == "digits" else 4, curriculum__steps=200)
