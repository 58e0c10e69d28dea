"""A cell: one figure of a table, and all that is needed to measure it.

Cells are declared by the modules of ``benchmarks/tables`` that `TABLES` names. Two cells with the same words, data and
images per class share their runs; what tells them apart is how these are judged.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from limbeck.cli.overrides import apply, split
from limbeck.cli.shared import choose_recipe
from limbeck.core.distilled import Storage
from limbeck.core.errors import InputError
from limbeck.core.real import DataSpec
from limbeck.core.recipe import Recipe
from limbeck.data import LoadOptions
from limbeck.evaluation.protocols import Protocol, for_data

__all__ = ["TABLES", "Cell", "Kind", "Table", "declared", "priority", "tables"]

TABLES = ("small_campaign", "main_tables", "cross_architecture", "ablations", "parameter_studies")
"""Modules of ``benchmarks/tables`` that declare cells; each has a function ``tables()``."""
Kind = Literal["small", "main", "cross", "ablation", "study"]

_COPIES = {"cifar10": "cifar10-jpeg"}
"""Folders of data that are at hand only as a copy which differs from the original."""
_TITLES = {
    "cifar10-jpeg": "CIFAR-10 (JPEG copy)",
    "fashion-mnist": "Fashion-MNIST (other tone curve)",
    "digits": "digits",
}
_FIRST = ("dream", "dsdm", "ast", "dwa", "dasm")
"""Methods whose cells are measured first on a GPU, in this order."""
_DATA_ON_CPU = ("digits", "fashion-mnist", "cifar10")


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One figure of a table."""

    kind: Kind
    """What sort of table it stands in."""
    label: str
    """The row, as the paper writes it."""
    data: str
    """Data set by the name under which settings are published, for example ``cifar10``."""
    ipc: int
    """Stored images per class."""
    words: tuple[str, ...]
    """Method and flags that change its recipe, as after ``limbeck distill``; empty where we have no such recipe."""
    protocol: str = "idc"
    """How sets are judged; a name of `limbeck.evaluation.protocols`."""
    network: str = "convnet3"
    """The network that is trained on the set and tested."""
    repeats: int | None = None
    """Networks of each seed; the protocol's by default."""
    length: int | None = None
    """Updates or epochs, where not the protocol's."""
    storage: Storage = "float32"
    """How pixels are kept: as the authors do, or ``uint8`` where bytes are to be equal."""
    seeds: int = 3
    """Seeds that make the figure; each distils and is judged by networks of its own."""
    device: Literal["cpu", "cuda"] = "cuda"
    """What it is measured on."""
    paper: float | None = None
    """The published accuracy in percent."""
    paper_std: float | None = None
    """Its published deviation."""
    note: str = ""
    """What has to be known of the published figure."""

    @property
    def published_settings(self) -> bool:
        """Whether recipe and protocol are the published ones, so that ours may be held against the paper's figure."""
        return self.kind != "small"

    @property
    def folder(self) -> str:
        """Folder of the data, below that of all data."""
        return _COPIES.get(self.data, self.data)

    @property
    def data_title(self) -> str:
        """The data that we measure on, or that the paper names where we have none."""
        return _TITLES.get(self.folder, self.folder)

    @property
    def block(self) -> str:
        """What its records are filed under."""
        return self.folder + ("-published" if self.published_settings else "")

    @property
    def run(self) -> str:
        """Name of its runs, less the seed; that of `limbeck compare` where nothing but the preset is named."""
        words = [word.removeprefix("--") for word in self.words]
        if words[1:3] == ["preset", "small"]:
            del words[1:3]
        return "-".join(word.replace("=", "-").replace(":", "-") for word in words) + f"-ipc{self.ipc}"

    @property
    def judged_by(self) -> str:
        """What tells its judgements from others of the same runs."""
        each = "" if self.repeats is None else f" x {self.repeats}"
        return f"{self.protocol} {self.network}{each}" + ("" if self.length is None else f", length {self.length}")

    @property
    def command(self) -> str:
        """How a run of it is made by hand, less data, seed and folder."""
        storage = "" if self.storage == "float32" else f" --storage {self.storage}"
        validation = " --validation 0" if self.published_settings else ""
        return f"limbeck distill {' '.join(self.words)} --ipc {self.ipc}{storage}{validation}"

    @property
    def loading(self) -> LoadOptions:
        """How its data are loaded: where settings are published, all training images are for training."""
        return LoadOptions(validation=0.0) if self.published_settings else LoadOptions()

    def recipe(self) -> Recipe:
        """The recipe that the words make.

        Raises:
            InputError: they make none.
        """
        if not self.words:
            raise InputError(f"'{self.label}' has no recipe here.")
        flags, swaps, fields = split(self.words[1:])
        given = dict(zip(flags[::2], flags[1::2], strict=True))
        preset, base = given.pop("--preset", None), given.pop("--base", None)
        if given:
            raise InputError(f"the words of a cell name --preset, --base and changes of parts, not {', '.join(given)}.")
        return apply(choose_recipe(self.words[0], preset, base, self.data, self.ipc), swaps, fields, "campaign")

    def judgement(self, spec: DataSpec, recipe: Recipe) -> Protocol:
        """How its sets are judged on these data."""
        decoded = recipe.parametrization.parts(self.ipc)
        found = for_data(self.protocol, spec, (self.network,), self.repeats, ipc=self.ipc, decoded=decoded)
        return found if self.length is None else replace(found, length=self.length)

    def source(self, data_dir: Path) -> str:
        """What `limbeck.data.load` is given."""
        return "digits" if self.data == "digits" else str(data_dir / self.folder)


@dataclass(frozen=True, kw_only=True)
class Table:
    """Cells under one heading."""

    title: str
    """The heading."""
    cells: tuple[Cell, ...]
    """Its rows."""
    text: str = ""
    """What a reader has to know of it."""


def tables(names: Sequence[str] = TABLES) -> list[Table]:
    """All tables of some modules of ``benchmarks/tables``."""
    return [table for name in names for table in importlib.import_module(f"benchmarks.tables.{name}").tables()]


def declared(names: Sequence[str] = TABLES) -> list[Cell]:
    """All cells that have a recipe, those to be measured first in front."""
    cells = [cell for table in tables(names) for cell in table.cells if cell.words]
    return sorted(cells, key=priority)


def priority(cell: Cell) -> tuple[int, ...]:
    """When a cell's turn is: the smallest first; equal ones in the order of their tables.

    On a CPU: the small campaign, 10 images per class before 1, Fashion-MNIST before CIFAR-10. On a GPU: DREAM, DSDM,
    AST, DWA and DASM on CIFAR-10 with 10 images per class; then all other methods there; then Fashion-MNIST, those
    five in front; then other numbers of images on CIFAR-10; then networks, ablations and studies; then other data.
    """
    many = {10: 0, 1: 1}.get(cell.ipc, cell.ipc)
    if not cell.published_settings:
        return (0, many, _DATA_ON_CPU.index(cell.data))
    plain = cell.kind == "main" and len(cell.words) == 1
    first = _FIRST.index(cell.words[0]) if cell.words[0] in _FIRST else len(_FIRST)
    match cell.data, cell.ipc:
        case ("cifar10", 10) if plain:
            stage = 1 if first < len(_FIRST) else 2
        case ("fashion-mnist", _) if plain:
            stage = 3
        case ("cifar10", _) if cell.kind == "main":
            stage = 4
        case ("cifar10" | "fashion-mnist", _):
            stage = 5
        case _:
            stage = 6
    return (stage, many, first) if stage == 3 else (stage, first, many)
