"""Sections of a page: how sets were judged, and how they were made."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from limbeck.core.plain import encode
from limbeck.core.recipe import SLOTS, Recipe
from limbeck.reports.comparison import Comparison
from limbeck.reports.entries import Entry
from limbeck.reports.labels import fields_in_words
from limbeck.reports.plain_table import Column, PlainTable
from limbeck.reports.wording import enumeration, protocol_in_words

__all__ = ["protocol_section", "recipes_section"]


def protocol_section(entries: Sequence[Entry], comparison: Comparison | None) -> dict[str, Any] | None:
    """Protocols in words; None where nothing was judged.

    Args:
        entries: the runs.
        comparison: what they belong to, if anything.
    """
    protocols = _protocols(entries, comparison)
    return {"protocols": protocols, "seeds": _seeds(entries)} if protocols else None


def recipes_section(entries: Sequence[Entry], colours: Mapping[str, str]) -> dict[str, Any]:
    """Different recipes, what is learnt first; seeds where no protocol names them."""
    recipes = _recipes(entries, colours)
    return {"recipes": recipes, "seeds": _seeds(entries), "table": _table(recipes)}


def _seeds(entries: Sequence[Entry]) -> str:
    return enumeration(str(seed) for seed in sorted({entry.distilled.seed for entry in entries}))


def _protocols(entries: Sequence[Entry], comparison: Comparison | None) -> list[dict[str, Any]]:
    """Every protocol that judged, in words; that of the comparison first."""
    found: dict[str, tuple[dict[str, Any], set[int]]] = {}
    if comparison is not None:
        plain = encode(comparison.protocol)
        found[json.dumps(plain, sort_keys=True)] = (plain, set())
    for entry in entries:
        for evaluation in entry.run.evaluations:
            plain = evaluation["protocol"]
            found.setdefault(json.dumps(plain, sort_keys=True), (plain, set()))[1].add(evaluation["test_images"])
    return [
        {"name": plain["name"], "sentences": protocol_in_words(plain, sorted(tests))} for plain, tests in found.values()
    ]


def _recipes(entries: Sequence[Entry], colours: Mapping[str, str]) -> list[dict[str, Any]]:
    """Different recipes, what is learnt first."""
    found: dict[str, dict[str, Any]] = {}
    for entry in sorted(entries, key=lambda entry: not entry.learnt):
        recipe = entry.distilled.recipe
        key = json.dumps([entry.label, encode(recipe)], sort_keys=True)
        found.setdefault(
            key,
            {
                "label": entry.label,
                "colour": colours[entry.label],
                "learnt": entry.learnt,
                "ipcs": [],
                "about": f"{recipe.name} on {recipe.base}" if recipe.base else recipe.name,
                "slots": _slots(recipe),
            },
        )["ipcs"].append(entry.distilled.ipc)
    for shown in found.values():
        shown["ipcs"] = enumeration(str(ipc) for ipc in sorted(set(shown["ipcs"])))
    return list(found.values())


def _table(recipes: Sequence[Mapping[str, Any]]) -> PlainTable:
    """All of them below each other, for files; the page has a table for each."""
    columns = [Column(name, "text") for name in ("Method", "Slot", "Part", "Fields", "References")]
    rows = [
        [
            recipe["label"],
            slot["slot"],
            slot["part"],
            "; ".join(f"{name} {value}" for name, value in slot["fields"]),
            slot["references"],
        ]
        for recipe in recipes
        for slot in recipe["slots"]
        if slot["part"]
    ]
    return PlainTable("recipes", "How the sets were made.", columns, rows)


def _slots(recipe: Recipe) -> list[dict[str, Any]]:
    plain, filled = encode(recipe), dict(recipe.parts())
    return [
        {
            "slot": slot,
            "part": plain[slot]["part"] if plain[slot] is not None else "",
            "fields": fields_in_words(plain[slot]) if plain[slot] is not None else [],
            "references": ", ".join(filled[slot].references) if slot in filled else "",
        }
        for slot in SLOTS
    ]
