from __future__ import annotations

from collections.abc import Callable
from dataclasses import FrozenInstanceError, dataclass, replace

import pytest

from limbeck.core import contracts, curriculum, pool
from limbeck.core.context import Context
from limbeck.core.part import FACTS, Part, Workload
from limbeck.core.recipe import SLOTS


@dataclass(frozen=True, kw_only=True)
class Bare(Part):
    """A part that says nothing of itself."""

    slot = "pool"
    size: int = 1


def test_facts_are_found_in_slots() -> None:
    assert set(FACTS.values()) == set(SLOTS)


def test_a_part_offers_what_its_slot_does_and_costs_nothing(context_of: Callable[..., Context]) -> None:
    part, context = Bare(), context_of()
    assert part.offers() == {fact for fact, slot in FACTS.items() if slot == "pool"} > {"networks"}
    assert part.needs() == part.reads() == frozenset()
    assert part.check(context) is None and part.init(context) == {}
    assert part.passes(context, Workload(iterations=3, steps=2, real=5, decoded=4)) == 0


def test_a_part_is_a_frozen_value() -> None:
    assert Bare() == Bare(size=1) != replace(Bare(), size=2) and hash(Bare()) == hash(Bare())
    with pytest.raises(FrozenInstanceError):
        Bare().size = 2  # type: ignore[misc]
    with pytest.raises(TypeError):
        Bare(2)  # type: ignore[misc]


def test_each_slot_has_one_contract() -> None:
    found = [kind for name in contracts.__all__ if isinstance(kind := getattr(contracts, name), type)]
    slots = [kind.slot for kind in found if issubclass(kind, Part) and kind is not Part]
    assert sorted(slots) == sorted(SLOTS)
    assert contracts.Pool is pool.Pool and contracts.Curriculum is curriculum.Curriculum
