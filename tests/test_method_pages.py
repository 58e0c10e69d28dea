"""What every page of a method says, beside its headings (test_repository): parts, deviations, figures, citation."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from limbeck import registry
from limbeck.core.recipe import SLOTS, part_name

DOCS = Path(__file__).resolve().parent.parent / "docs"
METHODS = {
    name: entry for name, entry in registry.methods().items() if entry.make.__module__.startswith("limbeck.methods.")
}


def section(name: str, title: str) -> str:
    page = (DOCS / "methods" / f"{name}.md").read_text(encoding="utf-8")
    return page.split(f"\n## {title}\n", 1)[1].split("\n## ", 1)[0]


@pytest.mark.parametrize("name", METHODS)
def test_parts_are_those_of_the_default_recipe(name: str) -> None:
    rows = re.findall(r"^\| (\w+) \| \[`(\w+)`\]\(\.\./slots/(\w+)\.md\) \|$", section(name, "Parts"), flags=re.M)
    recipe = METHODS[name].make()
    assert dict(row[:2] for row in rows) == {slot: part_name(part) for slot, part in recipe.parts()}
    assert all(slot == page and slot in SLOTS for slot, _, page in rows)


@pytest.mark.parametrize("name", METHODS)
def test_lines_of_the_algorithm_name_code(name: str) -> None:
    rows = [line for line in section(name, "Algorithm and where each line lives").splitlines() if line.startswith("| ")]
    assert rows and all("`" in row or "](" in row or "'s" in row for row in rows[2:])


@pytest.mark.parametrize("name", METHODS)
def test_deviations_are_numbered(name: str) -> None:
    text = section(name, "Deviations from the paper and from the authors' code")
    numbers = [int(number) for number in re.findall(r"^(\d+)\. ", text, flags=re.M)]
    assert numbers == list(range(1, len(numbers) + 1)) and numbers


@pytest.mark.parametrize("name", METHODS)
def test_published_figures_are_called_so_and_ours_are_measured_or_missing(name: str) -> None:
    text = section(name, "Results beside the published ones").lower()
    assert "publish" in text or "no row" in text
    assert re.search(r"not measured yet|no results|seed", text)
    for head in re.findall(r"^\| data \| ipc \|.*$", text, flags=re.M):
        assert "published" in head and "limbeck" in head


@pytest.mark.parametrize("name", METHODS)
def test_its_cost_is_counted_or_measured(name: str) -> None:
    assert re.search(r"[Mm]easured", section(name, "Cost")) or "floating point operations" in section(name, "Cost")


@pytest.mark.parametrize("name", METHODS)
def test_what_its_recipe_cites_is_on_its_page(name: str) -> None:
    named = set(re.findall(r"`(\w+)`", section(name, "Citation")))
    assert set(METHODS[name].make().cite()) <= named
