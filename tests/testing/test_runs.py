"""The checks catch what they are there for: each of these recipes has one fault."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from limbeck import registry, testing
from limbeck.core.batch import Moment
from limbeck.core.context import Context
from limbeck.core.contracts import Parametrization, State
from limbeck.methods.dm import dm
from limbeck.testing import runs, small, toy, toy_context
from tests.testing.good import Good


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
    monkeypatch.setattr(runs, "parts", lambda: known)
    for part, message in ((Spoiling(), "changes the caller's images"), (Restless(), "moves the global generator")):
        with pytest.raises(AssertionError, match=message):
            testing.check_run(small(dm("digits"), sampler=part), tmp_path / message)
