from __future__ import annotations

import pytest
import torch

from limbeck.core.errors import InputError
from limbeck.core.streams import Stream
from limbeck.ops import selection


def test_herding_follows_the_mean_and_can_take_all() -> None:
    features = Stream(0).normal(40, 3)
    order = selection.herding(features, 40)
    assert order.unique().numel() == 40
    apart = [(features[order[: k + 1]].mean(0) - features.mean(0)).norm() for k in range(40)]
    random = [(features[: k + 1].mean(0) - features.mean(0)).norm() for k in range(40)]
    assert sum(apart) < sum(random) / 3


def test_herding_starts_nearest_to_the_mean() -> None:
    features = Stream(1).normal(30, 4)
    nearest = (features - features.mean(0)).norm(dim=1).argmin()
    assert selection.herding(features, 1).tolist() == [int(nearest)]


def test_k_center_takes_the_farthest() -> None:
    line = torch.tensor([[0.0], [1.0], [10.0], [4.0], [10.0]])
    assert selection.k_center(line, 5, 0).tolist() == [0, 2, 3, 1, 4]
    assert selection.k_center(line, 2, torch.tensor(3)).tolist() == [3, 2]


def test_ties_go_to_the_lowest_row_and_copies_are_taken_once() -> None:
    same = torch.ones(4, 2)
    assert selection.herding(same, 4).tolist() == [0, 1, 2, 3]
    assert selection.k_center(same, 4, 1).tolist() == [1, 0, 2, 3]


@pytest.mark.parametrize("count", [0, 5])
def test_impossible_counts_are_refused(count: int) -> None:
    with pytest.raises(InputError, match="rows"):
        selection.herding(torch.ones(4, 2), count)
    with pytest.raises(InputError, match="rows"):
        selection.k_center(torch.ones(4, 2), count, 0)


def test_forgetting_counts_right_then_wrong() -> None:
    right, wrong = 1, 0
    visits = torch.tensor(
        [
            [right, right, wrong, wrong, right],
            [wrong, right, right, wrong, right],
            [right, right, wrong, wrong, wrong],
            [wrong, right, right, wrong, wrong],
        ]
    )
    events = selection.forgetting_events(visits, torch.ones(5, dtype=torch.int64))
    assert events.tolist() == [2, 0, 1, 0, 1]
    events = selection.forgetting_events(visits, torch.ones(5, dtype=torch.int64), "infinity")
    assert events.tolist() == [2, 0, 1, torch.inf, 1]


def test_the_first_visit_forgets_nothing() -> None:
    labels = torch.tensor([0, 1])
    assert selection.forgetting_events(torch.tensor([[0, 0]]), labels).tolist() == [0, 0]
    assert selection.forgetting_events(torch.tensor([[0, 0]]), labels, "infinity").tolist() == [0, torch.inf]


def test_the_largest_come_first_and_ties_from_behind() -> None:
    scores = torch.tensor([1.0, 3.0, 0.0, 3.0, torch.inf, 1.0])
    assert selection.largest(scores, 6).tolist() == [4, 3, 1, 5, 0, 2]
    assert selection.largest(scores, 2).tolist() == [4, 3]
    with pytest.raises(InputError, match="rows"):
        selection.largest(scores, 7)
