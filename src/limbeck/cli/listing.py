"""``limbeck list`` and ``limbeck show``."""

from __future__ import annotations

import dataclasses
import inspect
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import tyro
import yaml

from limbeck import networks
from limbeck.cli.overrides import apply
from limbeck.cli.shared import choose_recipe, note, preset_name, print_json
from limbeck.combinations import add_ons, page, verdicts
from limbeck.core.contracts import Part
from limbeck.core.errors import InputError, unknown
from limbeck.core.plain import encode
from limbeck.core.recipe import SLOTS, Recipe
from limbeck.data import NAMES
from limbeck.evaluation.protocols import PROTOCOLS
from limbeck.registry import method, methods, parts_of
from limbeck.reports.tables import listing

__all__ = ["List", "Show"]

_PLURALS = {f"{slot}s": slot for slot in SLOTS} | {"pools": "pool", "curricula": "curriculum"}
_PLURALS.pop("curriculums")


@dataclass(frozen=True, kw_only=True)
class List:
    """List methods, parts of a slot, networks, data sets, protocols, or which add-ons go with which methods."""

    what: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="WHAT")] = "methods"
    """methods, networks, data, protocols, combinations, or a slot in the plural: samplers, initializers, pools, ..."""
    json: bool = False
    """Print JSON, alone on standard output."""
    markdown: bool = False
    """Print combinations as the page of the docs, methods of other packages left out."""

    def run(self, swaps: list[str], fields: list[str]) -> int:
        """List."""
        if self.markdown and self.what != "combinations":
            raise InputError(f"--markdown is there for combinations, not for {self.what}; leave it out.")
        entries = self._entries()
        if self.json:
            print_json(entries)
        elif self.markdown:
            print(page(), end="")
        elif self.what == "combinations":
            _print_combinations(entries)
        else:
            from rich.console import Console

            columns = [name for name in entries[0] if name != "slot"] if entries else []
            Console().print(listing(columns, [[_cell(entry[name]) for name in columns] for entry in entries]))
        return 0

    def _entries(self) -> list[dict[str, Any]]:
        if self.what == "methods":
            return [
                {
                    "name": entry.name,
                    "kind": "baseline" if entry.baseline else "method",
                    "summary": entry.summary,
                    "presets": list(entry.presets),
                }
                for entry in sorted(methods().values(), key=lambda entry: (entry.baseline, entry.name))
            ]
        if self.what == "networks":
            return [{"name": name, "summary": text} for name, text in networks.names().items()]
        if self.what == "data":
            return [{"name": name} for name in NAMES]
        if self.what == "protocols":
            return [{"name": name} for name in PROTOCOLS]
        if self.what == "combinations":
            return [dataclasses.asdict(one) for one in verdicts()]
        slot = _PLURALS.get(self.what, self.what)
        if slot not in SLOTS:
            others = ["methods", "networks", "data", "protocols", "combinations"]
            raise unknown("listing", self.what, [*others, *_PLURALS])
        return [
            {"name": name, "slot": slot, "summary": _summary(kind), "fields": _fields(kind)}
            for name, kind in parts_of(slot).items()
        ]


@dataclass(frozen=True, kw_only=True)
class Show:
    """Show a method's recipe: every slot, every value, every citation. Takes the same changes as 'distill'."""

    method: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="METHOD")]
    """Method ('limbeck list methods')."""
    preset: str | None = None
    """Whose settings; by default those of --data."""
    data: str = "cifar10"
    """Data set whose preset to take."""
    ipc: int = 10
    """Images per class, where settings depend on them."""
    base: str | None = None
    """Method to build on, for add-ons such as dream."""
    as_: Annotated[Literal["text", "yaml", "python"], tyro.conf.arg(name="as")] = "text"
    """Form: a table, the recipe as run.yaml holds it, or the file that defines the method."""
    json: bool = False
    """Print the recipe as JSON, alone on standard output."""

    def run(self, swaps: list[str], fields: list[str]) -> int:
        """Show."""
        recipe = choose_recipe(self.method, self.preset, self.base, preset_name(self.data), self.ipc)
        recipe = apply(recipe, swaps, fields, f"limbeck show {self.method}")
        recipe.check()
        if self.json:
            print_json(encode(recipe))
        elif self.as_ == "yaml":
            print(yaml.safe_dump(encode(recipe), sort_keys=False, allow_unicode=True, width=110), end="")
        elif self.as_ == "python":
            print(inspect.getsource(inspect.getmodule(method(self.method).make)), end="")  # type: ignore[arg-type]
        else:
            self._print_text(recipe)
        return 0

    def _print_text(self, recipe: Recipe) -> None:
        print(recipe)
        note(f"presets: {', '.join(method(self.method).presets)}")


def _print_combinations(entries: list[dict[str, Any]]) -> None:
    """A table, and below it why some are refused."""
    from rich.console import Console

    rows: dict[str, dict[str, str]] = {}
    for entry in entries:
        rows.setdefault(entry["method"], {})[entry["add_on"]] = entry["outcome"]
    columns = [one.name for one in add_ons()]
    cells = [[name, *(outcomes[column] for column in columns)] for name, outcomes in rows.items()]
    Console().print(listing(["method", *columns], cells))
    for one in add_ons():
        print(f"{one.name}: {one.title} ({one.flags})")
    note("why some are refused: limbeck list combinations --json")


def _summary(kind: type[Part]) -> str:
    return (inspect.getdoc(kind) or "").partition("\n\n")[0].replace("\n", " ")


def _cell(value: Any) -> str:
    return ", ".join(value) if isinstance(value, list) else str(value)


def _fields(kind: type[Part]) -> list[str]:
    return [item.name for item in dataclasses.fields(kind)]
