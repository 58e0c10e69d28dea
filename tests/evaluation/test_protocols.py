from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from limbeck.augmentations.idc_augment import IDCAugment
from limbeck.augmentations.imagenet_augment import ImagenetAugment
from limbeck.core.distilled import Distilled
from limbeck.core.errors import InputError
from limbeck.core.real import DataSpec, Normalization
from limbeck.core.sound import Sound
from limbeck.data import Data
from limbeck.evaluation.protocols import (
    PROTOCOLS,
    SOURCES,
    Protocol,
    dc,
    dm,
    dsa,
    for_data,
    for_set,
    idc,
    idc_imagenet,
    idm,
    limbeck,
)
from limbeck.methods.idc import idc as idc_recipe
from limbeck.reports import citations


def operations(protocol: Protocol) -> set[str]:
    assert isinstance(protocol.training.augmentation, IDCAugment)
    return set(protocol.training.augmentation.operations)


def test_idc_is_as_published() -> None:
    protocol = idc()
    assert (protocol.name, protocol.budget, protocol.length, protocol.repeats) == ("idc", "epochs", 1000, 5)
    training = protocol.training
    assert (training.lr, training.momentum, training.weight_decay, training.batch_size) == (0.01, 0.9, 5e-4, 64)
    assert training.cutmix == 0.5
    assert operations(protocol) == {"color", "crop", "flip", "scale", "rotate"}
    assert protocol.networks == ("convnet3",)
    assert protocol.learning_rates == ()


@pytest.mark.parametrize(
    ("epoch", "lr"), [(0, 0.01), (665, 0.01), (666, 0.002), (832, 0.002), (833, 0.0004), (999, 0.0004)]
)
def test_the_step_size_drops_after_two_thirds_and_five_sixths(epoch: int, lr: float) -> None:
    assert idc().lr(epoch, 100) == pytest.approx(lr, rel=1e-12)


def test_drops_are_rounded_down_and_exact_thirds_are_not_missed() -> None:
    protocol = replace(idc(), length=6)
    assert [round(protocol.lr(epoch, 100), 9) for epoch in range(6)] == [0.01] * 4 + [0.002] + [0.0004]
    protocol = replace(idc(), length=300)
    assert protocol.lr(199, 10) == 0.01
    assert protocol.lr(200, 10) == pytest.approx(0.002)
    assert protocol.lr(250, 10) == pytest.approx(0.0004)


@pytest.mark.parametrize("data", ["mnist", "svhn", "digits", "MNIST"])
def test_digits_are_never_mirrored(data: str) -> None:
    assert "flip" not in operations(idc(data=data, factor=1))
    assert "flip" not in operations(limbeck(data=data))


@pytest.mark.parametrize("data", ["cifar10", "cifar100", "fashion-mnist", "my pictures"])
def test_other_images_are(data: str) -> None:
    assert "flip" in operations(idc(data=data))
    assert "flip" in operations(limbeck(data=data))


def test_exceptions_of_svhn() -> None:
    one = idc(data="svhn", ipc=1, factor=1)
    assert one.training.cutmix == 0
    assert operations(one) == {"color", "crop", "scale", "rotate", "cutout"}
    for other in (idc(data="svhn", ipc=1, factor=2), idc(data="svhn", ipc=10, factor=1)):
        assert other.training.cutmix == 0.5
        assert "cutout" not in operations(other)


def test_exceptions_of_mnist() -> None:
    packed, plain = idc(data="mnist", factor=2), idc(data="mnist", factor=1)
    assert packed.training.cutmix == 0
    assert plain.training.cutmix == 0.5
    assert "cutout" not in operations(packed) | operations(plain)


@pytest.mark.parametrize(
    ("ipc", "factor", "epochs"), [(50, 2, 400), (100, 3, 400), (49, 2, 1000), (50, 1, 1000), (10, 2, 1000)]
)
def test_exceptions_of_densenet(ipc: int, factor: int, epochs: int) -> None:
    assert idc(networks=("densenet121_cifar_k12",), ipc=ipc, factor=factor).length == epochs
    assert idc(networks=("convnet3",), ipc=ipc, factor=factor).length == 1000


def test_networks_that_are_trained_for_other_lengths_are_not_mixed() -> None:
    mixed = ("convnet3", "densenet121_cifar_k12")
    assert idc(networks=mixed, ipc=10).length == 1000
    with pytest.raises(InputError, match="evaluate them apart"):
        idc(networks=mixed, ipc=50)


@pytest.mark.parametrize(("factor", "epochs"), [(1, 1000), (2, 250), (3, 111), (40, 1)])
def test_same_compute_divides_epochs_by_the_parts_of_an_image(factor: int, epochs: int) -> None:
    assert idc(factor=factor, same_compute=True).length == epochs
    assert idc(factor=factor).length == 1000


def test_epochs_cost_more_steps_for_more_images() -> None:
    assert idc().steps(64) == 1000
    assert idc().steps(65) == 2000
    assert idc().steps(10) == 1000


def test_limbeck_gives_every_set_the_same_number_of_steps() -> None:
    protocol = limbeck()
    assert (protocol.name, protocol.budget, protocol.length, protocol.repeats) == ("limbeck", "updates", 2000, 3)
    assert {protocol.steps(images) for images in (10, 400, 50_000)} == {2000}
    # 100 images are 2 batches, so 2000 updates are 1000 epochs; 640 are 10 batches and 200 epochs.
    assert protocol.lr(665, 100) == 0.01
    assert protocol.lr(666, 100) == pytest.approx(0.002)
    assert protocol.lr(132, 640) == 0.01
    assert protocol.lr(133, 640) == pytest.approx(0.002)


@pytest.mark.parametrize("repeats", [2, 1, 0])
def test_limbeck_refuses_fewer_than_three_networks(repeats: int) -> None:
    with pytest.raises(InputError, match="at least 3 networks"):
        limbeck(repeats=repeats)


@pytest.mark.parametrize("change", [{"repeats": 0}, {"length": 0}, {"networks": ()}])
def test_a_protocol_that_does_nothing_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(InputError, match="at least one network"):
        Protocol(name="none", **change)  # type: ignore[arg-type]


def distilled(digits: Data, factor: int, ipc: int, name: str) -> Distilled:
    spec = replace(digits.spec, name=name)
    return Distilled(torch.zeros(10, ipc, 1, 8, 8), spec, idc_recipe("digits", factor=factor), seed=0)


def test_the_protocol_of_a_set_knows_its_exceptions(digits: Data) -> None:
    assert for_set("idc", distilled(digits, 1, 1, "svhn")) == idc(data="svhn", ipc=1, factor=1)
    assert for_set("idc", distilled(digits, 2, 1, "mnist")).training.cutmix == 0
    assert for_set("idc", distilled(digits, 1, 1, "mnist")).training.cutmix == 0.5
    named = for_set("idc", distilled(digits, 2, 1, "cifar10"), ("convnet2", "mlp"), 2)
    assert (named.networks, named.repeats) == (("convnet2", "mlp"), 2)
    assert for_set("limbeck", distilled(digits, 2, 1, "digits")) == limbeck(data="digits")


def test_protocols_are_found_by_name(digits: Data) -> None:
    one = distilled(digits, 1, 1, "digits")
    assert [for_set(name, one).name for name in PROTOCOLS] == list(PROTOCOLS)
    with pytest.raises(InputError, match="unknown protocol 'iddc'; did you mean 'idc'"):
        for_set("iddc", one)


def test_protocols_for_data(digits: Data) -> None:
    def named(name: str) -> DataSpec:
        return replace(digits.spec, name=name)

    assert for_data("dsa", named("svhn"), ("mlp",), 2) == dsa(data="svhn", networks=("mlp",), repeats=2)
    assert for_data("idc", named("cifar10")) == idc()
    assert for_data("dc", named("MNIST")) == dc(data="mnist") != dc()
    normalization = Normalization((0.5, 0.4, 0.3), (0.2, 0.2, 0.1))
    many = replace(digits.spec, normalization=normalization, class_names=tuple(map(str, range(100))))
    for decoded in (1, 90):
        expected = idc_imagenet(classes=100, decoded=decoded, normalization=normalization)
        assert for_data("idc_imagenet", many, decoded=decoded) == expected
    assert for_data("idc_imagenet", many, ipc=5, factor=3) == for_data("idc_imagenet", many, decoded=45)


@pytest.mark.parametrize(
    ("decoded", "few", "many"),
    [
        *((1, 3000, 2000), (2, 2000, 1300), (10, 2000, 1300), (11, 1500, 1000), (50, 1500, 1000), (51, 1000, 600)),
        *((200, 1000, 600), (201, 500, 300), (500, 500, 300), (501, 300, 200), (1300, 300, 200)),
    ],
)
def test_fewer_images_of_imagenet_are_trained_longer(decoded: int, few: int, many: int) -> None:
    assert [idc_imagenet(classes=classes, decoded=decoded).length for classes in (10, 99, 100)] == [few, few, many]


def test_idc_on_imagenet_is_as_published() -> None:
    protocol = idc_imagenet()
    assert (protocol.name, protocol.budget, protocol.length, protocol.networks) == (
        *("idc_imagenet", "epochs", 1000, ("resnet_ap10",)),
    )
    assert (protocol.drops, protocol.drop_factor, protocol.forget) == (idc().drops, 0.2, False)
    training = protocol.training
    assert training == replace(idc().training, augmentation=ImagenetAugment(), cutmix=1.0)
    large = idc_imagenet(classes=100).training
    assert large == replace(training, lr=0.1, weight_decay=1e-4, batch_size=128)
    other = idc_imagenet(normalization=Normalization((0.5, 0.4, 0.3), (0.2, 0.2, 0.1))).training
    assert other.augmentation == ImagenetAugment(mean=(0.5, 0.4, 0.3), std=(0.2, 0.2, 0.1))


def test_the_decoded_images_of_a_set_decide_its_epochs(digits: Data) -> None:
    for factor, ipc, epochs in ((1, 1, 3000), (2, 1, 2000), (3, 2, 1500), (3, 10, 1000)):
        assert for_set("idc_imagenet", distilled(digits, factor, ipc, "imagenet10")).length == epochs


@pytest.mark.parametrize("name", PROTOCOLS)
def test_sound_is_neither_augmented_nor_mixed(digits: Data, name: str) -> None:
    spec = replace(digits.spec, name="words", height=64, width=64, sound=Sound())
    found = for_data(name, spec)
    assert found.networks == ("convnet4",)
    assert found.training.augmentation is None and found.training.cutmix == found.training.mixup == 0
    plain = for_data(name, replace(spec, sound=None), ("convnet4",))
    assert replace(plain, training=found.training) == found
    assert for_data(name, spec, ("mlp",)).networks == ("mlp",)


def test_a_step_size_is_for_protocols_that_take_that_of_the_set(digits: Data) -> None:
    for name in ("mtt", "ast", "ast_official"):
        assert for_data(name, digits.spec, lr=0.3).training.lr == 0.3
        assert for_data(name, digits.spec, lr=0.3).lr_of_set == "preferred"
    with pytest.raises(InputError, match=r"protocol 'limbeck' has a step size of its own for all sets; leave --lr out"):
        for_data("limbeck", digits.spec, lr=0.3)
    with pytest.raises(InputError, match=r"did you mean|there is no|unknown"):
        for_data("mmt", digits.spec, lr=0.3)


def test_every_protocol_cites_a_source_that_is_listed() -> None:
    assert set(SOURCES) == set(PROTOCOLS)
    assert all(SOURCES.values())
    assert {key for keys in SOURCES.values() for key in keys} <= set(citations.keys())


def test_idm_is_judged_as_dm_with_networks_of_its_own_number() -> None:
    assert idm() == replace(dm(), name="idm", repeats=5)
    assert (idm().length, idm().training.batch_size, idm().forget) == (1001, 256, True)
    assert [idm().lr(epoch, 400) for epoch in (501, 502)] == [0.01, pytest.approx(0.001)]
