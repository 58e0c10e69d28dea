"""``limbeck continual``."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import tyro

from limbeck.cli.overrides import apply
from limbeck.cli.shared import as_wanted, choose_recipe, load_data, note, preset_name, print_json, run_folder, seeds_of
from limbeck.continual.learning import learn_continually
from limbeck.core.errors import InputError
from limbeck.core.recipe import Recipe
from limbeck.data import LoadOptions
from limbeck.engine.settings import Settings
from limbeck.evaluation.protocols import ProtocolName, for_data
from limbeck.registry import method
from limbeck.reports.continual import continual_table
from limbeck.reports.page import write_page
from limbeck.reports.runs import read_run

__all__ = ["Continual"]


@dataclass(frozen=True, kw_only=True)
class Continual:
    """Let classes come in steps, keep a distilled set of each step, and see what networks trained on all sets reach.

    Everything that is done lies in --out and is not done again when the command is repeated. Changes of a recipe
    (--with, --SLOT.FIELD) apply to every method that is no baseline.
    """

    methods: tyro.conf.Positional[tuple[str, ...]]
    """Methods and baselines that make the sets, for example: random herding dm."""
    data: str = "digits"
    """Data set by name, or a folder of images or parquet files."""
    steps: int = 5
    """In how many steps the classes come."""
    ipc: int = 20
    """Stored images of each class."""
    orders: int = 5
    """How many random orders of the classes; each distils and evaluates from streams of its own."""
    preset: str | None = None
    """Whose settings to use; by default those of the data set, or 'small'."""
    protocol: ProtocolName = "limbeck"
    """How networks are trained on what is kept; dm is that of the papers."""
    networks: tuple[str, ...] = ("convnet3",)
    """Architectures ('limbeck list networks')."""
    repeats: int = 3
    """Networks of each architecture and order."""
    length: int | None = None
    """Updates (limbeck) or epochs (the others) instead of the protocol's."""
    full: bool = False
    """Also train on all real images of the classes seen, which is a bound."""
    out: Path | None = None
    """Folder for runs, continual.json and report.html; runs/continual-DATA by default."""
    load: tyro.conf.OmitArgPrefixes[LoadOptions] = field(default_factory=LoadOptions)
    """How the data are loaded."""
    settings: tyro.conf.OmitArgPrefixes[Settings] = field(default_factory=Settings)
    """Device and progress."""
    json: bool = False
    """Print the result as JSON, alone on standard output."""

    def run(self, swaps: list[str], fields: list[str]) -> int:
        """Learn continually."""
        if not self.methods:
            raise InputError("name at least one method, for example: limbeck continual random dm.")
        if len(set(self.methods)) < len(self.methods):
            raise InputError("a method is named twice; name each once.")
        name = preset_name(self.data, self.load.classes)
        recipes: dict[str, Recipe] = {}
        options = self.load
        for chosen in self.methods:
            found = method(chosen)
            preset = None if found.baseline and self.preset not in found.presets else self.preset
            recipe = choose_recipe(chosen, preset, None, name, self.ipc)
            recipes[chosen] = recipe if recipe.objective is None else apply(recipe, swaps, fields, "limbeck continual")
            options = as_wanted(options, recipes[chosen])
        if (swaps or fields) and all(recipe.objective is None for recipe in recipes.values()):
            raise InputError("--with and --SLOT.FIELD change no baseline; name a method that learns or leave them out.")
        seeds = seeds_of(self.orders)
        data = load_data(self.data, options)
        protocol = for_data(self.protocol, data.spec, self.networks, self.repeats, ipc=self.ipc)
        if self.length is not None:
            protocol = replace(protocol, length=self.length)
        out = run_folder(self.out, "continual", data.spec.name)
        learnt = learn_continually(
            recipes,
            data,
            steps=self.steps,
            ipc=self.ipc,
            orders=seeds,
            protocol=protocol,
            out=out,
            full=self.full,
            settings=self.settings,
        )
        page = out / "report.html"
        # One order tells what the sets look like.
        folders = [
            out / f"{name}-ipc{self.ipc}-order0" / f"step-{step + 1}" for name in recipes for step in range(self.steps)
        ]
        title = f"Continual learning with {', '.join(self.methods)} on {data.spec.name}"
        command = f"limbeck continual {' '.join(self.methods)}"
        write_page(page, [read_run(folder) for folder in folders], None, title, command, stages=learnt)
        if self.json:
            print_json({**learnt.as_plain(), "report": str(page)})
        else:
            from rich.console import Console

            Console().print(continual_table(learnt))
            note(f"report: {page}")
        return 0
