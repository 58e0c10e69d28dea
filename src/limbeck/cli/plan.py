"""``limbeck plan``."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from limbeck.cli.overrides import apply
from limbeck.cli.shared import as_wanted, choose_recipe, load_data, note, preset_name, print_json, run_folder
from limbeck.core.distilled import Storage
from limbeck.core.plain import encode
from limbeck.data import LoadOptions
from limbeck.engine.distill import make_context
from limbeck.engine.plan import Plan as Prediction
from limbeck.engine.plan import plan
from limbeck.engine.settings import Settings

__all__ = ["Plan"]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Predict memory, time and disk of 'limbeck distill' with the same flags, before anything starts.

    The recipe is changed by --with SLOT=PART (or SLOT=none) and --SLOT.FIELD VALUE; 'limbeck show METHOD' lists them.
    """

    method: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="METHOD")]
    """Method ('limbeck list methods')."""
    data: str = "digits"
    """Data set by name, or a folder of images or parquet files."""
    ipc: int = 10
    """Stored images per class."""
    out: Path | None = None
    """Folder where the run would be written. Default: runs/METHOD-DATA-ipcN-seed0."""
    preset: str | None = None
    """Whose settings to use; by default those of the data set, or 'small' if there are none."""
    base: str | None = None
    """Method to build on, for add-ons such as dream."""
    storage: Storage = "float32"
    """How pixels are kept: float32, or uint8 like the real images, a quarter of the bytes."""
    load: tyro.conf.OmitArgPrefixes[LoadOptions] = field(default_factory=LoadOptions)
    """How the data are loaded."""
    settings: tyro.conf.OmitArgPrefixes[Settings] = field(default_factory=Settings)
    """How the run would be carried out."""
    json: bool = False
    """Print the prediction as JSON, alone on standard output."""

    def run(self, swaps: list[str], fields: list[str]) -> int:
        """Predict."""
        name = preset_name(self.data, self.load.classes)
        recipe = choose_recipe(self.method, self.preset, self.base, name, self.ipc)
        recipe = apply(recipe, swaps, fields, f"limbeck plan {self.method}")
        data = load_data(self.data, as_wanted(self.load, recipe))
        context = make_context(recipe, data, self.ipc, 0, self.settings)
        if context.execution.compile:
            note("compiling the steps for the probe; a run on this machine finds them compiled")
        out = run_folder(self.out, recipe.name, data.spec.name, f"ipc{self.ipc}", "seed0")
        found = plan(recipe, context, out, self.storage, self.settings.class_block)
        if self.json:
            print_json({**encode(found), "steps": found.steps, "seconds": found.seconds})
        else:
            _show(found, f"{recipe.name} on {data.spec.name}, IPC {self.ipc}")
        return 0


def _show(found: Prediction, title: str) -> None:
    from rich.console import Console
    from rich.table import Table

    way = found.execution
    table = Table(title=title, show_header=False, title_justify="left")
    steps = {
        "inner steps": f"{found.load.iterations} x {found.load.steps} = {found.steps}",
        "images in a step": f"{found.load.real} real and {found.load.decoded} decoded synthetic, each class",
        "an inner step": f"{found.step_seconds:.3g} s",
        "before the first": _duration(found.preparation_seconds),
    }
    for name, value in {
        **(steps if found.steps else {}),
        "network operations": f"{found.flops / 1e12:.3g} TFLOP",
        "steps are": ("compiled" if way.compile else "eager")
        + f", {way.precision}, blocks {way.blocks}, microbatch {way.microbatch or 'none'}",
        "the whole run": _duration(found.seconds),
        "memory": f"{found.memory_bytes / 1e9:.2f} of {found.memory_free_bytes / 1e9:.1f} GB",
        "disk": f"{found.disk_bytes / 1e6:.1f} MB of {found.disk_free_bytes / 1e9:.1f} GB",
    }.items():
        table.add_row(name, value)
    Console().print(table)
    for remedy in found.remedies:
        note(f"it will not fit: {remedy}")


def _duration(seconds: float) -> str:
    """Seconds, minutes, hours or days, in the unit that reads best."""
    for unit, size in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"about {seconds / size:.3g} {unit}"
    return f"about {seconds:.3g} seconds"
