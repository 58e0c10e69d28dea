"""Ours beside published values: only what belongs together, and always named as published."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from limbeck.methods.dream import dream
from limbeck.methods.idc import idc
from limbeck.reports.beside_published import pairs, published_dots, published_section
from limbeck.reports.entries import Entry
from limbeck.reports.plain_table import as_csv
from tests.reports.test_points import judged


def on(entry: Entry, data: str) -> Entry:
    spec = replace(entry.distilled.spec, name=data, digest=data)
    return replace(entry, run=replace(entry.run, distilled=replace(entry.distilled, spec=spec)))


def test_data_size_and_family_of_the_network_must_fit(entry: Callable[..., Entry]) -> None:
    evaluation = judged(**{"convnet3:width=32": (0.2, 0.4), "resnet18": (0.3,)})
    fits = on(entry("dream", dream(), evaluations=(evaluation,)), "cifar10")
    (pair,) = pairs([fits])
    assert pair.ours.network == "convnet3:width=32" and pair.ours.mean == pytest.approx(0.3)
    assert (pair.printed.accuracy, pair.printed.std) == (0.511, 0.003)
    other_size = on(entry("dream", dream(), ipc=7, evaluations=(evaluation,)), "cifar10")
    elsewhere = on(entry("dream", dream(), evaluations=({"data": "photos", **evaluation},)), "cifar10")
    copy = on(entry("dream", dream(), evaluations=(evaluation,)), "cifar10-jpeg")
    assert pairs([other_size, elsewhere, copy]) == []
    assert published_section([copy], {}) is None


def test_idc_with_one_image_in_each_is_what_papers_call_idc_i(entry: Callable[..., Entry]) -> None:
    evaluations = (judged(convnet3=(0.2,)),)
    found = pairs(
        [
            on(entry(f"factor {factor}", idc("cifar10", factor=factor), evaluations=evaluations), "cifar10")
            for factor in (1, 2)
        ]
    )
    assert [pair.printed.method for pair in found] == ["idc-i", "idc"]


def test_the_table_names_source_and_protocol(entry: Callable[..., Entry]) -> None:
    section = published_section(
        [on(entry("dream", dream(), evaluations=(judged(convnet3=(0.25,)),)), "cifar10")], {"dream": "#000000"}
    )
    assert section is not None
    assert "published" in section["figure"].alt and "25.0 here, 51.1 ± 0.3 published" in section["figure"].alt
    line = as_csv(section["table"]).splitlines()[1]
    assert line == '1,dream,cifar10,0.25,,0.511,0.003,convnet3,tiny,"DREAM, table 1",'
    assert b"published, other protocol" in section["figure"].draw(400, "svg")
    with pytest.raises(ValueError, match="no published"):
        published_dots([])
