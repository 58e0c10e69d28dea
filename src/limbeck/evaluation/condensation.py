"""The protocols of DC and DSA, and of DM and IDM, which are judged as DSA is."""

from __future__ import annotations

from dataclasses import replace

from limbeck.augmentations.dc_augment import DCAugment, Operation
from limbeck.augmentations.dsa_augment import strategy
from limbeck.core.contracts import Augmentation
from limbeck.core.errors import InputError
from limbeck.data import canonical_name
from limbeck.evaluation.protocol import Protocol
from limbeck.networks import options
from limbeck.training.settings import Training

__all__ = ["dc", "dm", "dsa", "idm"]


def dc(
    *,
    networks: tuple[str, ...] = ("convnet3",),
    repeats: int = 20,
    data: str = "cifar10",
    epochs: int | None = None,
) -> Protocol:
    """The protocol of DC, as published: augmented for MNIST and for ConvNets with batch norm, plain elsewhere.

    One epoch more than stated and a drop after epoch ``epochs // 2 + 1``, counted from 0, as in the code, which then
    begins with a velocity of zero. The augmentation is not that of DSA. A ConvNet with batch norm has crop and noise
    on every data set, MNIST included; other networks with batch norm have none (the authors' code names ConvNetBN
    alone, whose activation is ReLU).

    Args:
        networks: architectures.
        repeats: networks of each; the paper's tables average 20 for each of 5 sets.
        data: name of the data set.
        epochs: epochs; by default 1000 with augmentation and 300 without.

    Raises:
        InputError: a network's name is wrong, or networks that are trained differently are asked for together.
    """
    choices = {_dc_operations(name, canonical_name(data)) for name in networks}
    if len(choices) > 1:
        raise InputError(
            "protocol 'dc' trains ConvNets with batch norm under crop and noise and other networks otherwise; evaluate "
            "them apart."
        )
    operations = choices.pop() if choices else ()
    augmentation = DCAugment(operations=operations) if operations else None
    return _dc(
        "dc", networks, repeats, (1000 if operations else 300) if epochs is None else epochs, augmentation=augmentation
    )


def _dc_operations(network: str, data: str) -> tuple[Operation, ...]:
    """What the training images of one network undergo under DC's protocol."""
    chosen = options(network)
    if network.startswith("convnet") and (chosen["norm"], chosen["activation"]) == ("batch", "relu"):
        return ("crop", "noise")
    return ("crop", "scale", "rotate") if data == "mnist" else ()


def _dc(
    name: str, networks: tuple[str, ...], repeats: int, epochs: int, *, augmentation: Augmentation | None
) -> Protocol:
    """The schedule that DC and DSA share."""
    total = epochs + 1
    return Protocol(
        name=name,
        networks=networks,
        repeats=repeats,
        length=total,
        training=Training(batch_size=256, augmentation=augmentation),
        drops=((epochs // 2 + 2) / total,),
        drop_factor=0.1,
        forget=True,
    )


def dsa(
    *, networks: tuple[str, ...] = ("convnet3",), repeats: int = 20, data: str = "cifar10", epochs: int = 1000
) -> Protocol:
    """The protocol of DSA, which DM uses as well: DC's schedule, for 1000 epochs and with one token per batch.

    Args:
        networks: architectures.
        repeats: networks of each.
        data: name of the data set; digits are never mirrored.
        epochs: epochs.
    """
    return _dc("dsa", networks, repeats, epochs, augmentation=strategy(data))


def dm(
    *, networks: tuple[str, ...] = ("convnet3",), repeats: int = 20, data: str = "cifar10", epochs: int = 1000
) -> Protocol:
    """The protocol of DM, as published (but last epoch and last images, not best): that of DSA.

    Args:
        networks: architectures.
        repeats: networks of each, for each of 5 sets.
        data: name of the data set; digits are never mirrored.
        epochs: epochs.
    """
    return replace(dsa(networks=networks, repeats=repeats, data=data, epochs=epochs), name="dm")


def idm(
    *, networks: tuple[str, ...] = ("convnet3",), repeats: int = 5, data: str = "cifar10", epochs: int = 1000
) -> Protocol:
    """The protocol of IDM, as in its code (but last epoch and last images, not best): that of DM.

    SGD at 0.01 with momentum 0.9 and weight decay 5e-4, batches of 256 of the unpacked images, one token of DSA per
    batch, 1001 epochs, x 0.1 after epoch 501 with a velocity of zero. The code keeps the best of the iterations that it
    evaluates on the test images. Zhao, Li, Qin and Yu, "Improved distribution matching for dataset condensation", CVPR
    2023.

    Args:
        networks: architectures.
        repeats: networks of each.
        data: name of the data set; digits are never mirrored.
        epochs: epochs.
    """
    return replace(dm(networks=networks, repeats=repeats, data=data, epochs=epochs), name="idm")
