"""``limbeck experts``."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import torch
import tyro
from torch import Tensor

from limbeck.cli.overrides import apply
from limbeck.cli.shared import as_wanted, choose_recipe, load_data, note, preset_name, print_json
from limbeck.core.context import Context
from limbeck.core.errors import InputError
from limbeck.core.executor import Executor, InProcess
from limbeck.core.real import RealSet
from limbeck.core.recipe import Recipe
from limbeck.data import LoadOptions
from limbeck.engine.distill import make_context
from limbeck.engine.progress import progress
from limbeck.engine.settings import Settings
from limbeck.execution.processes import Processes
from limbeck.pools.experts import Experts
from limbeck.storage.trajectories import read_snapshot, trajectory_path
from limbeck.training.expert_folders import Wanted, cached_folder
from limbeck.training.experts import build_experts, expert_bytes
from limbeck.training.supervised import accuracy

__all__ = ["ExpertsVerb"]


@dataclass(frozen=True, kw_only=True)
class ExpertsVerb:
    """Train the experts whose trajectories a method matches, and say how good and how smooth they are.

    Each is a file as soon as it is done, and one that takes long is kept on its way: the same command goes on where it
    was stopped. Without --out they lie in the cache, where a run of the same recipe finds them. --with and
    --SLOT.FIELD VALUE change the recipe as in 'limbeck distill'.
    """

    method: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="METHOD")]
    """Method that matches trajectories, such as mtt ('limbeck list methods')."""
    data: str = "digits"
    """Data set by name, or a folder of images or parquet files."""
    count: int | None = None
    """How many experts; by default as many as the recipe says."""
    ipc: int = 10
    """Stored images per class of the run to come, which settings may depend on."""
    preset: str | None = None
    """Whose settings to use; by default those of the data set, or 'small' if there are none."""
    base: str | None = None
    """Method to build on, for add-ons."""
    out: Path | None = None
    """Folder to keep them in, to be shared; a run takes them with --pool.store. Default: the cache."""
    all_epochs: bool = False
    """Keep the weights after every epoch, for other spans and starts, not only those that the recipe reads."""
    half: bool = False
    """Keep them in float16, half the disk; a run needs --pool.half then."""
    test: bool = False
    """Also say how many of the test images they get right. What is chosen by that is no longer judged fairly."""
    load: tyro.conf.OmitArgPrefixes[LoadOptions] = field(default_factory=LoadOptions)
    """How the data are loaded."""
    settings: tyro.conf.OmitArgPrefixes[Settings] = field(default_factory=Settings)
    """How it is computed; the same flags as those of the run to come, which finds no others in the cache."""
    json: bool = False
    """Print the result as JSON, alone on standard output."""

    def run(self, swaps: list[str], fields: list[str]) -> int:
        """Train, judge and tell."""
        recipe = self._recipe(swaps, fields)
        data = load_data(self.data, as_wanted(self.load, recipe))
        test = data.require_test() if self.test else None
        many = self.settings.processes > 1
        executor: Executor = Processes(self.settings.processes) if many else InProcess()
        with progress(self.settings.progress) as display:
            context = make_context(recipe, data, self.ipc, 0, self.settings, executor, display.say)
            pool = recipe.pool
            assert isinstance(pool, Experts)
            wanted = pool.wanted(context, every=self.all_epochs)
            folder = self.out if self.out is not None else cached_folder(context, wanted)
            if folder is None:
                raise InputError("experts are to be kept nowhere; name a folder with --out, or leave --network-cache.")
            predicted = wanted.count * expert_bytes(context.network(wanted.network), len(wanted.epochs), wanted.half)
            began = time.monotonic()
            entries = build_experts(context, wanted, folder)
            seconds = time.monotonic() - began
        found: dict[str, Any] = {
            "method": recipe.name,
            "data": data.spec.name,
            "network": context.network(wanted.network).name,
            "folder": str(folder),
            "epochs": wanted.course.epochs,
            "kept": list(wanted.epochs),
            "seconds": seconds,
            "predicted_bytes": predicted,
            "bytes": sum(entry["bytes"] for entry in entries),
            "experts": [
                {
                    **{name: entry[name] for name in ("number", "accuracy", "avg_var", "changes")},
                    "validation": _judged(context, wanted, folder, entry["number"], data.validation),
                    "test": _judged(context, wanted, folder, entry["number"], test),
                }
                for entry in entries
            ],
        }
        if self.json:
            print_json(found)
        else:
            _show(found)
            if self.out is not None:
                half = " --pool.half" if self.half else ""
                note(f"a run takes them with --pool.store {self.out} --pool.count {wanted.count}{half}")
        return 0

    def _recipe(self, swaps: list[str], fields: list[str]) -> Recipe:
        """The recipe, with as many experts as are asked for."""
        recipe = choose_recipe(self.method, self.preset, self.base, preset_name(self.data, self.load.classes), self.ipc)
        recipe = apply(recipe, swaps, fields, f"limbeck experts {self.method}")
        pool = recipe.pool
        if not isinstance(pool, Experts):
            raise InputError(f"method '{self.method}' has no experts; name one that matches trajectories, such as mtt.")
        if pool.store:
            raise InputError(f"the recipe takes its experts from {pool.store}; leave pool.store out to train some.")
        if self.count is not None:
            pool = replace(pool, count=self.count)
        return recipe.with_(pool=replace(pool, half=pool.half or self.half))


def _judged(context: Context, wanted: Wanted, folder: Path, number: int, judges: RealSet | None) -> float | None:
    """Share of images that an expert gets right after its last epoch; None where there are none."""
    if judges is None:
        return None
    network = context.network(wanted.network)
    weights = read_snapshot(trajectory_path(folder, number), wanted.course.epochs, network)
    seen = judges.to(context.device, context.dtype)

    def images(rows: Tensor) -> Tensor:
        return context.spec.normalization.apply(seen.images(rows))

    with torch.no_grad():
        return accuracy(network, weights, images, judges.labels.to(context.device))


def _show(found: dict[str, Any]) -> None:
    """The result for a person."""
    from rich.console import Console
    from rich.table import Table

    experts = found["experts"]
    title = f"{len(experts)} experts of {found['method']} on {found['data']}"
    table = Table(title=title, show_header=False, title_justify="left")
    rows = {"network": f"{found['network']}, {found['epochs']} epochs"}
    for name, part in (("accuracy", "training"), ("validation", "validation"), ("test", "test")):
        values = [100 * expert[name] for expert in experts if expert[name] is not None]
        if values:
            rows[f"{part} accuracy"] = f"{statistics.mean(values):.2f} % ({min(values):.2f} to {max(values):.2f})"
    values = [expert["avg_var"] for expert in experts]
    rows["AvgVar"] = f"{statistics.mean(values):.4g} ({min(values):.4g} to {max(values):.4g})"
    rows["time"] = f"{found['seconds']:.0f} seconds"
    rows["disk"] = f"{found['bytes'] / 1e6:.1f} MB ({found['predicted_bytes'] / 1e6:.1f} MB predicted)"
    for name, value in rows.items():
        table.add_row(name, value)
    Console().print(table)
    note(f"kept in {found['folder']}")
