from __future__ import annotations

import pytest
import torch

from limbeck.core.errors import InputError
from limbeck.data.normalizations import STD_FLOOR, canonical_name, changes_when_mirrored, measure, normalization_for


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("cifar10-jpeg", "cifar10"),
        ("CIFAR-10", "cifar10"),
        ("CIFAR100", "cifar100"),
        ("fashion-mnist", "fashion-mnist"),
        ("FashionMNIST", "fashion-mnist"),
        ("fashion_mnist.parquet", "fashion-mnist"),
        ("fmnist", "fashion-mnist"),
        ("mnist", "mnist"),
        ("SVHN", "svhn"),
        ("tiny-imagenet-200", "tiny-imagenet"),
        ("ImageNet_10", "imagenet10"),
        ("Digits", "digits"),
        ("My-Pets", "My-Pets"),
        ("cifar10-c", "cifar10-c"),
    ],
)
def test_canonical_name(name: str, expected: str) -> None:
    assert canonical_name(name) == expected


def test_digits_change_when_mirrored() -> None:
    assert all(changes_when_mirrored(name) for name in ("MNIST", "svhn", "Digits"))
    assert not any(changes_when_mirrored(name) for name in ("cifar10", "fashion-mnist", "My-Pets"))


def test_measured_agrees_with_float64_statistics() -> None:
    pixels = torch.randint(0, 256, (5000, 2, 3, 4), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    found = measure(pixels)
    values = pixels.double() / 255
    assert found.mean == pytest.approx(values.mean((0, 2, 3)).tolist(), abs=1e-12)
    assert found.std == pytest.approx(values.std((0, 2, 3), correction=0).tolist(), abs=1e-12)
    assert found.source == "measured"
    assert measure(pixels.flip(0)) == found


def test_large_sums_do_not_overflow() -> None:
    pixels = torch.full((3000, 1, 32, 32), 255, dtype=torch.uint8)
    pixels[:1500] = 253
    assert measure(pixels).mean == pytest.approx((254 / 255,), abs=1e-12)
    assert measure(pixels).std == pytest.approx((1 / 255,), abs=1e-12)


def test_a_constant_channel_has_the_smallest_deviation() -> None:
    pixels = torch.zeros(4, 2, 3, 3, dtype=torch.uint8)
    pixels[:, 0] = 51
    pixels[:2, 1] = 255
    found = measure(pixels)
    assert found.mean == (0.2, 0.5)
    assert found.std == (STD_FLOOR, 0.5)
    assert torch.isfinite(found.apply(pixels / 255)).all()


RGB = torch.zeros(1, 3, 2, 2, dtype=torch.uint8)
GRAY = RGB[:, :1]


@pytest.mark.parametrize(
    ("kind", "name", "pixels", "mean", "std"),
    [
        ("published", "mnist", GRAY, (0.1307,), (0.3081,)),
        ("published", "FashionMNIST", GRAY, (0.2861,), (0.3530,)),
        ("published", "svhn", RGB, (0.4377, 0.4438, 0.4728), (0.1980, 0.2010, 0.1970)),
        ("published", "cifar10-jpeg", RGB, (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)),
        ("published", "cifar100", RGB, (0.5071, 0.4866, 0.4409), (0.2673, 0.2564, 0.2762)),
        ("idc", "cifar100", RGB, (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)),
        ("idc", "svhn", RGB, (0.4377, 0.4438, 0.4728), (0.1980, 0.2010, 0.1970)),
        ("published", "tiny-imagenet", RGB, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ("idc", "imagenet100", RGB, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    ],
)
def test_constants(kind, name, pixels, mean, std) -> None:  # type: ignore[no-untyped-def]
    found = normalization_for(kind, name, pixels)
    assert (found.mean, found.std, found.source) == (mean, std, kind)


def test_constants_that_do_not_exist_or_do_not_fit() -> None:
    with pytest.raises(InputError, match="no published normalization is known for 'pets'; set normalization"):
        normalization_for("published", "pets", RGB)
    with pytest.raises(InputError, match="of 'cifar10' has 3 channels but the images have 1"):
        normalization_for("published", "cifar10", GRAY)
    with pytest.raises(InputError, match="unknown normalization 'zca'"):
        normalization_for("zca", "cifar10", RGB)  # type: ignore[arg-type]


def test_unrounded_values_are_measured_in_float64() -> None:
    values = torch.rand(5000, 2, 3, 3, generator=torch.Generator().manual_seed(0)) * 0.01 + 0.5
    found = measure(values)
    exact = values.double()
    assert found.mean == pytest.approx(exact.mean(dim=(0, 2, 3)).tolist(), rel=1e-12)
    assert found.std == pytest.approx([STD_FLOOR, STD_FLOOR])
    wide = measure(values * 10)
    assert wide.std == pytest.approx((values * 10).double().std(dim=(0, 2, 3), unbiased=False).tolist(), rel=1e-9)


@pytest.mark.parametrize("name", ["mini_speech_commands", "Mini-Speech-Commands", "MiniSpeechCommands"])
def test_mini_speech_commands_is_known_but_has_no_constants(name: str) -> None:
    assert canonical_name(name) == "mini-speech-commands"
    with pytest.raises(InputError, match="no published normalization"):
        normalization_for("published", name, torch.zeros(1, 1, 2, 2))
