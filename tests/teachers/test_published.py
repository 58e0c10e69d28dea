from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from limbeck.augmentations.crop_flip import CropFlip
from limbeck.augmentations.resized_crop_flip import ResizedCropFlip
from limbeck.core.context import Context
from limbeck.core.errors import InputError
from limbeck.core.sound import Sound
from limbeck.data.images import ImageSet
from limbeck.teachers import Teacher, published_teacher, teacher_for


@pytest.mark.parametrize("name", ["cifar10", "CIFAR-10", "cifar10-jpeg", "cifar100"])
def test_cifar(name: str) -> None:
    teacher = published_teacher(name)
    training, schedule = teacher.training, teacher.schedule
    assert (teacher.network, teacher.weights, teacher.epochs, teacher.seed) == (
        *("torchvision:resnet18", "trained", 200, 0),
    )
    assert (training.optimizer, training.lr, training.momentum, training.weight_decay) == ("sgd", 0.1, 0.9, 5e-4)
    assert (training.batch_size, training.nesterov, training.mixes, training.decay) == (128, False, False, "all")
    assert training.augmentation == CropFlip(padding=4, flip=True)
    assert (schedule.kind, schedule.warmup) == ("cosine", 0)


def test_tiny_imagenet() -> None:
    teacher = published_teacher("tiny-imagenet")
    training = teacher.training
    assert (teacher.network, teacher.epochs) == ("torchvision:resnet18", 50)
    assert (training.lr, training.momentum, training.weight_decay, training.batch_size) == (0.2, 0.9, 1e-4, 256)
    assert training.augmentation == ResizedCropFlip(scale=(0.08, 1.0), ratio=(3 / 4, 4 / 3), flip=True)
    factors = [0.2 * teacher.schedule.factor(epoch, 50) for epoch in (0, 1, 5, 27, 49)]
    assert factors[:3] == pytest.approx([0.002, 0.0416, 0.2]) and factors[3] > 0.1 > factors[4]


@pytest.mark.parametrize("name", ["imagenet", "imagenet1k", "imagenet100", "imagenette", "imagewoof"])
def test_imagenet_and_its_subsets(name: str) -> None:
    assert published_teacher(name) == Teacher(network="torchvision:resnet18", weights="torchvision:IMAGENET1K_V1")


def test_none_is_published_for_others() -> None:
    with pytest.raises(InputError, match="unknown data set of published teachers 'fashion-mnist'"):
        published_teacher("fashion-mnist")


def test_others_are_trained_as_on_cifar_for_a_shorter_time(
    context_of: Callable[..., Context], portion: Callable[..., ImageSet]
) -> None:
    spec = portion().spec
    digits = teacher_for(spec)
    assert digits.training.augmentation == CropFlip(padding=1, flip=False)  # an eighth of 8 pixels, no mirror
    assert digits.epochs == 30 and digits.training.lr == published_teacher("cifar10").training.lr
    assert teacher_for(replace(spec, name="fmnist", height=28, width=28)).training.augmentation == CropFlip(padding=4)
    assert teacher_for(replace(spec, name="CIFAR-10")) == published_teacher("cifar10")
    spoken = replace(spec, sound=Sound(sample_rate=8000))
    assert teacher_for(spoken).training.augmentation is None
    digits.check(context_of(), "a test")
