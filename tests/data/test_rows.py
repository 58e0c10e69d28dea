from __future__ import annotations

import pytest
import torch

from limbeck.data.rows import ClassRows, as_rows, row_of


def test_rows_of_a_class_are_in_the_order_of_the_set() -> None:
    rows = ClassRows(torch.tensor([2, 0, 2, 0, 2]), 4)
    assert [rows(label).tolist() for label in range(4)] == [[1, 3], [], [0, 2, 4], []]
    for label in (-1, 4):
        with pytest.raises(IndexError, match=rf"label {label} lies outside 0\.\.3"):
            rows(label)


def test_rows_are_integers() -> None:
    assert as_rows([3, 1]).tolist() == [3, 1] and as_rows([]).dtype == torch.int64
    with pytest.raises(TypeError, match="turn a mask into rows"):
        as_rows(torch.tensor([True, False]))


def test_negative_rows_count_from_the_end() -> None:
    assert [row_of(index, 3) for index in (0, 2, -1, -3)] == [0, 2, 2, 0]
    for index in (3, -4):
        with pytest.raises(IndexError, match=f"row {index} lies outside a set of 3 images"):
            row_of(index, 3)
