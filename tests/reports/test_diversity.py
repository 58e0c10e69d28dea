"""Tables of diversity and the scatter of real and distilled images."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from limbeck.core.distilled import Distilled
from limbeck.data import Data
from limbeck.methods.idc import idc
from limbeck.reports.diversity import class_scatter, diversity_tables, relative_distances
from limbeck.reports.runs import Run


def measured(*distances: float, **changes: Any) -> dict[str, Any]:
    """Diversity as it is written, of two classes with these feature distances."""
    classes = [{"feature_distance": value, "pair_distance": value / 2, "coverage": 0.5} for value in distances]
    mean = {name: sum(entry[name] for entry in classes) / len(classes) for name in classes[0]}
    protocol = {"network": "convnet3", "training": {"lr": 0.01}, "epochs": 20, "projection": "tsne"}
    return {
        **{"mean": mean, "protocol": protocol, "seed": 0, "features": "flattened map", "dimensions": 8},
        **{"teacher_accuracy": 0.9, "images": [10, 10], "real_images": [50, 50], "classes": classes, "scatter": []},
        **changes,
    }


SCATTER = [
    {"label": label, "real": [[0.1 * k, k % 3] for k in range(20)], "synthetic": [[1.0, 1.5], [0.5, label]]}
    for label in range(4)
]


@pytest.fixture
def run(digits: Data) -> Run:
    distilled = Distilled(torch.zeros(10, 10, 1, 8, 8), digits.spec, idc("digits"), 0)
    return Run(Path("run"), distilled, {}, (), ())


def test_relative_distances_are_class_by_class() -> None:
    assert relative_distances([measured(1.0, 8.0), measured(4.0, 2.0)]) == [(0.25 + 1) / 2, (1 + 0.25) / 2]
    assert relative_distances([measured(3.0, 0.0)]) == [0.5]


def test_runs_of_a_method_are_averaged_and_related_to_all(run: Run) -> None:
    runs = [
        replace(run, diversities=(found,)) for found in (measured(1.0, 8.0), measured(3.0, 4.0), measured(4.0, 2.0))
    ]
    (table,) = diversity_tables([*runs, run], ["idc", "idc", "random", "idc"])
    assert table.data == "digits"
    first, second = table.rows
    assert (first.label, first.ipc, first.runs, first.images) == ("idc", 10, 2, 10)
    assert first.figures["feature_distance"] == (4.5 + 3.5) / 2
    assert first.relative == pytest.approx(((0.25 + 1) / 2 + (0.75 + 0.5) / 2) / 2)
    assert second.relative == pytest.approx((1 + 0.25) / 2)


def test_only_sets_of_one_size_are_related(run: Run) -> None:
    small = measured(1.0, 2.0, images=[1, 1])
    (table,) = diversity_tables(
        [replace(run, diversities=(measured(1.0, 8.0),)), replace(run, diversities=(small,))], ["idc", "random"]
    )
    assert [row.relative for row in table.rows] == [None, None]


def test_what_was_measured_otherwise_has_a_table_of_its_own(run: Run) -> None:
    other = measured(1.0, 2.0)
    other["protocol"] = {**other["protocol"], "epochs": 3}
    elsewhere = measured(1.0, 2.0, data="photos")
    drawn = measured(1.0, 8.0, scatter=SCATTER)
    drawn["protocol"] = {**drawn["protocol"], "projection": "pca"}
    tables = diversity_tables([replace(run, diversities=(measured(1.0, 8.0), other, elsewhere, drawn))], ["idc"])
    assert [table.data for table in tables] == ["digits", "digits", "digits, measured against photos"]
    assert [table.measured["protocol"]["epochs"] for table in tables] == [20, 3, 20]
    # What differs only in how it is drawn is the same measurement.
    assert [row.runs for table in tables for row in table.rows] == [1, 1, 1]
    assert tables[0].rows[0].first["scatter"] == SCATTER


def test_missing_figures_stay_missing(run: Run) -> None:
    found = measured(1.0, 2.0)
    found["mean"]["pair_distance"] = None
    (table,) = diversity_tables([replace(run, diversities=(found,))], ["idc"])
    assert table.rows[0].figures["pair_distance"] is None


@pytest.mark.parametrize("width", [350, 1000])
def test_a_scatter_has_dots_and_stars(width: int) -> None:
    names = ("zero", "_one", "$two$", "three")
    content = class_scatter(SCATTER, names, width)
    with Image.open(io.BytesIO(content)) as image:
        assert abs(image.width - 2 * width) <= 1
        colours = {colour for _, colour in image.convert("RGB").getcolors(maxcolors=2**24) or []}
    assert (0xD5, 0x5E, 0x00) in colours
    assert class_scatter(SCATTER, names, width) == content
    svg = class_scatter(SCATTER, names, width, "svg").decode()
    assert all(text in svg for text in ("real images", "distilled images", "zero", "three"))


def test_nothing_to_draw_is_refused() -> None:
    with pytest.raises(ValueError, match="no scatter"):
        class_scatter([], ("zero",))
