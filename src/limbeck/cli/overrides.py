"""Changes to a recipe on the command line: ``--with slot=part`` swaps parts, ``--slot.field value`` sets fields.

Fields come from the recipe as it stands after the swaps, so the flags are always those of the parts that will run.
"""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Mapping, Sequence
from typing import Any

from limbeck.core.contracts import Part
from limbeck.core.errors import InputError, unknown
from limbeck.core.recipe import SLOTS, Recipe
from limbeck.registry import part

__all__ = ["apply", "split"]


def split(arguments: Sequence[str]) -> tuple[list[str], list[str], list[str]]:
    """Separate what changes the recipe from what belongs to the verb.

    Args:
        arguments: the command line after the verb.

    Returns:
        The verb's arguments, the ``slot=part`` swaps, and the field flags with their values.

    Raises:
        InputError: ``--with`` has no ``slot=part`` behind it.
    """
    verb: list[str] = []
    swaps: list[str] = []
    fields: list[str] = []
    into = verb
    waiting = False
    for argument in arguments:
        if waiting:
            if argument.startswith("--"):
                break
            swaps.append(argument)
            waiting = False
            continue
        if argument == "--with":
            waiting = True
            continue
        if argument.startswith("--with="):
            swaps.append(argument.removeprefix("--with="))
            continue
        if argument.startswith("--"):
            name = argument[2:].partition("=")[0]
            into = fields if _names_field(name) else verb
        into.append(argument)
        # A positional argument of the verb may follow the values of a field flag only before the next flag; tyro
        # reads values greedily in the same way.
    if waiting:
        raise InputError("--with needs slot=part behind it, for example --with sampler=random.")
    return verb, swaps, fields


def apply(recipe: Recipe, swaps: Sequence[str], fields: Sequence[str], program: str) -> Recipe:
    """The recipe with parts swapped, then fields set.

    Args:
        recipe: what to change.
        swaps: ``slot=part`` each, or ``slot=none`` to empty a slot.
        fields: field flags and values, for example ``["--sampler.interval", "20"]``.
        program: what usage messages call this command.

    Raises:
        InputError: an unknown slot, part or field, or a value of the wrong type.
    """
    for swap in swaps:
        slot, equals, name = swap.partition("=")
        if not equals:
            raise InputError(f"--with takes slot=part, not '{swap}'; for example --with sampler=random.")
        if slot not in SLOTS:
            raise unknown("slot", slot, SLOTS)
        recipe = recipe.with_(**{slot: None if name == "none" else _make(slot, name)})
    return _with_fields(recipe, fields, program) if fields else recipe


def _names_field(name: str) -> bool:
    slot, dot, _ = name.partition(".")
    return bool(dot) and slot in SLOTS


def _make(slot: str, name: str) -> Part:
    kind = part(slot, name)
    required = [
        item.name
        for item in dataclasses.fields(kind)
        if item.default is dataclasses.MISSING and item.default_factory is dataclasses.MISSING
    ]
    if required:
        raise InputError(f"part '{name}' cannot be made without {', '.join(required)}; use a run.yaml instead.")
    return kind()


def _with_fields(recipe: Recipe, fields: Sequence[str], program: str) -> Recipe:
    """Parse field flags with tyro against the parts that are there."""
    import tyro

    filled = dict(recipe.parts())
    for flag in fields:
        slot, dot, path = flag.removeprefix("--").partition("=")[0].partition(".")
        if flag.startswith("--") and dot:
            if slot not in filled:
                raise InputError(f"{flag}: the slot '{slot}' is empty in this recipe; fill it with --with {slot}=part.")
            _check_path(filled[slot], slot, path)
    parts = dataclasses.make_dataclass(
        "Parts",
        [(slot, type(filled[slot]), dataclasses.field(default=filled[slot])) for slot in filled],
        frozen=True,
        kw_only=True,
    )
    parsed: Any = tyro.cli(
        parts,
        args=_spelled_out(fields, filled),
        prog=program,
        description="Fields of the recipe's parts.",
        config=(tyro.conf.AvoidSubcommands,),
    )
    return recipe.with_(**{slot: getattr(parsed, slot) for slot in filled})


def _spelled_out(fields: Sequence[str], filled: Mapping[str, Part]) -> list[str]:
    """Flags with values where a field may be true, false or a word: ``--slot.field`` and ``--slot.no-field`` alone."""
    words: list[str] = []
    for place, flag in enumerate(fields):
        slot, dot, path = flag.removeprefix("--").partition(".")
        alone = place + 1 == len(fields) or fields[place + 1].startswith("--")
        if not (flag.startswith("--") and dot and alone):
            words.append(flag)
            continue
        hints = typing.get_type_hints(type(filled[slot]))
        name, denied = path.replace("-", "_"), path.replace("-", "_").removeprefix("no_")
        if name not in hints and bool in typing.get_args(hints.get(denied)):
            words += [f"--{slot}.{path[3:]}", "False"]
        elif bool in typing.get_args(hints.get(name)):
            words += [flag, "True"]
        else:
            words.append(flag)
    return words


def _may_be_false(target: Any, name: str) -> bool:
    hint = typing.get_type_hints(type(target)).get(name)
    return hint is bool or bool in typing.get_args(hint)


def _check_path(target: Any, where: str, path: str) -> None:
    """Refuse a field that the part does not have, with the nearest that it has."""
    name, _, rest = path.replace("-", "_").partition(".")
    known = [item.name for item in dataclasses.fields(target)]
    if not rest and name.startswith("no_") and _may_be_false(target, name[3:]):
        name = name[3:]
    if name not in known:
        raise unknown(f"field of {where}", name, known)
    inner = getattr(target, name)
    if rest and dataclasses.is_dataclass(inner):
        _check_path(inner, f"{where}.{name}", rest)
    elif rest:
        raise InputError(f"--{where}.{path}: {where}.{name} has no fields of its own.")
