from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from limbeck.core.errors import InputError
from limbeck.ops import difficulty as ops

TEN = torch.arange(10)


@pytest.mark.parametrize(
    ("ipc", "sizes"),
    [
        (1, (1,)),
        (9, (9,)),
        (10, (5, 5)),
        (19, (10, 9)),
        (20, (7, 7, 6)),
        (49, (17, 16, 16)),
        (50, (10,) * 5),
        (199, (40, 40, 40, 40, 39)),
        (200, (20,) * 10),
    ],
)
def test_segments_by_images_per_class(ipc: int, sizes: tuple[int, ...]) -> None:
    assert ops.segment_sizes(ipc) == sizes and sum(sizes) == ipc


def test_shares_of_the_iterations() -> None:
    assert ops.shares(2000, (10, 30, 10), 200) == (400, 1200, 400)
    assert ops.shares(500, (10, 30, 10), 200) == (200, 300, 200)


@pytest.mark.parametrize("total", [1, 7, 100, 1999, 2000])
@pytest.mark.parametrize("sizes", [(7, 7, 6), (10,) * 5, (34, 33, 33, 100), (2, 1, 1, 1)])
def test_shares_add_up(total: int, sizes: tuple[int, ...]) -> None:
    shares = ops.shares(total, sizes, 0)
    assert sum(shares) == total
    exact = [total * size / sum(sizes) for size in sizes]
    assert all(abs(share - wanted) <= 1 for share, wanted in zip(shares, exact, strict=True))


def test_ranks_with_ties_by_position() -> None:
    assert ops.ranked(torch.tensor([0.5, 0.1, 0.5, 0.0, 0.1])).tolist() == [3, 1, 4, 0, 2]


@pytest.mark.parametrize(
    ("order", "starts"),
    [
        ("easy_to_hard", [0.0, 0.275, 0.55]),
        ("hard_to_easy", [0.55, 0.275, 0.0]),
        ("random_parts", [0.0, 0.275, 0.55]),
        ("all_hard", [0.55, 0.55, 0.55]),
    ],
)
def test_windows_move_by_the_order(order: ops.Order, starts: list[float]) -> None:
    found = [ops.window(number, 3, 0.4, 0.05, order) for number in range(3)]
    assert [start for start, _ in found] == pytest.approx(starts)
    assert [stop - start for start, stop in found] == pytest.approx([0.4] * 3)


def test_windows_end_where_outliers_begin() -> None:
    assert ops.window(2, 3, 1.0, 0.1, "easy_to_hard") == pytest.approx((0.0, 0.9))
    assert ops.window(1, 2, 0.4, 0.05, "all_all") == (0.0, 1.0)


@pytest.mark.parametrize(
    ("start", "stop", "least", "places"),
    [
        (0.0, 0.4, 0, [0, 1, 2, 3]),  # ranks are 0.05, 0.15, ...
        (0.25, 0.45, 0, [2, 3, 4]),  # both ends belong to it
        (0.26, 0.44, 0, [3]),
        (0.26, 0.44, 3, [2, 3, 4]),
        (0.26, 0.44, 4, [1, 2, 3, 4]),
        (0.0, 0.1, 4, [0, 1, 2, 3]),  # nothing easier is left
        (0.7, 0.9, 6, [3, 4, 5, 6, 7, 8]),  # the outlier stays out
        (0.26, 0.44, 20, list(range(9))),
    ],
)
def test_pools(start: float, stop: float, least: int, places: list[int]) -> None:
    assert ops.pool(TEN, start, stop, 0.9, least).tolist() == places
    backwards = ops.pool(TEN.flip(0), start, stop, 0.9, least)
    assert backwards.tolist() == sorted(9 - place for place in places)


def test_a_random_order_keeps_the_outliers() -> None:
    order = torch.tensor([3, 1, 4, 0, 2])
    assert ops.shuffled(order, 0.2, torch.tensor([2, 4, 0, 3, 1])).tolist() == [4, 3, 0, 1, 2]


def rows(*values: int) -> Tensor:
    return torch.tensor(values, dtype=torch.int64)


def test_overlap() -> None:
    assert ops.overlap(rows(1, 2, 3), rows(3, 4)) == 0.25
    assert ops.overlap(rows(1, 2), rows(2, 1)) == 1.0
    assert ops.overlap(rows(), rows()) == 0.0


def test_how_many_became_easier() -> None:
    before = torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0])
    assert ops.easier(before, before) == pytest.approx(0.4)
    assert ops.easier(before, before - 2) == pytest.approx(0.8)
    assert ops.easier(before, before + 9) == 0.0


@pytest.mark.parametrize(
    ("ipc", "count", "sizes"),
    [(10, 4, (4, 2, 2, 2)), (50, 0, (17, 9, 8, 8, 8)), (9, 0, (9,)), (10, 3, (5, 3, 2)), (7, 1, (7,))],
)
def test_front_loaded_segments(ipc: int, count: int, sizes: tuple[int, ...]) -> None:
    found = ops.segment_sizes(ipc, count, front_loaded=True)
    assert found == sizes and sum(found) == ipc


def test_as_many_segments_as_asked_for() -> None:
    assert ops.segment_sizes(50, 3) == (17, 17, 16) and ops.segment_sizes(4, 4) == (1, 1, 1, 1)


def logits_of(*chances: tuple[float, ...]) -> Tensor:
    """Logits of one network, up to what softmax does not see."""
    return torch.tensor(chances, dtype=torch.float64).log() + 3.0


def test_scores_by_hand() -> None:
    sure, unsure = (0.8, 0.1, 0.1), (0.5, 0.3, 0.2)
    logits = torch.stack([logits_of(sure, unsure), logits_of(unsure, unsure)])
    labels = rows(0, 1)
    loss = ops.scored("loss", logits, labels)
    assert loss.tolist() == pytest.approx([-(math.log(0.8) + math.log(0.5)) / 2, -math.log(0.3)])
    far = [math.dist(sure, (1, 0, 0)), math.dist(unsure, (1, 0, 0)), math.dist(unsure, (0, 1, 0))]
    assert ops.scored("el2n", logits, labels).tolist() == pytest.approx([(far[0] + far[1]) / 2, far[2]])
    assert ops.scored("margin", logits, labels).tolist() == pytest.approx([(-0.7 - 0.2) / 2, 0.2])
    mean = [(a + b) / 2 for a, b in zip(sure, unsure, strict=True)]

    def entropy(chances: Sequence[float]) -> float:
        return -sum(chance * math.log(chance) for chance in chances)

    apart = entropy(mean) - (entropy(sure) + entropy(unsure)) / 2
    assert ops.scored("disagreement", logits, labels).tolist() == pytest.approx([apart, 0.0], abs=1e-12)
    with pytest.raises(InputError, match="none of logits"):
        ops.scored("forgetting", logits, labels)


@pytest.mark.parametrize(
    ("right", "start", "stop"),
    [(0.5, 0.3, 0.7), (0.1, 0.0, 0.4), (0.0, 0.0, 0.4), (1.0, 0.55, 0.95), (0.8, 0.55, 0.95)],
)
def test_windows_around_the_frontier(right: float, start: float, stop: float) -> None:
    assert ops.frontier(right, 0.4, 0.05) == pytest.approx((start, stop))
    assert ops.frontier(right, 1.0, 0.05) == pytest.approx((0.0, 0.95))


def test_chosen_rows_and_the_rest() -> None:
    members, difficulty = torch.arange(10) * 3, torch.arange(10.0).flip(0)
    pool, rest = ops.chosen(members, difficulty, (0.0, 0.4), 0.1, 0)
    assert pool.tolist() == [18, 21, 24, 27] and rest.tolist() == list(range(3, 30, 3))  # row 0 is the hardest
    pool, rest = ops.chosen(members, difficulty, (0.0, 1.0), 0.1, 0)
    assert torch.equal(pool, members) and not len(rest)
    at_random, rest = ops.chosen(members, difficulty, (0.0, 0.4), 0.1, 0, torch.tensor([8, 9, 0, 2, 4, 6, 1, 3, 5, 7]))
    assert at_random.tolist() == [3, 15, 21, 27] and len(rest) == 9


def test_where_segments_start() -> None:
    members, permutation = torch.arange(8) * 2, torch.arange(8).flip(0)
    found = [ops.starts(members, members, permutation, (1, 1, 2), number, 1) for number in range(3)]
    assert [some.tolist() for some in found] == [[12, 14], [8, 10], [0, 2, 4, 6]]
    pool = rows(0, 2, 14)
    assert ops.starts(members, pool, permutation, (1, 1, 2), 0, 1).tolist() == [14]
    assert ops.starts(members, pool, permutation, (1, 1, 2), 0, 2).tolist() == [2, 14]
    assert ops.starts(members, pool, permutation, (1, 1, 2), 0, 9).tolist() == [0, 2, 14]


def test_what_is_told_of_pools() -> None:
    before, after = torch.tensor([1.0, 2.0, 3.0, 4.0]), torch.tensor([0.5, 0.5, 5.0, 0.5])
    first = ops.figures([rows(0, 1), rows(2, 3)], None, None, None)
    assert first == {"pool": [2, 2]}
    told = ops.figures([rows(1), rows(2)], after, [rows(0, 1), rows(2, 3)], before)
    assert told == {
        "pool": [1, 1],
        "difficulty": 2.75,
        "difficulty_of_all": 1.625,
        "overlap": 0.5,
        "last_pool_easier": 0.75,
        "last_all_easier": 0.75,
    }
    assert "last_pool_easier" not in ops.figures([rows(1)], after, [rows(0)], None)
