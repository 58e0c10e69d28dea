"""How a distilled set is judged: the published protocols, and our own, as typed constants.

A protocol says which networks are trained on the decoded images, for how long and how, and how often. The figure is
always the accuracy after the last epoch on test images that are read once, at the end.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

from limbeck.augmentations.idc_augment import IDCAugment, Operation
from limbeck.core.distilled import Distilled
from limbeck.core.errors import InputError, unknown
from limbeck.data import canonical_name
from limbeck.parametrizations.partition import Partition
from limbeck.training.supervised import Training

__all__ = ["PROTOCOLS", "Protocol", "for_set", "idc", "limbeck"]

_DIGITS = ("mnist", "svhn", "digits")
"""Data sets whose classes change when mirrored."""


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """Training and judging of fresh networks on a distilled set."""

    name: str
    """Name of the protocol."""
    networks: tuple[str, ...] = ("convnet3",)
    """Architectures, as `limbeck list networks` shows."""
    repeats: int = 3
    """Networks of each architecture, each from a seed of its own."""
    budget: Literal["epochs", "updates"] = "epochs"
    """Whether the length of training is counted in epochs or in SGD steps (the same for sets of every size)."""
    length: int = 1000
    """Epochs or updates."""
    training: Training = field(default_factory=Training)
    """How a network is trained."""
    drops: tuple[float, ...] = (2 / 3, 5 / 6)
    """Shares of the training, each rounded down, after which the step size is multiplied by ``drop_factor``."""
    drop_factor: float = 0.2
    """What the step size is multiplied by."""
    learning_rates: tuple[float, ...] = ()
    """Step sizes to choose from by the accuracy on the validation part; empty takes the one of ``training``."""

    largest_side: int = 0
    """Largest image side that the protocol is made for; 0 for any."""

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        if self.repeats < 1 or self.length < 1 or not self.networks:
            raise InputError(
                f"protocol '{self.name}' needs at least one network, one repeat and a length of 1, not "
                f"{len(self.networks)}, {self.repeats} and {self.length}."
            )

    def steps(self, images: int) -> int:
        """SGD steps for a training set of this size."""
        if self.budget == "updates":
            return self.length
        return self.length * -(-images // self.training.batch_size)

    def lr(self, epoch: int, images: int, base: float | None = None) -> float:
        """Step size in an epoch, counted from 0."""
        batches = -(-images // self.training.batch_size)
        epochs = self.length if self.budget == "epochs" else -(-self.length // batches)
        passed = sum(epoch >= int(share * epochs + 1e-9) for share in self.drops)
        return (self.training.lr if base is None else base) * self.drop_factor**passed


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
    if data in _DIGITS:
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


def limbeck(
    *, networks: tuple[str, ...] = ("convnet3",), repeats: int = 3, data: str = "", updates: int = 2000
) -> Protocol:
    """Our protocol: leak-free and equal in compute for sets of every size.

    IDC's augmentation and schedule, but a fixed number of updates instead of epochs, so that packing more images into
    the same bytes buys no longer training. Whatever is chosen is chosen on the validation part.

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


PROTOCOLS = ("limbeck", "idc")
"""Names of the protocols."""


def for_set(name: str, distilled: Distilled, networks: tuple[str, ...] = (), repeats: int | None = None) -> Protocol:
    """The protocol of this name for a distilled set.

    Args:
        name: ``limbeck`` or ``idc``.
        distilled: the set; its data, IPC and factor decide the exceptions.
        networks: architectures; the protocol's by default.
        repeats: networks of each; the protocol's by default.

    Raises:
        InputError: there is no such protocol.
    """
    chosen = {"networks": networks} if networks else {}
    counted = {"repeats": repeats} if repeats is not None else {}
    data = distilled.spec.name
    if name == "idc":
        partition = distilled.parametrization
        factor = partition.factor if isinstance(partition, Partition) else 1
        return idc(data=data, ipc=distilled.ipc, factor=factor, **chosen, **counted)  # type: ignore[arg-type]
    if name == "limbeck":
        return limbeck(data=data, **chosen, **counted)  # type: ignore[arg-type]
    raise unknown("protocol", name, PROTOCOLS)
