from __future__ import annotations

import json
import statistics
from dataclasses import replace
from typing import Any

import pytest
from scipy import stats

from limbeck.evaluation.protocols import Protocol
from limbeck.reports.comparison import Comparison, Row, differences, told_apart

PROTOCOL = Protocol(name="tiny", networks=("convnet1:width=4",), repeats=2, budget="updates", length=3)


def row(
    method: str, accuracies: tuple[float, ...], ipc: int = 1, seeds: tuple[int, ...] = (0, 1, 2), **more: Any
) -> Row:
    coreset = method if method in ("random", "herding") else ""
    return Row(method, ipc, 640 * ipc, 10 * ipc, accuracies, 65.0, 2.0, seeds, coreset=coreset, **more)


RANDOM = row("random", (0.50, 0.52, 0.54, 0.56, 0.50, 0.50))
HERDING = row("herding", (0.55, 0.57, 0.53, 0.55, 0.56, 0.58))
METHOD = row("dm", (0.60, 0.62, 0.66, 0.68, 0.58, 0.60))


def test_seeds_are_means_over_networks() -> None:
    assert METHOD.seed_means == pytest.approx((0.61, 0.67, 0.59))
    assert METHOD.std == pytest.approx(statistics.stdev(METHOD.seed_means))


def test_differences_are_paired_by_seed() -> None:
    (_, none), (to_random, best), (method, beaten) = differences((RANDOM, HERDING, METHOD))
    assert none is None and best is None  # coresets are compared with random images alone
    assert to_random is not None and to_random.other is RANDOM
    assert method is not None and beaten is not None and beaten.other is HERDING
    expected = stats.ttest_rel(METHOD.seed_means, RANDOM.seed_means)
    interval = expected.confidence_interval(0.95)
    assert (method.interval.low, method.interval.high) == pytest.approx((interval.low, interval.high))
    assert method.interval.mean == pytest.approx((0.10 + 0.12 + 0.09) / 3)


@pytest.mark.parametrize(
    "changes", [{"ipc": 2}, {"label_kind": "teacher"}, {"budget": 700}, {"seeds": (0, 1, 3)}], ids=str
)
def test_only_what_stands_beside_is_compared(changes: dict[str, Any]) -> None:
    other = replace(METHOD, **changes)
    assert differences((RANDOM, other))[1] == (None, None)


def test_rows_of_one_budget_stand_beside_one_another_whatever_their_ipc() -> None:
    random, method = replace(RANDOM, budget=2000, ipc=3), replace(METHOD, budget=2000, ipc=1)
    difference, _ = differences((random, method))[1]
    assert difference is not None and difference.as_plain()["other_ipc"] == 3


def test_all_real_images_are_no_method() -> None:
    full = replace(METHOD, method="full", ipc=0)
    assert differences((RANDOM, full))[1] == (None, None)


def test_one_seed_has_no_interval() -> None:
    one = [replace(each, seeds=(0,), accuracies=each.accuracies[:2]) for each in (RANDOM, METHOD)]
    plain = Comparison("digits", PROTOCOL, tuple(one)).as_plain()["differences"]
    assert [(entry["low"], entry["high"], entry["n"]) for entry in plain] == [(None, None, 1)] * 2


def test_as_plain_data() -> None:
    comparison = Comparison("digits", PROTOCOL, (RANDOM, HERDING, METHOD), cut_after=60.0)
    plain = json.loads(json.dumps(comparison.as_plain()))
    assert plain["cut_after"] == 60.0
    found = {(entry["method"], entry["other"]) for entry in plain["differences"]}
    assert found == {("herding", "random"), ("dm", "random"), ("dm", "herding")}
    (one,) = [entry for entry in plain["differences"] if (entry["method"], entry["other"]) == ("dm", "random")]
    assert set(one) == {
        *("method", "ipc", "label_kind", "other", "other_ipc", "mean", "low", "high", "n", "confidence"),
    }
    assert "cut_after" not in Comparison("digits", PROTOCOL, ()).as_plain()


def test_kinds_of_labels_are_told_apart() -> None:
    taught = replace(METHOD, label_kind="teacher")
    assert [each.method for each in told_apart((METHOD, taught))] == ["dm (hard labels)", "dm (soft labels)"]
    assert told_apart((METHOD, RANDOM)) == [METHOD, RANDOM]
