from __future__ import annotations

from limbeck.core.executor import InProcess


def test_results_come_in_order_and_one_at_a_time() -> None:
    started: list[int] = []

    def square(task: int) -> int:
        started.append(task)
        return task * task

    results = InProcess().map(square, [3, 1, 2])
    assert started == []
    assert next(results) == 9
    assert started == [3]
    assert list(results) == [1, 4]
    assert started == [3, 1, 2]
