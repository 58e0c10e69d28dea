"""The checks catch what they are there for: each of these parts or recipes has one fault."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from limbeck import registry, testing
from limbeck.core.batch import Moment, View
from limbeck.core.context import Context
from limbeck.core.contracts import Parametrization, Sampler, State
from limbeck.methods.dm import dm
from limbeck.methods.idc import idc
from limbeck.parametrizations.plain import Plain
from limbeck.registry import Method
from limbeck.samplers.random import Random
from limbeck.testing import small, small_part, toy, toy_context


@dataclass(frozen=True, kw_only=True)
class Good(Sampler):
    """The first images of each class, always the same ones."""

    batch_size: int = 3
    """Images."""

    def refresh(self, state: State, context: Context, moment: Moment, view: View) -> State:
        return state

    def rows(self, state: State, context: Context, moment: Moment, label: int) -> Tensor:
        return context.data.class_rows(label)[: self.batch_size]


def test_a_good_part_passes() -> None:
    testing.check_part(Good)


@dataclass(frozen=True, kw_only=True)
class Derived(Random):
    """Derives from a part that is final."""


@dataclass(frozen=True, kw_only=True)
class Silent(Good):
    """A field of it has no text."""

    other: int = 1


class Untyped(Good):
    """A method of it has no types."""

    def more(self, what):  # type: ignore[no-untyped-def]
        return what


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
        (testing.check_part_typed, Untyped, "Untyped.more has arguments without types: what"),
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


@dataclass(frozen=True, kw_only=True)
class Frozen(Parametrization):
    """Nothing can be learnt through it."""

    space = "unit"

    def parts(self, ipc: int) -> int:
        return ipc

    def decode(self, stored: Tensor) -> Tensor:
        return stored * 0

    def encode(self, images: Tensor, ipc: int) -> Tensor:
        return images


@dataclass(frozen=True, kw_only=True)
class Counting(Good):
    """Depends on what happened before in the process."""

    def rows(self, state: State, context: Context, moment: Moment, label: int) -> Tensor:
        _CALLS.append(label)
        return context.data.class_rows(label)[: 1 + len(_CALLS) % 7]


@dataclass(frozen=True, kw_only=True)
class Spoiling(Good):
    """Changes the images that it was lent."""

    def rows(self, state: State, context: Context, moment: Moment, label: int) -> Tensor:
        context.data.pixels[0, 0, 0, 0] += 1  # type: ignore[attr-defined]
        return context.data.class_rows(label)[:3]


@dataclass(frozen=True, kw_only=True)
class Restless(Good):
    """Draws from the global generator."""

    def rows(self, state: State, context: Context, moment: Moment, label: int) -> Tensor:
        torch.rand(1)
        return context.data.class_rows(label)[:3]


_CALLS: list[int] = []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"parametrization": Frozen()}, "moves no pixel of a class"),
        ({"sampler": Counting()}, "does not repeat to the bit|does not resume to the bit"),
        ({"sampler": Spoiling()}, "changes the caller's images|to the bit"),
        ({"sampler": Restless()}, "moves the global generator"),
    ],
)
def test_a_faulty_recipe_is_found(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    recipe, data = small(dm("digits"), **changes), toy()
    with pytest.raises(AssertionError, match=message):
        testing.check_short_run(recipe, lambda: toy_context(data, dtype=torch.float32), tmp_path)


def test_a_run_of_what_is_not_installed_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="part 'good' is not found; name its module in an entry point"):
        testing.check_run(small(dm("digits"), sampler=Good()), tmp_path / "run")


def test_a_run_that_spoils_its_images_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = {**registry.parts(), "spoiling": Spoiling, "restless": Restless}
    monkeypatch.setattr(testing, "parts", lambda: known)
    for part, message in ((Spoiling(), "changes the caller's images"), (Restless(), "moves the global generator")):
        with pytest.raises(AssertionError, match=message):
            testing.check_run(small(dm("digits"), sampler=part), tmp_path / message)


def test_a_method_must_be_installed() -> None:
    def unheard(preset: str = "digits") -> Any:
        return dm(preset)

    with pytest.raises(AssertionError, match="method 'unheard' is not found; name its module"):
        testing.check_method(unheard)


def test_a_method_of_ours_passes() -> None:
    testing.check_method(registry.method("random"))


@pytest.mark.parametrize(
    ("changes", "check", "message"),
    [
        ({"summary": "Short"}, testing.check_cited, "is no sentence that says what it is"),
        ({"make": lambda: dm()}, testing.check_cited, "takes no preset"),
        ({"make": lambda preset="digits": dm(preset)}, testing.check_cited, "does not say what preset is"),
        ({"presets": ("digits", "cifar10")}, testing.check_presets, "the first preset of 'dm' is no default"),
        ({"presets": ("cifar10", "cifar10")}, testing.check_presets, "has a preset twice"),
        ({"baseline": True}, testing.check_presets, "must have BASELINE = True"),
        ({"name": "md"}, testing.check_presets, "the recipe of 'md' is called 'dm'"),
    ],
)
def test_a_faulty_method_is_found(changes: dict[str, Any], check: Callable[..., None], message: str) -> None:
    ours = registry.method("dm")
    fields = {name: getattr(ours, name) for name in ("name", "make", "presets", "summary", "baseline")}
    with pytest.raises(AssertionError, match=message):
        check(Method(**{**fields, **changes}))


def test_functions_of_a_module_are_typed() -> None:
    testing.check_typed(inspect.getmodule(dm))
    with pytest.raises(AssertionError, match=r"untyped has arguments without types: what"):
        testing.check_typed(inspect.getmodule(untyped))


def untyped(what):  # type: ignore[no-untyped-def]
    return what


def test_toys_can_be_told_apart_and_are_always_the_same() -> None:
    data = toy(2, [3, 5], channels=3)
    assert data.pixels.shape == (8, 3, 8, 8) and data.class_counts() == [3, 5]
    assert torch.equal(data.pixels, toy(2, [3, 5], channels=3).pixels)
    images, labels = toy().pixels.double(), toy().labels
    means = torch.stack([images[labels == label].mean(dim=0) for label in range(3)])
    nearest = (images[:, None] - means).flatten(2).norm(dim=2).argmin(dim=1)
    assert torch.equal(nearest, labels)


def test_small_recipes_take_three_steps_on_small_networks() -> None:
    for recipe in (small(dm()), small(idc())):
        assert recipe.curriculum is not None and recipe.curriculum.length() == 3
        assert recipe.pool.network == testing.NETWORK  # type: ignore[union-attr]
    assert small(dm(), sampler__batch_size=2).sampler == Random(batch_size=2)
    assert small_part(Plain) == Plain()
