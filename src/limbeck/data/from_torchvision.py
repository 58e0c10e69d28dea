"""Data sets that torchvision knows how to fetch and read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from limbeck.core.errors import InputError
from limbeck.data.framing import Framing
from limbeck.data.labelled import Labelled, LabelledSplits

__all__ = ["TORCHVISION_NAMES", "from_torchvision"]

_CLASSES = {
    "mnist": "MNIST",
    "fashion-mnist": "FashionMNIST",
    "cifar10": "CIFAR10",
    "cifar100": "CIFAR100",
    "svhn": "SVHN",
}
TORCHVISION_NAMES = tuple(_CLASSES)
"""Names that `from_torchvision` takes."""


def from_torchvision(name: str, root: Path | None, download: bool, framing: Framing) -> LabelledSplits:
    """One of the named data sets, with its official training and test parts.

    Args:
        name: one of `TORCHVISION_NAMES`.
        root: folder that holds, or shall hold, torchvision's files.
        download: whether to fetch what is missing.
        framing: size and channels to bring the images to.

    Raises:
        InputError: no root was given, the files are not there, or torchvision does not work here.
    """
    if root is None:
        raise InputError(
            f"'{name}' is not bundled; give the folder of its files as root (--root), and download "
            "(--download) to fetch them into it"
        )
    train, test = (_part(name, train, Path(root).expanduser(), download, framing) for train in (True, False))
    return LabelledSplits(name=name, class_names=train[1], train=train[0], test=test[0])


def _part(name: str, train: bool, root: Path, download: bool, framing: Framing) -> tuple[Labelled, tuple[str, ...]]:
    dataset = _open(name, train, root, download)
    pixels = torch.as_tensor(dataset.data)
    if name in ("mnist", "fashion-mnist"):
        pixels = pixels[:, None]
    elif name != "svhn":
        pixels = pixels.permute(0, 3, 1, 2)
    labels = torch.as_tensor(dataset.labels if name == "svhn" else dataset.targets, dtype=torch.int64)
    names = getattr(dataset, "classes", None) or range(int(labels.max()) + 1)
    labelled = Labelled(pixels=framing.pixels(pixels.contiguous()), labels=labels)
    return labelled, tuple(map(str, names))


def _open(name: str, train: bool, root: Path, download: bool) -> Any:
    try:
        import torchvision.datasets
    except (ImportError, RuntimeError, AttributeError) as error:
        # A build that does not match torch fails with a RuntimeError while it is imported.
        raise InputError(
            f"torchvision cannot be imported here ({error}); install the build that matches torch, or load "
            f"'{name}' from a folder"
        ) from error
    make = getattr(torchvision.datasets, _CLASSES[name])
    part = {"split": "train" if train else "test"} if name == "svhn" else {"train": train}
    try:
        return make(str(root), download=download, **part)
    except OSError as error:
        raise InputError(f"'{name}' could not be read or fetched in '{root}' ({error}); check the folder") from error
    except RuntimeError as error:
        remedy = "remove what is there and try again" if download else "set download (--download), or another root"
        raise InputError(f"'{name}' was not found, or is damaged, in '{root}'; {remedy}") from error
