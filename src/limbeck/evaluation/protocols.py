"""How a distilled set is judged: the published protocols, and our own, as typed constants, found by name.

A protocol says which networks are trained on the decoded images, for how long and how, and how often. IDC's, which ours
and DSDM's are made of, are here; those of DC, DSA, DM and IDM are in `limbeck.evaluation.condensation`, those at a
learnt step size in `limbeck.evaluation.trajectory`, and those in which a teacher labels every batch in
`limbeck.evaluation.decoupled`. The figure is always the accuracy after the last epoch on test images that are read
once, at the end; ``ast_official`` gives another beside it, which is selected on them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal, get_args

from limbeck.augmentations.idc_augment import IDCAugment, Operation
from limbeck.augmentations.imagenet_augment import ImagenetAugment
from limbeck.core.distilled import Distilled
from limbeck.core.errors import InputError, unknown
from limbeck.core.real import DataSpec, Normalization
from limbeck.data import canonical_name, changes_when_mirrored
from limbeck.evaluation.condensation import dc, dm, dsa, idm
from limbeck.evaluation.decoupled import (
    dwa_cifar,
    dwa_imagenet,
    dwa_tiny,
    limbeck_soft,
    sre2l_cifar,
    sre2l_imagenet,
    sre2l_tiny,
)
from limbeck.evaluation.protocol import Protocol
from limbeck.evaluation.trajectory import RATED, ast, ast_official, mtt
from limbeck.parametrizations.partition import Partition
from limbeck.training.settings import Training

__all__ = [
    "PROTOCOLS",
    "SOURCES",
    "Protocol",
    "ProtocolName",
    "ast",
    "ast_official",
    "dc",
    "dm",
    "dsa",
    "dsdm",
    "dwa_cifar",
    "dwa_imagenet",
    "dwa_tiny",
    "for_data",
    "for_set",
    "idc",
    "idc_imagenet",
    "idm",
    "limbeck",
    "limbeck_soft",
    "mtt",
    "sre2l_cifar",
    "sre2l_imagenet",
    "sre2l_tiny",
]


def idc(
    *,
    networks: tuple[str, ...] = ("convnet3",),
    repeats: int = 5,
    data: str = "cifar10",
    ipc: int = 10,
    factor: int = 2,
    same_compute: bool = False,
) -> Protocol:
    """The protocol of IDC and DREAM for images up to 64 pixels, as published (but last epoch, not best).

    Args:
        networks: architectures.
        repeats: networks of each.
        data: name of the data set; digits are never mirrored, and MNIST and SVHN have exceptions.
        ipc: stored images per class.
        factor: parts per side of a stored image.
        same_compute: divide the epochs by ``factor ** 2``, so that packing costs no more training.

    Raises:
        InputError: DenseNets and other networks together, where their epochs differ.
    """
    data = canonical_name(data)
    operations: tuple[Operation, ...] = ("color", "crop", "flip", "scale", "rotate")
    if changes_when_mirrored(data):
        operations = ("color", "crop", "scale", "rotate")
    cutmix = 0.5
    if data == "svhn" and factor == 1 and ipc == 1:
        operations, cutmix = (*operations, "cutout"), 0.0
    if data == "mnist" and factor > 1:
        cutmix = 0.0
    epochs = 1000
    dense = [name.startswith("densenet") for name in networks]
    if any(dense) and ipc >= 50 and factor > 1:
        if not all(dense):
            raise InputError(
                "protocol 'idc' trains DenseNets on large packed sets for 400 epochs and other networks for 1000; "
                "evaluate them apart."
            )
        epochs = 400
    if same_compute:
        epochs = max(1, epochs // factor**2)
    return Protocol(
        name="idc",
        largest_side=64,
        networks=networks,
        repeats=repeats,
        length=epochs,
        training=Training(augmentation=IDCAugment(operations=operations), cutmix=cutmix),
    )


_IMAGENET_EPOCHS = ((1, 3000), (10, 2000), (50, 1500), (200, 1000), (500, 500))
"""Most decoded images of a class, and the epochs that IDC trains so many; 300 for more."""


def idc_imagenet(
    *,
    networks: tuple[str, ...] = ("resnet_ap10",),
    repeats: int = 5,
    classes: int = 10,
    decoded: int = 90,
    normalization: Normalization | None = None,
) -> Protocol:
    """The protocol of IDC for ImageNet, as published (but last epoch, not best).

    The fewer images, the more epochs; from 100 classes on two thirds of them, rounded down to hundreds, with another
    step size, weight decay and batch size.

    Args:
        networks: architectures.
        repeats: networks of each.
        classes: classes of the data.
        decoded: decoded images per class.
        normalization: of the set; ImageNet's published one by default.
    """
    epochs = next((epochs for most, epochs in _IMAGENET_EPOCHS if decoded <= most), 300)
    augmentation = ImagenetAugment()
    if normalization is not None:
        augmentation = replace(augmentation, mean=normalization.mean, std=normalization.std)
    training = Training(augmentation=augmentation, cutmix=1.0)
    if classes >= 100:
        epochs = epochs * 2 // 300 * 100
        training = replace(training, lr=0.1, weight_decay=1e-4, batch_size=128)
    return Protocol(name="idc_imagenet", networks=networks, repeats=repeats, length=epochs, training=training)


def dsdm(
    *,
    networks: tuple[str, ...] = ("convnet3",),
    repeats: int = 5,
    data: str = "cifar10",
    ipc: int = 10,
    factor: int = 2,
) -> Protocol:
    """The protocol of DSDM and M3D, as published (but last epoch and last images, not best): IDC's for 1500 epochs.

    Args:
        networks: architectures.
        repeats: networks of each.
        data: name of the data set; exceptions are those of IDC.
        ipc: stored images per class.
        factor: parts per side of a stored image.
    """
    published = idc(networks=networks, repeats=repeats, data=data, ipc=ipc, factor=factor)
    return replace(published, name="dsdm", length=1500)


def limbeck(
    *, networks: tuple[str, ...] = ("convnet3",), repeats: int = 3, data: str = "", updates: int = 2000
) -> Protocol:
    """Our protocol: leak-free and equal in compute for sets of every size.

    IDC's augmentation and schedule, but a fixed number of updates instead of epochs, so that packing more images into
    the same bytes buys no longer training. The step size is the same for all sets, those that have learnt one included.
    Whatever is chosen is chosen on the validation part.

    Args:
        networks: architectures.
        repeats: networks of each, at least 3.
        data: name of the data set; digits are never mirrored.
        updates: SGD steps of each network.

    Raises:
        InputError: fewer than 3 repeats.
    """
    if repeats < 3:
        raise InputError(f"protocol 'limbeck' reports mean and deviation of at least 3 networks, not {repeats}.")
    published = idc(networks=networks, repeats=repeats, data=data or "cifar10", factor=1, ipc=10)
    return replace(published, name="limbeck", largest_side=0, budget="updates", length=updates)


ProtocolName = Literal[
    "limbeck",
    "limbeck_soft",
    "idc",
    "idc_imagenet",
    "dsa",
    "dc",
    "dm",
    "idm",
    "dsdm",
    "mtt",
    "ast",
    "ast_official",
    "sre2l_cifar",
    "sre2l_tiny",
    "sre2l_imagenet",
    "dwa_cifar",
    "dwa_tiny",
    "dwa_imagenet",
]
PROTOCOLS: tuple[str, ...] = get_args(ProtocolName)
"""Names of the protocols."""
SOURCES: Mapping[str, tuple[str, ...]] = {
    "limbeck": ("kim2022idc",),
    "limbeck_soft": ("yin2023sre2l",),
    "idc": ("kim2022idc", "liu2023dream"),
    "idc_imagenet": ("kim2022idc",),
    "dsa": ("zhao2021dsa",),
    "dc": ("zhao2021dc",),
    "dm": ("zhao2023dm",),
    "idm": ("zhao2023idm",),
    "dsdm": ("li2024dsdm", "zhang2024m3d"),
    "mtt": ("cazenavette2022mtt", "cui2023tesla", "du2023ftd"),
    "ast": ("shen2023ast",),
    "ast_official": ("shen2023ast",),
    **dict.fromkeys(("sre2l_cifar", "sre2l_tiny", "sre2l_imagenet"), ("yin2023sre2l",)),
    **dict.fromkeys(("dwa_cifar", "dwa_tiny", "dwa_imagenet"), ("du2024dwa", "yin2023sre2l")),
}
"""Whose settings a protocol has, as keys of the references; ours have their augmentation and schedule, or their
teacher's labels, from there, and other lengths."""


def for_set(
    name: str,
    distilled: Distilled,
    networks: tuple[str, ...] = (),
    repeats: int | None = None,
    lr: float | None = None,
) -> Protocol:
    """The protocol of this name for a distilled set.

    Args:
        name: one of `PROTOCOLS`.
        distilled: the set; its data, IPC, factor and number of decoded images decide the exceptions.
        networks: architectures; the protocol's by default.
        repeats: networks of each; the protocol's by default.
        lr: as in `for_data`.

    Raises:
        InputError: there is no such protocol, or not for these data.
    """
    partition = distilled.parametrization
    factor = partition.factor if isinstance(partition, Partition) else 1
    decoded = partition.parts(distilled.ipc)
    return for_data(name, distilled.spec, networks, repeats, ipc=distilled.ipc, factor=factor, decoded=decoded, lr=lr)


def for_data(
    name: str,
    spec: DataSpec,
    networks: tuple[str, ...] = (),
    repeats: int | None = None,
    *,
    ipc: int = 10,
    factor: int = 2,
    decoded: int | None = None,
    lr: float | None = None,
) -> Protocol:
    """The protocol of this name for a data set, whatever the distilled set.

    Spectrograms are neither augmented nor mixed, since what is done to pictures is not what happens to sound, and are
    judged by ConvNet-4, as in the papers' experiments on speech.

    Args:
        name: one of `PROTOCOLS`.
        spec: the data; their name, classes and normalization decide exceptions.
        networks: architectures; the protocol's by default.
        repeats: networks of each; the protocol's by default.
        ipc: stored images per class; decides an exception of IDC.
        factor: parts per side of a stored image; decides exceptions of IDC.
        decoded: decoded images per class, which decide the epochs on ImageNet; ``ipc * factor ** 2`` by default.
        lr: step size for sets that have learnt none, under protocols that take that of the set.

    Raises:
        InputError: there is no such protocol, or not for these data, or it has a step size of its own.
    """
    if spec.sound is not None:
        networks = networks or ("convnet4",)
    chosen: dict[str, Any] = {"networks": networks} if networks else {}
    if repeats is not None:
        chosen["repeats"] = repeats
    if lr is not None:
        if name in PROTOCOLS and name not in RATED:
            raise InputError(
                f"protocol '{name}' has a step size of its own for all sets; leave --lr out, or name several in "
                "--learning-rates to choose from on the validation part."
            )
        chosen["lr"] = lr
    protocol = _for_data(name, spec, chosen, ipc, factor, decoded)
    if spec.sound is None:
        return protocol
    return replace(protocol, training=replace(protocol.training, augmentation=None, cutmix=0.0, mixup=0.0))


def _for_data(
    name: str, spec: DataSpec, chosen: dict[str, Any], ipc: int, factor: int, decoded: int | None
) -> Protocol:
    """The protocol of this name as it is for pictures."""
    data = spec.name
    match name:
        case "limbeck":
            return limbeck(data=data, **chosen)
        case "idc":
            return idc(data=data, ipc=ipc, factor=factor, **chosen)
        case "idc_imagenet":
            count = ipc * factor**2 if decoded is None else decoded
            return idc_imagenet(classes=spec.classes, decoded=count, normalization=spec.normalization, **chosen)
        case "dsa":
            return dsa(data=data, **chosen)
        case "dc":
            return dc(data=data, **chosen)
        case "dm":
            return dm(data=data, **chosen)
        case "idm":
            return idm(data=data, **chosen)
        case "dsdm":
            return dsdm(data=data, ipc=ipc, factor=factor, **chosen)
        case "mtt":
            return mtt(data=data, **chosen)
        case "ast":
            return ast(data=data, **chosen)
        case "ast_official":
            return ast_official(data=data, **chosen)
    flip = not changes_when_mirrored(data)
    match name:
        case "limbeck_soft":
            return limbeck_soft(side=min(spec.height, spec.width), flip=flip, **chosen)
        case "sre2l_cifar":
            return sre2l_cifar(flip=flip, **chosen)
        case "sre2l_tiny":
            return sre2l_tiny(flip=flip, **chosen)
        case "sre2l_imagenet":
            return sre2l_imagenet(flip=flip, **chosen)
        case "dwa_cifar":
            return dwa_cifar(flip=flip, **chosen)
        case "dwa_tiny":
            return dwa_tiny(flip=flip, **chosen)
        case "dwa_imagenet":
            return dwa_imagenet(flip=flip, **chosen)
    raise unknown("protocol", name, PROTOCOLS)
