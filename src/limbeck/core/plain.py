"""Recipes as plain data (what JSON and YAML can hold) and back, exactly and strictly.

A part becomes ``{"part": name, field: value, ...}`` with every field written out, so that a later change of a default
does not change an old run. Reading refuses unknown fields, missing fields, wrong types and unknown names. Only fields
that a part has been given since (`Part.added`) may be missing: they are read as what was done before.
"""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import Any, Literal, TypeVar

from limbeck.core.contracts import Part
from limbeck.core.errors import InputError, unknown
from limbeck.core.recipe import Recipe, part_name

__all__ = ["completed", "decode_dataclass", "decode_recipe", "encode"]

Frozen = TypeVar("Frozen")


def encode(value: Any) -> Any:
    """Plain data for a recipe, part, other frozen dataclass, or a field of one."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {item.name: encode(getattr(value, item.name)) for item in dataclasses.fields(value)}
        return {"part": part_name(value), **fields} if isinstance(value, Part) else fields
    if isinstance(value, (tuple, list)):
        return [encode(item) for item in value]
    if isinstance(value, Mapping):
        return {str(key): encode(item) for key, item in value.items()}
    if isinstance(value, float) and not math.isfinite(value):
        raise InputError(f"{value} cannot be written to a run file; use a finite number.")
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, PurePath):
        return str(value)
    raise TypeError(f"a recipe field holds a {type(value).__name__}, which is not plain data")


def decode_recipe(data: Any, parts: Mapping[str, type[Part]]) -> Recipe:
    """The recipe that `encode` wrote.

    Args:
        data: plain data.
        parts: part classes by name, as the registry knows them.

    Raises:
        InputError: an unknown or missing field, a wrong type, or an unknown name; the message says where.
    """
    return decode_dataclass(Recipe, data, "recipe", parts)


def decode_dataclass(
    target: type[Frozen], data: Any, where: str, parts: Mapping[str, type[Part]] | None = None
) -> Frozen:
    """A frozen dataclass from plain data; every field must be there but those added later, and no other.

    Args:
        target: the dataclass.
        data: a mapping of its fields.
        where: how errors call this place, for example ``recipe.sampler``.
        parts: part classes by name, when fields may hold parts.

    Raises:
        InputError: an unknown or missing field, a wrong type, or an unknown name.
    """
    if not isinstance(data, Mapping):
        raise InputError(f"{where} must be a mapping of fields, not {_shown(data)}.")
    hints = typing.get_type_hints(target)
    known = [item.name for item in dataclasses.fields(target)]  # type: ignore[arg-type]
    for key in data:
        if key not in known:
            raise unknown(f"field of {where}", str(key), known)
    data = {**_added(target), **data}
    for name in known:
        if name not in data:
            raise InputError(f"{where}.{name} is missing; a run file names every field.")
    values = {name: _decode(hints[name], data[name], f"{where}.{name}", parts or {}) for name in known}
    return target(**values)


def completed(data: Any, like: Any) -> Any:
    """Plain data of an earlier version with the fields that were added since, to be compared with `encode`.

    Args:
        data: plain data.
        like: what is asked for now; where it holds other parts, the data are left as they are.
    """
    if isinstance(data, Mapping) and dataclasses.is_dataclass(like) and not isinstance(like, type):
        if isinstance(like, Part) and data.get("part") != part_name(like):
            return data
        data = {**data, **{name: value for name, value in _added(type(like)).items() if name not in data}}
        return {key: completed(item, getattr(like, key, None)) for key, item in data.items()}
    if isinstance(data, list) and isinstance(like, tuple) and len(data) == len(like):
        return [completed(item, other) for item, other in zip(data, like, strict=True)]
    return data


def _added(target: Any) -> dict[str, Any]:
    """Plain values of the fields that earlier versions of a dataclass did not have."""
    return {name: encode(value) for name, value in getattr(target, "added", {}).items()}


def _decode(hint: Any, value: Any, where: str, parts: Mapping[str, type[Part]]) -> Any:
    """One value of the hinted type."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return _decode_union(arguments, value, where, parts)
    if origin is Literal:
        if not any(value == option and type(value) is type(option) for option in arguments):
            raise unknown(f"value of {where}", str(value), map(str, arguments))
        return value
    if origin is tuple:
        return _decode_tuple(arguments, value, where, parts)
    if isinstance(hint, type) and issubclass(hint, Part):
        return _decode_part(hint, value, where, parts)
    if dataclasses.is_dataclass(hint):
        return decode_dataclass(typing.cast(type, hint), value, where, parts)
    if hint is Path and isinstance(value, str):
        return Path(value)
    if hint is float and type(value) in (int, float) and math.isfinite(value):
        return float(value)
    if hint in (int, str, bool) and type(value) is hint:
        return value
    raise InputError(f"{where} must be {_named(hint)}, not {_shown(value)}.")


def _decode_union(arguments: tuple[Any, ...], value: Any, where: str, parts: Mapping[str, type[Part]]) -> Any:
    options = [option for option in arguments if option is not type(None)]
    if value is None and len(options) < len(arguments):
        return None
    for option in options[:-1]:
        try:
            return _decode(option, value, where, parts)
        except InputError:
            continue
    return _decode(options[-1], value, where, parts)


def _decode_tuple(
    arguments: tuple[Any, ...], value: Any, where: str, parts: Mapping[str, type[Part]]
) -> tuple[Any, ...]:
    if not isinstance(value, (list, tuple)):
        raise InputError(f"{where} must be a list, not {_shown(value)}.")
    if len(arguments) == 2 and arguments[1] is Ellipsis:
        arguments = (arguments[0],) * len(value)
    if len(arguments) != len(value):
        raise InputError(f"{where} must hold {len(arguments)} values, not {len(value)}.")
    return tuple(
        _decode(hint, item, f"{where}[{index}]", parts)
        for index, (hint, item) in enumerate(zip(arguments, value, strict=True))
    )


def _decode_part(contract: type[Part], value: Any, where: str, parts: Mapping[str, type[Part]]) -> Part:
    if not isinstance(value, Mapping) or "part" not in value:
        raise InputError(f"{where} must be a mapping with the key 'part', not {_shown(value)}.")
    fitting = {name: kind for name, kind in parts.items() if issubclass(kind, contract)}
    name = value["part"]
    if not isinstance(name, str) or name not in fitting:
        raise unknown(f"part of {where}", str(name), fitting)
    fields = {key: item for key, item in value.items() if key != "part"}
    return decode_dataclass(fitting[name], fields, where, parts)


def _named(hint: Any) -> str:
    return {
        int: "a whole number",
        Path: "a path",
        float: "a finite number",
        bool: "true or false",
        str: "a text",
    }.get(hint, str(hint))


def _shown(value: Any) -> str:
    return f"{value!r} ({type(value).__name__})"
