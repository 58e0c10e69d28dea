from __future__ import annotations

import pytest

from limbeck.core.errors import InputError, Interrupted, LimbeckError, RunError, unknown


def test_the_nearest_name_is_suggested() -> None:
    error = unknown("method", "draem", ["idc", "dream", "random"])
    assert str(error) == "unknown method 'draem'; did you mean 'dream'?"
    assert isinstance(error, InputError)


def test_without_a_near_name_all_are_listed_in_order() -> None:
    assert str(unknown("slot", "xyz", ["pool", "labeler"])) == "unknown slot 'xyz'; known: labeler, pool."


def test_nothing_known() -> None:
    assert str(unknown("part", "xyz", [])) == "unknown part 'xyz'; known: none."


@pytest.mark.parametrize(
    ("error", "also"), [(InputError, ValueError), (RunError, RuntimeError), (Interrupted, RunError)]
)
def test_errors_are_ours_and_of_the_usual_kind(error: type[Exception], also: type[Exception]) -> None:
    assert issubclass(error, LimbeckError) and issubclass(error, also)
    assert not (issubclass(error, InputError) and issubclass(error, RunError))
