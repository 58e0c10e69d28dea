from __future__ import annotations

from limbeck.storage.differences import first_difference


def test_the_first_difference_in_the_order_of_what_is_asked_for() -> None:
    there = {"a": 1, "b": {"c": 2, "d": 3}, "e": 5}
    assert first_difference(there, dict(reversed(there.items()))) == ""
    assert first_difference(there, {"b": {"d": 3, "c": 4}, "a": 0}) == "its b.c is 2, now 4 is asked for"
    assert first_difference(there, {"a": 1, "b": {"c": 2, "d": 3}}) == "its e is 5, now None is asked for"


def test_long_values_are_cut() -> None:
    words = first_difference({"a": "x" * 100}, {"a": 1})
    assert words == f"its a is '{'x' * 56}..., now 1 is asked for"
