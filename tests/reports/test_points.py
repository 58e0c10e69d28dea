"""Points of figures: what was judged alike stands together, over the seeds of a method."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import Any

import pytest

from limbeck.methods.random import random
from limbeck.reports.entries import Entry
from limbeck.reports.points import reached


def judged(
    length: int = 3, *, details: tuple[dict[str, Any], ...] = (), **networks: tuple[float, ...]
) -> dict[str, Any]:
    """An evaluation as it is written, as far as points need it."""
    return {
        "protocol": {"name": "tiny", "length": length},
        "networks": [
            {"network": name, "accuracies": list(values), "details": list(details)} for name, values in networks.items()
        ],
        "bytes_labels": 100,
    }


def test_seeds_are_averaged_and_deviate(entry: Callable[..., Entry]) -> None:
    first, second = judged(a=(0.1, 0.3), b=(0.5,)), judged(a=(0.4, 0.4), b=(0.4,))
    entries = [
        entry(evaluations=(first,), record={"seconds": 2.0}),
        entry(seed=1, evaluations=(second,), record={"seconds": 4.0}),
        entry("picked", random()),
    ]
    (figure,) = reached(entries)
    (point,) = figure.points
    assert figure.title == "digits, protocol tiny"
    assert (point.entry, point.network, point.seconds) == (entries[0], "", 3.0)
    assert point.bytes == entries[0].distilled.bytes + 100
    assert point.seeds == ((0.1, 0.3, 0.5), (0.4, 0.4, 0.4))
    assert point.mean == pytest.approx(0.35)
    assert point.std == pytest.approx(statistics.stdev([0.3, 0.4]))
    assert point.networks == 6


def test_architectures_are_told_apart_where_that_is_asked(entry: Callable[..., Entry]) -> None:
    (figure,) = reached([entry(evaluations=(judged(a=(0.1, 0.3), b=(0.5,)),))], by_network=True)
    assert [(point.network, point.seeds) for point in figure.points] == [("a", ((0.1, 0.3),)), ("b", ((0.5,),))]
    assert figure.points[0].std == pytest.approx(statistics.stdev([0.1, 0.3]))
    assert figure.points[1].std is None and figure.points[0].seconds is None


def test_what_was_judged_otherwise_stands_apart(entry: Callable[..., Entry]) -> None:
    elsewhere = {"data": "photos", **judged(a=(0.2,))}
    taught = {**judged(a=(0.3,)), "labels": {"teacher": {"network": "t"}}}
    figures = reached([entry(evaluations=(judged(a=(0.1,)), judged(7, a=(0.4,)), elsewhere, taught))])
    assert [figure.points[0].mean for figure in figures] == [0.1, 0.4, 0.2, 0.3]
    assert figures[2].title == "digits, judged on photos, protocol tiny"
    assert figures[3].title == "digits, protocol tiny, soft labels"


def test_details_of_all_networks_come_along(entry: Callable[..., Entry]) -> None:
    one, two = {"confusion": [[1]]}, {"confusion": [[2]]}
    entries = [
        entry(evaluations=(judged(details=(one,), a=(0.1,)),)),
        entry(seed=1, evaluations=(judged(details=(two,), a=(0.1,)),)),
    ]
    assert reached(entries)[0].points[0].details == (one, two)
