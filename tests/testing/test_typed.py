from __future__ import annotations

import inspect

import pytest

from limbeck import testing
from limbeck.methods.dm import dm
from tests.testing.good import Good


class Untyped(Good):
    """A method of it has no types."""

    def more(self, what):  # type: ignore[no-untyped-def]
        return what


def test_methods_of_a_part_are_typed() -> None:
    testing.check_part_typed(Good)
    with pytest.raises(AssertionError, match=r"Untyped.more has arguments without types: what"):
        testing.check_part_typed(Untyped)


def test_functions_of_a_module_are_typed() -> None:
    testing.check_typed(inspect.getmodule(dm))
    with pytest.raises(AssertionError, match=r"untyped has arguments without types: what"):
        testing.check_typed(inspect.getmodule(untyped))


def untyped(what):  # type: ignore[no-untyped-def]
    return what
