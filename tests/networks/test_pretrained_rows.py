from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from limbeck.core.errors import InputError
from limbeck.core.real import DataSpec
from limbeck.networks.pretrained_rows import in_our_names, rows_of

Spec = Callable[..., DataSpec]
GIVEN = {"conv": torch.arange(4.0), "fc.weight": torch.arange(6.0).reshape(3, 2), "fc.bias": torch.arange(3.0)}


def own(name: str) -> str:
    return name.replace("fc.", "classifier.") if name.startswith("fc.") else f"body.{name}"


def test_rows_are_all_or_those_that_are_named(spec: Spec) -> None:
    assert rows_of("weights", 10, spec(), None) == list(range(10))
    assert rows_of("weights", 20, spec(), range(19, 9, -1)) == list(range(19, 9, -1))
    with pytest.raises(InputError, match="weights know 20 classes, the data have 10; say by classes="):
        rows_of("weights", 20, spec(), None)
    for classes in (range(9), range(11, 21), [0] * 10):
        with pytest.raises(InputError, match="must name 10 different classes from 0 to 19"):
            rows_of("weights", 20, spec(), classes)


def test_names_rows_and_dtypes_are_ours() -> None:
    wanted = {
        "body.conv": torch.zeros(4, dtype=torch.float64),
        "classifier.weight": torch.zeros(2, 2),
        "classifier.bias": torch.zeros(2),
    }
    found = in_our_names(GIVEN, own, [2, 0], wanted, "weights", "net")
    assert found["classifier.weight"].tolist() == [[4.0, 5.0], [0.0, 1.0]] and found["classifier.bias"].tolist() == [
        2,
        0,
    ]
    assert list(found) == list(wanted) and found["body.conv"].dtype == torch.float64
    with pytest.raises(InputError, match=r"weights do not fit 'net' \(.*\); train the network"):
        in_our_names(GIVEN, own, [0], wanted, "weights", "net")
