from __future__ import annotations

import pytest

from limbeck.core.errors import InputError
from limbeck.core.recipe import Recipe
from limbeck.data import Data
from limbeck.labelers.by_pool import ByPool
from limbeck.methods.idc import idc
from limbeck.methods.random import random
from limbeck.pools.pretrained import Pretrained
from limbeck.reports.budget import largest_ipc, parse_bytes, set_bytes


@pytest.mark.parametrize(
    ("text", "count"),
    [
        *(("640", 640), ("1 B", 1), ("64KiB", 65536), ("64 kib", 65536), ("1.5MB", 1_500_000), ("2GiB", 2 * 1024**3)),
        *(("1kb", 1000), ("0.5 MiB", 524_288), (" 7b ", 7)),
    ],
)
def test_numbers_of_bytes(text: str, count: int) -> None:
    assert parse_bytes(text) == count


@pytest.mark.parametrize("text", ["", "0", "-1", "64 K", "KiB", "1e3", "0.1 B", "ten MB", "64KiBs"])
def test_what_is_no_number_of_bytes(text: str) -> None:
    with pytest.raises(InputError, match="is no number of bytes; write for example"):
        parse_bytes(text)


def labelled(ipc: int) -> Recipe:
    return random().with_(labeler=ByPool(), pool=Pretrained())


def packed(ipc: int) -> Recipe:
    return idc("digits", factor=2).with_(labeler=ByPool(), pool=Pretrained())


@pytest.mark.parametrize("budget", [1040, 2079, 2080, 5000, 10_000])
def test_it_is_the_largest_that_fits(budget: int, digits: Data) -> None:
    """By trying all: 640 bytes of pixels and, of labels, 400 for each decoded image per class."""
    for make, labels in ((labelled, 400), (lambda ipc: random(), 0)):
        found = largest_ipc(budget, "it", make, digits.train)
        assert found == max(ipc for ipc in range(1, 100) if ipc * (640 + labels) <= budget)
        assert set_bytes(make(found), found, digits.train) == found * (640 + labels)
    assert set_bytes(packed(2), 2, digits.train) == 2 * 640 + 400 * 2 * 4
    assert largest_ipc(budget, "it", labelled, digits.train, teacher=40) == (budget - 40) // 640


def test_what_does_not_fit_is_refused(digits: Data) -> None:
    with pytest.raises(InputError, match=r"a set of 'it' with one image per class has 1.02 KiB, more than .*; raise"):
        largest_ipc(1039, "it", labelled, digits.train)
    with pytest.raises(InputError, match=r"\(1.00 KiB\), has 1.62 KiB, more than the budget .*--labels hard"):
        largest_ipc(1024 + 639, "it", labelled, digits.train, teacher=1024)
    smallest = min(digits.train.class_counts())
    assert largest_ipc(640 * smallest, "it", lambda ipc: random(), digits.train) == smallest
    with pytest.raises(InputError, match=rf"'digits' has \({smallest}\); lower --budget"):
        largest_ipc(640 * (smallest + 1), "it", lambda ipc: random(), digits.train)
