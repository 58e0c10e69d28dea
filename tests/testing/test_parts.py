"""The checks catch what they are there for: each of these parts has one fault."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch

from limbeck import testing
from limbeck.core.context import Context
from limbeck.core.contracts import Sampler, State
from limbeck.samplers.random import Random
from limbeck.testing import toy_context
from tests.testing.good import Good


def test_a_good_part_passes() -> None:
    testing.check_part(Good)


@dataclass(frozen=True, kw_only=True)
class Derived(Random):
    """Derives from a part that is final."""


@dataclass(frozen=True, kw_only=True)
class Silent(Good):
    """A field of it has no text."""

    other: int = 1


@dataclass(frozen=True, kw_only=True)
class Greedy(Sampler):
    """Speaks of what nobody knows of."""

    refresh, rows = Good.refresh, Good.rows

    def needs(self) -> frozenset[str]:
        return frozenset({"moon phase"})


@dataclass(frozen=True, kw_only=True)
class Selfish(Sampler):
    """Needs what it offers."""

    refresh, rows = Good.refresh, Good.rows

    def needs(self) -> frozenset[str]:
        return frozenset({"real batches"})


@dataclass(frozen=True, kw_only=True)
class Idle(Sampler):
    """Offers nothing, and does not say so."""

    refresh, rows = Good.refresh, Good.rows

    def offers(self) -> frozenset[str]:
        return frozenset()


@dataclass(frozen=True, kw_only=True)
class Secret(Sampler):
    """Keeps something that is no field."""

    refresh, rows = Good.refresh, Good.rows

    def __post_init__(self) -> None:
        object.__setattr__(self, "hidden", 1)


@dataclass(frozen=True, kw_only=True)
class Drawing(Sampler):
    """Draws from the global generator."""

    refresh, rows = Good.refresh, Good.rows

    def init(self, context: Context) -> State:
        torch.rand(1)
        return {}


@dataclass(frozen=True, kw_only=True)
class Odd(Sampler):
    """Its state holds what cannot be saved."""

    refresh, rows = Good.refresh, Good.rows

    def init(self, context: Context) -> State:
        return {"set": {1, 2}}


@pytest.mark.parametrize(
    ("check", "kind", "message"),
    [
        (testing.check_value, Derived, "derives from Random, which is final"),
        (testing.check_value, Secret, "keeps a secret"),
        (testing.check_part_documented, Silent, "Silent.other has no text under it"),
        (testing.check_facts, Greedy, "speaks of unknown facts: moon phase"),
        (testing.check_facts, Selfish, "Selfish needs what it offers"),
        (testing.check_own_check, Idle, "offers nothing and does not say so"),
        (lambda kind: testing.check_state(kind, toy_context()), Drawing, "moves the global generator"),
        (lambda kind: testing.check_state(kind, toy_context()), Odd, "holds a set"),
    ],
)
def test_a_faulty_part_is_found(check: Callable[..., None], kind: Any, message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        check(kind)
