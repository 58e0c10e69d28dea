from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import Any

import pytest

from limbeck.reports.canvas import canvas
from limbeck.reports.curves import MeanAccuracy, accuracy_cell, judged_on, limited, named, over_seeds, protocol_of
from limbeck.reports.entries import Entry
from limbeck.reports.figures import method_colours


def judged(*networks: tuple[float, ...]) -> dict[str, Any]:
    return {"networks": [{"accuracies": list(accuracies)} for accuracies in networks]}


def test_the_mean_of_seeds_deviates_by_their_means_and_that_of_one_by_its_networks() -> None:
    several = over_seeds([[judged((0.2, 0.4)), judged((0.6,))], [judged((0.5,), (0.7,))]])
    assert several["mean"] == pytest.approx(0.5) and several["networks"] == 5
    assert several["std"] == pytest.approx(statistics.stdev([0.4, 0.6]))
    assert over_seeds([[judged((0.2, 0.4))]])["std"] == pytest.approx(statistics.stdev([0.2, 0.4]))
    assert over_seeds([[judged((0.2,))]]) == {"mean": 0.2, "std": 0.0, "networks": 1}


def test_a_single_network_has_no_deviation_in_a_table() -> None:
    alone, pair = (accuracy_cell(MeanAccuracy(mean=0.5, std=0.01, networks=networks)) for networks in (1, 2))
    assert (alone.text, alone.exact) == ("50.0", (0.5, None))
    assert (pair.text, pair.exact) == ("50.0 ± 1.0", (0.5, 0.01))


def test_a_title_says_what_judged(entry: Callable[..., Entry]) -> None:
    run = entry().run
    assert judged_on(run, {}) == "digits" and judged_on(run, {"data": "letters"}) == "digits, judged on letters"
    assert protocol_of({"protocol": {"name": "idc"}, "labels": None}) == "idc"
    assert protocol_of({"protocol": {"name": "idc"}, "labels": {"teacher": 1}}) == "idc, soft labels"


def test_every_method_stands_in_the_legend_once() -> None:
    colours, legend = named(["dm", "idc", "dm"], {"idc": "#123456"})
    assert [line.get_label() for line in legend] == ["dm", "idc"]
    assert colours == {**method_colours(["dm", "idc"]), "idc": "#123456"} and legend[1].get_color() == "#123456"
    with pytest.raises(ValueError, match="no curves"):
        named([], None)


def test_axes_have_room_for_all_marks() -> None:
    _, (axis,) = canvas(1, 400, 200, [], below=40)
    limited(axis, [0, 10], [(0.5, 0.1), (0.9, 0.0)], whole=True)
    assert axis.get_xlim() == pytest.approx((-0.4, 10.4)) and axis.get_ylim() == pytest.approx((37.5, 92.5))
