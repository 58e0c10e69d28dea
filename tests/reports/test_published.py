"""Figures of papers: read as they are printed, found by method, data and IPC."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from limbeck import registry
from limbeck.reports.published import Published, network_family, published

METHODS = Path(__file__).resolve().parents[2] / "docs" / "methods"


def test_a_figure_is_a_share_with_its_source() -> None:
    (found,) = published("dream", "cifar10", 10)
    assert found == Published(
        method="dream",
        data="cifar10",
        ipc=10,
        network="convnet3",
        accuracy=pytest.approx(0.694),
        std=pytest.approx(0.004),
        source="DREAM, table 1",
        note="",
    )


def test_names_of_data_need_no_hyphens() -> None:
    assert published(data="CIFAR-10") == published(data="cifar10") != []
    # A copy by another name is other data.
    assert published(data="cifar10-jpeg") == []


def test_all_real_images_stand_at_every_ipc() -> None:
    found = {value.method for value in published(data="cifar10", ipc=1)}
    assert {"full", "idc", "random"} <= found
    assert all((value.ipc is None) == (value.method == "full") for value in published())


def test_methods_and_networks_are_those_of_the_library() -> None:
    names = set(registry.methods()) | {"full", "idc-i"}
    for value in published():
        assert value.method in names
        assert re.fullmatch(r"convnet[345]|resnet18|resnet_ap10", value.network)
        assert 0.01 < value.accuracy < 1 and (value.std is None or 0 <= value.std < 0.1)
        assert value.source
    assert network_family("convnet3:width=32") == "convnet3"


def test_no_paper_is_counted_twice() -> None:
    keys = [(value.method, value.data, value.ipc, value.network, value.accuracy) for value in published()]
    assert len(keys) == len(set(keys))


def test_what_the_page_of_a_method_names_is_in_the_table() -> None:
    page = (METHODS / "dream.md").read_text(encoding="utf-8")
    for data in ("MNIST", "Fashion-MNIST", "SVHN", "CIFAR-10", "CIFAR-100"):
        line = next(line for line in page.splitlines() if line.startswith(f"| {data} | 1 / 10 / 50 |"))
        printed = [float(value) for value in re.findall(r"([\d.]+) ±", line)]
        assert [100 * found.accuracy for found in published("dream", data)] == pytest.approx(printed)
