"""The table of protocols, value by value."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from limbeck.augmentations.crop_flip import CropFlip
from limbeck.augmentations.resized_crop_flip import ResizedCropFlip
from limbeck.core.errors import InputError
from limbeck.data import Data
from limbeck.evaluation.decoupled import dwa_cifar, dwa_imagenet, dwa_tiny, limbeck_soft, sre2l_cifar
from limbeck.evaluation.protocols import for_data
from limbeck.training.lessons import SoftLoss
from limbeck.training.schedules import Schedule

ADAMW = {"optimizer": "adamw", "lr": 1e-3, "weight_decay": 0.01, "betas": (0.9, 0.999)}
SGD = {"optimizer": "sgd", "lr": 0.2, "momentum": 0.9, "nesterov": False, "weight_decay": 1e-4, "decay": "all"}
CIFAR = {**ADAMW, "decay": "all", "batch_size": 128, "mixup": 0.8, "cutmix": 0.0, "augmentation": CropFlip()}
WINDOW = {"augmentation": ResizedCropFlip(scale=(0.08, 1.0)), "mixup": 0.0}
IMAGENET = {**ADAMW, **WINDOW, "decay": "matrices", "cutmix": 1.0}
COSINE, WARM = Schedule(kind="cosine"), Schedule(kind="cosine", warmup=5, warmup_factor=0.01)
T30, T20, T20_SQUARE = SoftLoss(temperature=30.0), SoftLoss(temperature=20.0), SoftLoss(temperature=20.0, square=True)


@pytest.mark.parametrize(
    ("name", "length", "training", "schedule", "soft", "network"),
    [
        ("sre2l_cifar", 400, CIFAR, COSINE, T30, "resnet18"),
        ("dwa_cifar", 400, CIFAR, COSINE, T30, "resnet18"),
        ("sre2l_tiny", 100, {**SGD, **WINDOW, "batch_size": 256, "cutmix": 0.0}, WARM, T20_SQUARE, "resnet18"),
        ("dwa_tiny", 200, {**SGD, **WINDOW, "batch_size": 64, "cutmix": 1.0}, WARM, T20_SQUARE, "resnet18"),
        ("sre2l_imagenet", 300, {**IMAGENET, "batch_size": 1024}, COSINE, T20, "torchvision:resnet18"),
        ("dwa_imagenet", 300, {**IMAGENET, "batch_size": 128}, COSINE, T20, "torchvision:resnet18"),
    ],
)
def test_published_protocols(
    name: str, length: int, training: dict[str, Any], schedule: Schedule, soft: SoftLoss, network: str, digits: Data
) -> None:
    protocol = for_data(name, replace(digits.spec, name="cifar10"))
    assert (protocol.name, protocol.budget, protocol.length, protocol.networks) == (name, "epochs", length, (network,))
    assert {field: getattr(protocol.training, field) for field in training} == training
    assert (protocol.schedule, protocol.soft, protocol.teacher_mode) == (schedule, soft, "eval")
    assert protocol.drops == () and not protocol.learning_rates and protocol.repeats == 1
    protocol.training.check(name)
    assert protocol.lr(length - 1, 100) < 0.01 * protocol.training.lr


def test_options_of_the_papers() -> None:
    assert dwa_cifar(paper=True).training == replace(dwa_cifar().training, mixup=0.0)
    assert dwa_tiny(paper=True).training == replace(dwa_tiny().training, batch_size=128, cutmix=0.0)
    assert dwa_imagenet(paper=True).training == replace(dwa_imagenet().training, cutmix=0.0)
    assert sre2l_cifar(teacher_mode="train") == replace(sre2l_cifar(), teacher_mode="train")
    assert replace(dwa_cifar(), name="sre2l_cifar") == sre2l_cifar()


@pytest.mark.parametrize("name", ["limbeck_soft", "sre2l_cifar", "sre2l_tiny", "sre2l_imagenet", "dwa_tiny"])
def test_digits_are_not_mirrored(name: str, digits: Data) -> None:
    for data, flip in (("digits", False), ("SVHN", False), ("cifar10", True)):
        augmentation = for_data(name, replace(digits.spec, name=data)).training.augmentation
        assert isinstance(augmentation, CropFlip | ResizedCropFlip) and augmentation.flip is flip


def test_ours_gives_every_set_the_same_number_of_steps(digits: Data) -> None:
    protocol = limbeck_soft()
    assert {protocol.steps(images) for images in (10, 400, 50_000)} == {2000}
    assert protocol.soft is not None and protocol.repeats == 3
    assert limbeck_soft(side=8).training.augmentation == CropFlip(padding=1)
    assert for_data("limbeck_soft", digits.spec) == limbeck_soft(side=8, flip=False)
    with pytest.raises(InputError, match="at least 3 networks"):
        limbeck_soft(repeats=2)
