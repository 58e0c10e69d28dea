"""What there is, found rather than listed: methods (files of `limbeck.methods` and entry points) and parts.

A method is a module with a function of the module's name that returns a recipe, and with ``PRESETS``, the names of its
settings. A part is a concrete class of a slot's package, of a method's module, or of a module that an entry point of
the group ``limbeck.methods`` names; such a package may bring parts and methods of its own.
"""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
import inspect
import pkgutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from limbeck.core.contracts import Part
from limbeck.core.errors import InputError, unknown
from limbeck.core.plain import decode_recipe
from limbeck.core.recipe import SLOTS, Recipe, part_name

__all__ = ["Method", "method", "methods", "part", "parts", "parts_of", "recipe_from_plain"]

_SLOT_PACKAGES = {
    "objective": "objectives",
    "sampler": "samplers",
    "initializer": "initializers",
    "parametrization": "parametrizations",
    "augmentation": "augmentations",
    "pool": "pools",
    "curriculum": "curricula",
    "labeler": "labelers",
    "optimizer": "optimizers",
}


@dataclass(frozen=True)
class Method:
    """A method as the registry knows it.

    Args:
        name: its name.
        make: the function that returns its recipe; takes ``preset``, for add-ons ``base``, and ``ipc`` where the
            settings depend on it.
        presets: names of its settings; the first is the default.
        summary: what it is, in one line.
        baseline: whether it is there to be compared with, not distilled.
    """

    name: str
    make: Callable[..., Recipe]
    presets: tuple[str, ...]
    summary: str
    baseline: bool = False

    @property
    def takes_base(self) -> bool:
        """Whether it can be put on top of another recipe."""
        return "base" in inspect.signature(self.make).parameters

    @property
    def takes_ipc(self) -> bool:
        """Whether its settings depend on the images per class."""
        return "ipc" in inspect.signature(self.make).parameters

    def recipe(self, preset: str | None = None, base: Recipe | None = None, ipc: int | None = None) -> Recipe:
        """The recipe of a preset, for a number of images per class where the settings depend on it.

        Raises:
            InputError: there is no such preset, or the method takes no base.
        """
        arguments: dict[str, Any] = {}
        if preset is not None:
            if preset not in self.presets:
                raise unknown(f"preset of {self.name}", preset, self.presets)
            arguments["preset"] = preset
        if base is not None:
            if not self.takes_base:
                raise InputError(f"method '{self.name}' takes no base; leave --base out.")
            arguments["base"] = base
        if ipc is not None and self.takes_ipc:
            arguments["ipc"] = ipc
        return self.make(**arguments)


def methods() -> dict[str, Method]:
    """All methods by name.

    Raises:
        InputError: two have the same name, or a package that brings one cannot be imported.
    """
    known: dict[str, Method] = {}
    for entry in map(_method, _method_modules()):
        if entry is not None and known.setdefault(entry.name, entry) != entry:
            first = known[entry.name].make.__module__
            raise InputError(f"two methods are called '{entry.name}': {first} and {entry.make.__module__}; rename one.")
    return known


def method(name: str) -> Method:
    """The method of this name.

    Raises:
        InputError: there is none; the message suggests the nearest.
    """
    known = methods()
    if name not in known:
        raise unknown("method", name, known)
    return known[name]


def parts() -> dict[str, type[Part]]:
    """All part classes by name."""
    return dict(_parts())


def parts_of(slot: str) -> dict[str, type[Part]]:
    """Part classes of one slot by name.

    Raises:
        InputError: there is no such slot.
    """
    if slot not in SLOTS:
        raise unknown("slot", slot, SLOTS)
    return {name: kind for name, kind in parts().items() if kind.slot == slot}


def part(slot: str, name: str) -> type[Part]:
    """One part class by slot and name; dashes may stand for underscores.

    Raises:
        InputError: there is none; the message suggests the nearest.
    """
    known = parts_of(slot)
    name = name.replace("-", "_")
    if name not in known:
        raise unknown(slot, name, known)
    return known[name]


def recipe_from_plain(data: Any) -> Recipe:
    """A recipe from plain data, as run files hold it.

    Raises:
        InputError: an unknown field or name, or a wrong type; the message says where.
    """
    return decode_recipe(data, parts())


def _method(module: ModuleType) -> Method | None:
    name = module.__name__.rpartition(".")[2]
    make = getattr(module, name, None)
    if not callable(make):
        return None
    return Method(
        name=name,
        make=make,
        presets=tuple(getattr(module, "PRESETS", ("default",))),
        summary=(inspect.getdoc(module) or "").partition("\n")[0],
        baseline=bool(getattr(module, "BASELINE", False)),
    )


def _method_modules() -> Iterator[ModuleType]:
    yield from _modules("limbeck.methods")
    for entry in importlib.metadata.entry_points(group="limbeck.methods"):
        try:
            loaded = entry.load()
        except Exception as error:
            raise InputError(
                f"the installed package behind the method '{entry.name}' ({entry.value}) cannot be imported "
                f"({error}); repair or uninstall it."
            ) from error
        yield loaded if isinstance(loaded, ModuleType) else importlib.import_module(loaded.__module__)


def _modules(package: str) -> Iterator[ModuleType]:
    folder = importlib.import_module(package)
    for found in pkgutil.iter_modules(folder.__path__, f"{package}."):
        yield importlib.import_module(found.name)


@functools.cache
def _parts() -> tuple[tuple[str, type[Part]], ...]:
    known: dict[str, type[Part]] = {}
    modules = [module for package in _SLOT_PACKAGES.values() for module in _modules(f"limbeck.{package}")]
    for module in [*modules, *_method_modules()]:
        for kind in vars(module).values():
            # `Part` itself has no abstract method.
            if not inspect.isclass(kind) or not issubclass(kind, Part) or inspect.isabstract(kind) or kind is Part:
                continue
            name = part_name(kind)
            if known.setdefault(name, kind) is not kind:
                raise InputError(
                    f"two parts are called '{name}': {known[name].__module__} and {kind.__module__}; rename one."
                )
    return tuple(sorted(known.items()))
