"""What reports call the runs of a recipe: the name of its method, and what tells it from others of that name."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from limbeck.core.distilled import Distilled
from limbeck.core.plain import encode
from limbeck.core.recipe import SLOTS, Recipe

__all__ = ["fields_in_words", "recipe_labels"]


def recipe_labels(sets: Sequence[Distilled]) -> list[str]:
    """A label for each set: the name of its method, followed by what differs where recipes of one name do.

    Only sets of the same data and IPC are set against each other, since settings may depend on both. Named are the
    base method or else all slots with different parts, then as many fields as it takes: ``dream (initializer=mixed)``.
    """
    named: dict[str, dict[str, None]] = {}
    groups: dict[tuple[str, str, int], dict[str, Recipe]] = {}
    for one in sets:
        same = groups.setdefault((one.recipe.name, one.spec.digest, one.ipc), {})
        same[json.dumps(encode(one.recipe), sort_keys=True)] = one.recipe
    for (name, _, _), recipes in groups.items():
        named.setdefault(name, {}).update(dict.fromkeys(_differences([_described(each) for each in recipes.values()])))
    return [_label(one.recipe, list(named[one.recipe.name])) for one in sets]


def fields_in_words(plain: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Fields of a part as plain data, nested ones by dotted names; the part's own name is left out."""
    found: list[tuple[str, str]] = []
    for name, value in plain.items():
        if name == "part":
            if prefix:
                found.append((prefix.removesuffix("."), str(value)))
        elif isinstance(value, Mapping):
            found += fields_in_words(value, f"{prefix}{name}.")
        else:
            found.append((prefix + name, _value(value)))
    return found


def _described(recipe: Recipe) -> dict[str, str]:
    """What a label may name, by dotted names: first the base and the parts, then their fields."""
    plain = encode(recipe)
    parts = {slot: plain[slot]["part"] if plain[slot] else "none" for slot in SLOTS}
    fields = {f"{slot}.{name}": value for slot in SLOTS if plain[slot] for name, value in fields_in_words(plain[slot])}
    return {"base": recipe.base or "none", **parts, **fields}


def _differences(recipes: Sequence[Mapping[str, str]]) -> list[str]:
    """Names of what tells descriptions apart."""
    names = list(dict.fromkeys(name for each in recipes for name in each))
    chosen = [name for name in names if "." not in name and _told_apart(recipes, [name]) > 1]
    chosen = chosen[:1] if chosen[:1] == ["base"] else chosen
    for name in names:
        if _told_apart(recipes, [*chosen, name]) > _told_apart(recipes, chosen):
            chosen.append(name)
    return chosen


def _told_apart(recipes: Sequence[Mapping[str, str]], names: Sequence[str]) -> int:
    return len({tuple(each.get(name) for name in names) for each in recipes})


def _label(recipe: Recipe, names: Sequence[str]) -> str:
    described = _described(recipe)
    differences = ", ".join(f"{name}={described[name]}" for name in names if name in described)
    return f"{recipe.name} ({differences})" if differences else recipe.name


def _value(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(_value, value)) or "none"
    return f"{value:g}" if isinstance(value, float) else str(value)
