from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from limbeck import networks
from limbeck.augmentations.crop_flip import CropFlip
from limbeck.augmentations.dsa_augment import DSAAugment
from limbeck.augmentations.resized_crop_flip import ResizedCropFlip
from limbeck.core.distilled import Distilled
from limbeck.core.errors import InputError
from limbeck.core.real import DataSpec, Normalization
from limbeck.evaluation.ranking import RankingProtocol
from limbeck.formats.ranking_config import read_ranking_config
from limbeck.methods.random import random

SPEC = DataSpec("cifar10", 3, 32, 32, tuple("0123456789"), Normalization((0.5,) * 3, (0.25,) * 3), "digest")
SET = Distilled(torch.zeros(10, 10, 3, 32, 32), SPEC, random(), seed=0)

DEMO = {
    **{"dataset": "CIFAR10", "real_data_path": "./dataset/", "custom_val_trans": None, "ipc": 10, "im_size": [32, 32]},
    **{"model_name": "ConvNet-3", "use_torchvision": False, "data_aug_func": "dsa", "use_zca": False},
    "aug_params": {
        **{"flip": 0.5, "rotate": 15.0, "saturation": 2.0, "brightness": 1.0, "contrast": 0.5},
        **{"scale": 1.2, "crop": 0.125, "cutout": 0.5},
    },
    **{"custom_train_trans": None, "optimizer": "sgd", "lr_scheduler": "step", "step_size": 500},
    **{"weight_decay": 0.0005, "momentum": 0.9, "num_eval": 5, "num_epochs": 1000, "syn_batch_size": 128},
    **{"real_batch_size": 256, "default_lr": 0.01, "num_workers": 4, "device": "cuda", "dist": True},
    **{"eval_full_data": False, "random_data_path": "./random.pt", "random_data_format": "tensor"},
    "save_path": "./results/scores.csv",
}
"""The keys and values of DD-Ranking's own demonstration with hard labels."""

Read = Callable[..., tuple[RankingProtocol, tuple[str, ...]]]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    def make(asked: Any, distilled: Distilled = SET) -> tuple[RankingProtocol, tuple[str, ...]]:
        path = tmp_path / "config.yaml"
        path.write_text(asked if isinstance(asked, str) else yaml.safe_dump(asked), encoding="utf-8")
        return read_ranking_config(path, distilled)

    return make


def test_the_demonstration_of_hard_labels(read: Read) -> None:
    protocol, notes = read(DEMO)
    base = protocol.base
    assert (base.networks, base.length, base.budget, base.soft) == (("convnet3",), 1000, "epochs", None)
    training = base.training
    assert (training.optimizer, training.momentum, training.weight_decay) == ("sgd", 0.9, 5e-4)
    assert (training.batch_size, protocol.full().training.batch_size) == (128, 256)
    assert isinstance(training.augmentation, DSAAugment)
    assert set(training.augmentation.tokens) == {"color", "crop", "cutout", "flip", "scale", "rotate"}
    assert [base.lr(epoch, 100, 1.0) for epoch in (0, 499, 500, 999)] == [1.0, 1.0, 0.1, 0.1]
    assert (protocol.runs, protocol.augment_hard, protocol.label_weight) == (5, False, 0.5)
    assert protocol.learning_rates == (0.001, 0.005, 0.01, 0.05, 0.1)
    noted = {note.split("'")[1] for note in notes}
    ignored = {"real_data_path", "default_lr", "num_workers", "device", "dist", "eval_full_data", "save_path"}
    assert noted == ignored | {"random_data_path", "random_data_format"}
    assert all("\n" not in note for note in notes)


SOFT = {
    **{"dataset": "CIFAR10", "ipc": 10, "im_size": [32, 32], "model_name": "ResNet-18-BN", "stu_use_torchvision": True},
    **{"data_aug_func": "mixup", "aug_params": {"lambda": 0.8}, "soft_label_mode": "M", "soft_label_criterion": "kl"},
    "custom_train_trans": [
        {"name": "RandomCrop", "args": {"size": 32, "padding": 4}},
        {"name": "RandomHorizontalFlip", "args": {"p": 0.5}},
        {"name": "ToTensor"},
        {"name": "Normalize", "args": {"mean": [0.5] * 3, "std": [0.25] * 3}},
    ],
    **{"optimizer": "adamw", "lr_scheduler": "cosine", "weight_decay": 0.01, "temperature": 30.0, "num_epochs": 400},
    **{"use_aug_for_hard": False, "syn_batch_size": 256, "lrs_lambda": 0.25},
}


def test_soft_labels_by_a_teacher_with_mixup(read: Read) -> None:
    protocol, notes = read(SOFT)
    base = protocol.base
    assert base.networks == ("resnet18",)
    assert base.soft is not None and (base.soft.temperature, base.soft.square) == (30.0, False)
    assert (base.training.optimizer, base.training.weight_decay, base.training.mixup) == ("adamw", 0.01, 0.8)
    assert base.training.augmentation == CropFlip(padding=4)
    assert base.lr(200, 100, 1.0) == pytest.approx(0.5 * (1 + 0.5**0.5))
    assert protocol.label_weight == 0.25
    assert notes == ()
    other, notes = read(
        {**SOFT, "soft_label_criterion": "sce", "loss_fn_kwargs": {"temperature": 4, "scale_loss": True}}
    )
    assert other.base.soft is not None and (other.base.soft.temperature, other.base.soft.square) == (4.0, True)
    assert len(notes) == 1 and "'sce' is taught as 'kl'" in notes[0]


def test_cutmix_and_resized_crops(read: Read) -> None:
    steps = [
        {"name": "RandomResizedCrop", "args": {"size": 32, "scale": [0.2, 1.0]}},
        {"name": "RandomHorizontalFlip", "args": {"p": 0.5}},
    ]
    changes = {"data_aug_func": "cutmix", "aug_params": {"beta": 1.0}, "custom_train_trans": steps}
    training = read({**SOFT, **changes})[0].base.training
    assert (training.cutmix, training.mixup) == (1.0, 0.0)
    assert training.augmentation == ResizedCropFlip(scale=(0.2, 1.0))
    assert read({"data_aug_func": "dsa", "aug_params": {"flip": 0.5, "contrast": 0.5}})[0].base.training == (
        replace(
            training, optimizer="sgd", weight_decay=5e-4, cutmix=0.0, augmentation=DSAAugment(tokens=("color", "flip"))
        )
    )


@pytest.mark.parametrize(
    ("name", "here"),
    [
        ("ConvNet-3", "convnet3"),
        ("ConvNet-4-BN", "convnet4:norm=batch"),
        ("ConvNet-3-IN", "convnet3"),
        ("ResNet-18-BN", "resnet18"),
        ("ResNet-18", "resnet18"),
        ("VGG-11-BN", "vgg11:norm=batch"),
        ("AlexNet-BN", "alexnet:norm=batch"),
        ("LeNet", "lenet"),
        ("MLP", "mlp"),
    ],
)
def test_names_of_networks(name: str, here: str, read: Read) -> None:
    assert read({"model_name": name})[0].base.networks == (here,)
    assert networks.build(here, SPEC).name


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dataset": "CIFAR100"}, "made for another set: its 'dataset' is cifar100, and here it is cifar10"),
        ({"ipc": 50}, "its 'ipc' is 50"),
        ({"im_size": [64, 64]}, "its 'im_size' is"),
        ({"use_zca": True}, "its 'use_zca' is True, and here it is False"),
        ({"model_name": "Swin-T"}, "the network 'Swin-T'"),
        ({"magic": 1}, "unknown key 'magic'"),
        ({"optimizer": "lion"}, "the optimizer 'lion'"),
        ({"lr_scheduler": "plateau"}, "lr_scheduler 'plateau'"),
        ({"soft_label_mode": "S"}, "take soft_label_mode M"),
        ({"soft_label_criterion": "mse_gt"}, "there are kl and sce"),
        ({"data_aug_func": "autoaugment"}, "there are dsa, mixup and cutmix"),
        ({"data_aug_func": "cutmix", "aug_params": {"beta": 0.5}}, "there is beta 1.0"),
        ({"data_aug_func": "dsa", "aug_params": {"rotate": 45.0}}, "dsa with rotate 45.0"),
        ({"custom_train_trans": [{"name": "ColorJitter"}]}, "cannot be done as they stand"),
        ({"custom_train_trans": [{"name": "RandomCrop", "args": {"size": 28}}]}, "cannot be done as they stand"),
    ],
)
def test_what_cannot_be_done_is_refused_in_one_sentence(changes: dict[str, Any], message: str, read: Read) -> None:
    with pytest.raises(InputError) as caught:
        read(changes)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_is_no_configuration_is_refused(read: Read, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no file"):
        read_ranking_config(tmp_path / "none.yaml", SET)
    with pytest.raises(InputError, match="is no YAML file"):
        read("a: [")
    with pytest.raises(InputError, match="holds no keys"):
        read("- 1")
    with pytest.raises(InputError, match="is no YAML file"):
        read("!!python/object/apply:os.getcwd []")
