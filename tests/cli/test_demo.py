from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from limbeck.cli import demo
from limbeck.evaluation.protocols import Protocol
from limbeck.methods.random import random
from limbeck.reports.compare import compare
from limbeck.reports.comparison import Comparison
from tests.cli.conftest import Command
from tests.engine.tiny import NETWORK, tiny_dream


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the demo asks for; a small part of it is done."""
    found: dict[str, Any] = {}

    def small(recipes: Any, data: Any, **arguments: Any) -> Comparison:
        found.update(arguments, recipes=recipes, data=data)
        protocol: Protocol = replace(arguments["protocol"], networks=(NETWORK,), length=2)
        recipes = {name: random() for name in recipes} | {"dream": tiny_dream()}
        return compare(recipes, data, **{**arguments, "ipcs": (1,), "protocol": protocol})

    monkeypatch.setattr(demo, "compare", small)
    return found


def test_the_demo_compares_dream_with_coresets(limbeck: Command, asked: dict[str, Any]) -> None:
    done = limbeck("demo", "--seeds", "1", "--progress", "quiet", "--device", "cpu", "--out", "d", "--json")
    assert done.status == 0
    table = done.json
    assert [row["method"] for row in table["rows"]] == ["random", "herding", "kcenter", "dream", "full"]
    assert len({row["bytes"] for row in table["rows"][:4]}) == 1
    assert Path(table["report"]) == Path("d/report.html")
    assert Path("d/report.html").is_file()
    assert asked["data"].spec.name == "digits"
    assert list(asked["ipcs"]) == [1, 10]
    assert list(asked["seeds"]) == [0]
    assert asked["full"] is True
    assert [recipe.name for recipe in asked["recipes"].values()] == ["random", "herding", "kcenter", "dream"]
    # Fewer networks than the protocol 'limbeck', so it goes under a name of its own.
    assert asked["protocol"].name == "demo"
    assert asked["protocol"].repeats == 3


def test_no_seeds_are_refused(limbeck: Command, tmp_path: Path) -> None:
    done = limbeck("demo", "--seeds", "0")
    assert done.status == 2
    assert "--seeds must be at least 1" in done.sentence
    assert list(tmp_path.iterdir()) == []
