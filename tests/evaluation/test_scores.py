from __future__ import annotations

import pytest

from limbeck.core.execution import Execution
from limbeck.evaluation.protocols import Protocol
from limbeck.evaluation.scores import NetworkScores, Scores

PROTOCOL = Protocol(name="tiny", networks=("a", "b"), repeats=2, budget="updates", length=4)
LOW = Execution(precision="bfloat16")
A = NetworkScores("a", (0.5, 0.7), (1, 2), 0.01, LOW, best=(0.6, 0.8))
B = NetworkScores("b", (0.9, 0.3), (3, 4), 0.02, LOW, best=(0.9, 0.5))


def test_means_and_deviations_are_those_of_samples() -> None:
    assert (A.mean, A.std) == pytest.approx((0.6, 0.02**0.5))
    both = Scores(PROTOCOL, (A, B), 20, 100, 0, 1.0)
    assert both.mean == pytest.approx(0.6)
    assert both.std == pytest.approx((0.2 / 3) ** 0.5)
    assert both.selected_on_test == pytest.approx(0.7)
    assert both.precision == "bfloat16"


def test_one_network_has_no_deviation_and_one_look_selects_nothing() -> None:
    alone = Scores(PROTOCOL, (NetworkScores("a", (0.5,), (1,), 0.01),), 20, 100, 0, 1.0)
    assert alone.std == alone.networks[0].std == 0.0
    assert alone.selected_on_test is None


def test_labels_without_a_teacher_are_hard_or_the_sets_own() -> None:
    hard, own = (Scores(PROTOCOL, (A, B), 20, 100, 0, 1.0, own_label_bytes=size) for size in (0, 800))
    assert (hard.label_kind, hard.label_bytes) == ("hard", 0)
    assert (own.label_kind, own.label_bytes) == ("own", 800)
