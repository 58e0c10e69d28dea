from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from limbeck.augmentations.dc_augment import DCAugment
from limbeck.augmentations.dsa_augment import DSAAugment
from limbeck.core.errors import InputError
from limbeck.evaluation.condensation import dc, dm, dsa
from limbeck.evaluation.protocols import idc

BATCH, DEEP = "convnet3:norm=batch", "convnet4:width=16,norm=batch"


def test_dc_trains_one_epoch_more_and_forgets_its_velocity_at_the_drop() -> None:
    protocol = dc()
    assert (protocol.length, protocol.repeats, protocol.training.batch_size) == (301, 20, 256)
    assert protocol.training.augmentation is None and protocol.training.cutmix == 0
    rates = [protocol.lr(epoch, 100) for epoch in range(301)]
    assert rates == pytest.approx([0.01] * 152 + [0.001] * 149)  # after the epoch with index 300 // 2 + 1
    assert [epoch for epoch in range(301) if protocol.forgets(epoch)] == [152]
    assert not any(idc().forgets(epoch) for epoch in range(1000))


def test_dsa_trains_longer_and_under_one_token_per_batch() -> None:
    protocol = dsa(data="cifar10")
    assert (protocol.length, protocol.repeats) == (1001, 20)
    assert [epoch for epoch in range(1001) if protocol.forgets(epoch)] == [502]
    assert protocol.training.augmentation == DSAAugment()
    for data in ("mnist", "svhn", "digits"):
        augmentation = dsa(data=data).training.augmentation
        assert isinstance(augmentation, DSAAugment) and "flip" not in augmentation.tokens


def test_dm_is_judged_as_dsa() -> None:
    chosen: Any = {"networks": ("mlp",), "repeats": 2, "data": "svhn", "epochs": 7}
    assert dm(**chosen) == replace(dsa(**chosen), name="dm")
    assert dm() == replace(dsa(), name="dm")


@pytest.mark.parametrize(
    ("networks", "data", "operations"),
    [
        (("convnet3", "mlp", "resnet18"), "cifar10", ()),
        (("convnet3", "mlp"), "fashion-mnist", ()),
        (("convnet3",), "digits", ()),
        (("convnet3", "resnet18"), "MNIST", ("crop", "scale", "rotate")),
        ((BATCH, DEEP), "cifar10", ("crop", "noise")),
        ((BATCH,), "mnist", ("crop", "noise")),
        # The code names ConvNetBN alone.
        (("convnet3:norm=batch,activation=swish", "vgg11:norm=batch"), "cifar10", ()),
    ],
)
def test_dc_augments_what_the_code_does(networks: tuple[str, ...], data: str, operations: Any) -> None:
    protocol = dc(networks=networks, data=data)
    augmentation = protocol.training.augmentation
    assert augmentation == (DCAugment(operations=operations) if operations else None)
    assert protocol.length == (1001 if operations else 301)
    changed = dc(networks=networks, data=data, epochs=10)
    assert (changed.length, changed.training) == (11, protocol.training)


@pytest.mark.parametrize("data", ["cifar10", "mnist"])
def test_dc_refuses_networks_that_are_trained_differently_together(data: str) -> None:
    with pytest.raises(InputError, match="evaluate them apart"):
        dc(networks=("convnet3", BATCH), data=data)


def test_dc_refuses_names_of_networks_that_do_not_exist() -> None:
    with pytest.raises(InputError, match="did you mean 'resnet18'"):
        dc(networks=("resnet_18",))
    with pytest.raises(InputError, match="unknown convnet3 option 'nom'"):
        dc(networks=("convnet3:nom=batch",))
