"""Every part of the registry, ours or a plug-in's, through the checks of `limbeck.testing`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from limbeck import registry, testing
from limbeck.core.context import Context
from limbeck.core.contracts import Part
from limbeck.data.images import ImageSet
from limbeck.testing import small_part as make

__all__ = ["make"]

PARTS = registry.parts()
every = pytest.mark.parametrize("kind", PARTS.values(), ids=PARTS)


@every
def test_it_is_a_frozen_value_with_keywords_only(kind: type[Part]) -> None:
    testing.check_value(kind)


@every
def test_it_is_final(kind: type[Part]) -> None:
    assert [other for other in PARTS.values() if other is not kind and issubclass(other, kind)] == []


@every
def test_it_is_documented(kind: type[Part]) -> None:
    testing.check_part_documented(kind)


@every
def test_it_is_typed(kind: type[Part]) -> None:
    testing.check_part_typed(kind)


@every
def test_it_survives_a_run_file(kind: type[Part]) -> None:
    testing.check_run_file(kind)


@every
def test_its_facts_are_known_and_its_slot_exists(kind: type[Part]) -> None:
    testing.check_facts(kind)


@every
def test_its_defaults_pass_its_own_check(kind: type[Part], portion: Callable[..., ImageSet]) -> None:
    testing.check_own_check(kind, portion())


@every
def test_it_runs_in_the_recipe_of_some_method(
    kind: type[Part], tmp_path: Path, portion: Callable[..., ImageSet]
) -> None:
    testing.check_in_a_recipe(kind, tmp_path, portion())


@every
def test_its_state_is_a_plain_tree_that_repeats(kind: type[Part], context_of: Callable[..., Context]) -> None:
    testing.check_state(kind, context_of())
