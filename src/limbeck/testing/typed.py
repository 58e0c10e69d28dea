"""Whether what is public has types."""

from __future__ import annotations

import dataclasses
import inspect
import types
import typing
from collections.abc import Callable
from typing import Any

from limbeck.core.contracts import Part

__all__ = ["check_part_typed", "check_typed"]


def check_part_typed(kind: type[Part]) -> None:
    """Fields and public methods of a part have types that can be resolved."""
    hints = typing.get_type_hints(kind)
    untyped = [item.name for item in dataclasses.fields(kind) if item.name not in hints]
    assert not untyped, f"{kind.__name__} has fields without types: {', '.join(untyped)}"
    for name, member in vars(kind).items():
        function = getattr(member, "__func__", member.fget if isinstance(member, property) else member)
        if not name.startswith("_") and inspect.isfunction(function):
            _check_annotated(function, f"{kind.__name__}.{name}")


def check_typed(module: types.ModuleType | None) -> None:
    """Public functions that a module defines have types for all arguments and for what they return."""
    assert module is not None, "the function stands in no module"
    for name, function in vars(module).items():
        if inspect.isfunction(function) and function.__module__ == module.__name__ and not name.startswith("_"):
            _check_annotated(function, f"{module.__name__}.{name}")


def _check_annotated(function: Callable[..., Any], name: str) -> None:
    signature = inspect.signature(function)
    arguments = [one for one in signature.parameters.values() if one.name not in ("self", "cls")]
    untyped = [one.name for one in arguments if one.annotation is one.empty]
    assert not untyped, f"{name} has arguments without types: {', '.join(untyped)}"
    assert signature.return_annotation is not signature.empty, f"{name} does not say what it returns"
    typing.get_type_hints(function)
