from __future__ import annotations

import struct
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from limbeck.core.errors import InputError
from limbeck.data import load
from limbeck.data.from_torchvision import TORCHVISION_NAMES


class Stand:
    """What torchvision's classes look like from outside."""

    calls: list[dict[str, Any]]

    def __init__(self, root: str, *, download: bool, train: bool | None = None, split: str = "") -> None:
        type(self).calls.append({"root": root, "download": download, "train": train, "split": split})
        if "missing" in root:
            raise RuntimeError("Dataset not found or corrupted.")
        if "offline" in root:
            raise OSError("no route to host")
        self.fill(0 if train or split == "train" else 100)

    def fill(self, start: int) -> None:
        raise NotImplementedError


class MNIST(Stand):
    calls: list[dict[str, Any]] = []  # noqa: RUF012
    classes = ("0 - zero", "1 - one")

    def fill(self, start: int) -> None:
        self.data = torch.arange(start, start + 24, dtype=torch.uint8).view(2, 3, 4)
        self.targets = torch.tensor([1, 0])


class CIFAR100(Stand):
    calls: list[dict[str, Any]] = []  # noqa: RUF012
    classes = ("apple", "bee")

    def fill(self, start: int) -> None:
        self.data = np.arange(start, start + 72, dtype=np.uint8).reshape(2, 3, 4, 3)
        self.targets = [1, 0]


class SVHN(Stand):
    calls: list[dict[str, Any]] = []  # noqa: RUF012

    def fill(self, start: int) -> None:
        self.data = np.arange(start, start + 72, dtype=np.uint8).reshape(2, 3, 3, 4)
        self.labels = np.array([1, 0])


@pytest.fixture
def torchvision(monkeypatch: pytest.MonkeyPatch) -> None:
    package, datasets = types.ModuleType("torchvision"), types.ModuleType("torchvision.datasets")
    package.datasets = datasets  # type: ignore[attr-defined]
    for name, stand in (
        ("MNIST", MNIST),
        ("FashionMNIST", MNIST),
        ("CIFAR10", CIFAR100),
        ("CIFAR100", CIFAR100),
    ):
        setattr(datasets, name, stand)
    datasets.SVHN = SVHN  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torchvision", package)
    monkeypatch.setitem(sys.modules, "torchvision.datasets", datasets)
    for stand in (MNIST, CIFAR100, SVHN):
        stand.calls.clear()


@pytest.mark.usefixtures("torchvision")
@pytest.mark.parametrize(
    ("name", "stand", "shape", "names", "pixel"),
    [
        ("mnist", MNIST, (1, 3, 4), ("0 - zero", "1 - one"), 12 + 7),
        ("FashionMNIST", MNIST, (1, 3, 4), ("0 - zero", "1 - one"), 12 + 7),
        ("cifar10", CIFAR100, (3, 3, 4), ("apple", "bee"), 36 + 7 * 3),
        ("CIFAR-100", CIFAR100, (3, 3, 4), ("apple", "bee"), 36 + 7 * 3),
        ("svhn", SVHN, (3, 3, 4), ("0", "1"), 36 + 7),
    ],
)
def test_each_layout(name: str, stand: type[Stand], shape: Any, names: tuple[str, ...], pixel: int) -> None:
    data = load(name, root="somewhere", validation=0, download=True)
    assert data.spec.shape == shape and data.spec.class_names == names
    assert data.spec.name in TORCHVISION_NAMES
    assert data.train.labels.tolist() == [1, 0]
    assert int(data.train.pixels[1, 0, 1, 3]) == pixel
    assert int(data.require_test().pixels[1, 0, 1, 3]) == pixel + 100
    assert [call["root"] for call in stand.calls] == ["somewhere"] * 2 and stand.calls[0]["download"] is True


@pytest.mark.usefixtures("torchvision")
def test_faults_and_their_remedies() -> None:
    with pytest.raises(InputError, match=r"'cifar10' is not bundled; .* \(--root\), and download \(--download\)"):
        load("cifar10")
    with pytest.raises(InputError, match=r"'mnist' was not found.* in 'missing'; set download \(--download\)"):
        load("mnist", root=Path("missing"))
    with pytest.raises(InputError, match="remove what is there and try again"):
        load("mnist", root=Path("missing"), download=True)
    with pytest.raises(InputError, match=r"could not be read or fetched in 'offline' \(no route to host\)"):
        load("mnist", root=Path("offline"), download=True)
    with pytest.raises(InputError, match=r"image_column \(--image-column\) has no effect on 'mnist'"):
        load("mnist", root=Path("x"), image_column="image")


def test_a_torchvision_that_does_not_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchvision", None)
    with pytest.raises(InputError, match=r"torchvision cannot be imported here .*; install the build that matches"):
        load("mnist", root=Path("x"))


def test_the_real_torchvision_reads_mnist(tmp_path: Path) -> None:
    try:
        import torchvision.datasets  # noqa: F401
    except (ImportError, RuntimeError) as error:
        pytest.skip(f"torchvision does not match this torch: {error}")
    images = np.random.default_rng(0).integers(0, 256, (10, 28, 28), dtype=np.uint8)
    labels = bytes(reversed(range(10)))
    for part in ("train", "t10k"):
        shown = images if part == "train" else 255 - images
        for kind, head, body in (
            ("images-idx3", struct.pack(">iiii", 2051, 10, 28, 28), shown.tobytes()),
            ("labels-idx1", struct.pack(">ii", 2049, 10), labels),
        ):
            file = tmp_path / "MNIST" / "raw" / f"{part}-{kind}-ubyte"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(head + body)
    data = load("mnist", root=tmp_path, normalization="published")
    assert data.spec.name == "mnist" and data.spec.shape == (1, 28, 28)
    assert data.train.labels.tolist() == list(range(9, -1, -1))
    assert np.array_equal(data.train.pixels[:, 0].numpy(), images)
    assert np.array_equal(data.require_test().pixels[:, 0].numpy(), 255 - images)
    with pytest.raises(InputError, match=r"was not found.*; set download \(--download\)"):
        load("mnist", root=tmp_path / "elsewhere")
