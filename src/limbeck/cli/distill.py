"""``limbeck distill``."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated

import tyro

from limbeck.cli.overrides import apply
from limbeck.cli.shared import (
    as_wanted,
    choose_recipe,
    load_again,
    load_data,
    note,
    preset_name,
    print_json,
    run_folder,
)
from limbeck.core.distilled import Storage
from limbeck.core.errors import InputError
from limbeck.core.recipe import Recipe
from limbeck.data import Data, LoadOptions, canonical_name
from limbeck.engine.distill import distill
from limbeck.engine.run_file import FILE, RunFile, read_run_file
from limbeck.engine.settings import Settings
from limbeck.registry import parts

__all__ = ["Distill"]


@dataclass(frozen=True, kw_only=True)
class Distill:
    """Distil a data set with a method, or repeat a run from its run.yaml.

    The recipe is changed by --with SLOT=PART (or SLOT=none) and --SLOT.FIELD VALUE; 'limbeck show METHOD' lists them.
    """

    method: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="METHOD")]
    """Method ('limbeck list methods'), or the run.yaml or folder of a run to repeat."""
    data: str | None = None
    """Data set by name, or a folder of images or parquet files; digits by default."""
    ipc: int | None = None
    """Stored images per class; 10 by default."""
    seed: int | None = None
    """Seed of all random choices; 0 by default."""
    out: Path | None = None
    """Folder of the run; resumed if it was interrupted. Default: runs/METHOD-DATA-ipcN-seedN."""
    preset: str | None = None
    """Whose settings to use; by default those of the data set, or 'small' if there are none."""
    base: str | None = None
    """Method to build on, for add-ons such as dream."""
    storage: Storage | None = None
    """How pixels are kept: float32 (default), or uint8 like the real images, a quarter of the bytes."""
    load: tyro.conf.OmitArgPrefixes[LoadOptions] = field(default_factory=LoadOptions)
    """How the data are loaded."""
    settings: tyro.conf.OmitArgPrefixes[Settings] = field(default_factory=Settings)
    """How the run is carried out."""
    json: bool = False
    """Print the result as JSON, alone on standard output."""

    def run(self, swaps: list[str], fields: list[str]) -> int:
        """Distil."""
        path = Path(self.method)
        if path.suffix in (".yaml", ".yml") or (path / FILE).is_file():
            data, recipe, ipc, seed, storage, settings = self._repeated(path, swaps, fields)
        else:
            data, recipe, ipc, seed, storage, settings = self._asked(swaps, fields)
        out = run_folder(self.out, recipe.name, data.spec.name, f"ipc{ipc}", f"seed{seed}")
        distilled = distill(recipe, data, ipc=ipc, seed=seed, out=out, storage=storage, settings=settings)
        if self.json:
            print_json(
                {
                    "out": str(out),
                    "method": recipe.name,
                    "data": data.spec.name,
                    "ipc": ipc,
                    "seed": seed,
                    "storage": storage,
                    "bytes": distilled.bytes,
                    "bytes_labels": distilled.label_bytes,
                    **({} if distilled.student_lr is None else {"student_lr": distilled.student_lr}),
                    "preview": str(out / "preview.png"),
                }
            )
        else:
            labels = f", and {distilled.label_bytes} bytes of soft labels" if distilled.label_bytes else ""
            note(f"{out}: {ipc} stored images for each of {data.spec.classes} classes, {distilled.bytes} bytes{labels}")
            if distilled.student_lr is not None:
                note(f"learnt step size of networks: {distilled.student_lr:g} (limbeck evaluate --protocol mtt)")
            note(f"look at {out / 'preview.png'}; next: limbeck evaluate {out}")
        return 0

    def _asked(self, swaps: list[str], fields: list[str]) -> tuple[Data, Recipe, int, int, Storage, Settings]:
        source = self.data if self.data is not None else "digits"
        ipc = 10 if self.ipc is None else self.ipc
        name = preset_name(source, self.load.classes)
        recipe = choose_recipe(self.method, self.preset, self.base, name, ipc)
        recipe = apply(recipe, swaps, fields, f"limbeck distill {self.method}")
        recipe.check()
        if self.preset is None and canonical_name(name) != "digits" and not self.json:
            note(f"recipe: {recipe.name}; 'limbeck show {self.method}' shows presets and values")
        return (
            load_data(source, as_wanted(self.load, recipe)),
            recipe,
            ipc,
            self.seed or 0,
            self.storage or "float32",
            self.settings,
        )

    def _repeated(
        self, path: Path, swaps: list[str], fields: list[str]
    ) -> tuple[Data, Recipe, int, int, Storage, Settings]:
        """What a run file asks for, with what is given beside it changed."""
        run: RunFile = read_run_file(path, parts())
        if self.preset is not None or self.base is not None:
            raise InputError("a run file says which recipe to use; leave --preset and --base out.")
        recipe = apply(run.recipe, swaps, fields, f"limbeck distill {path}")
        source = self.data if self.data is not None else run.data.source
        if source is None:
            raise InputError(f"{path} used data handed over in Python ('{run.data.name}'); name them with --data.")
        if self.settings.dtype not in (run.dtype, Settings().dtype):
            raise InputError(f"a run file says which dtype to use ({run.dtype}); leave --dtype out.")
        if self.settings.precision not in (run.precision, Settings().precision):
            raise InputError(f"a run file says which precision to use ({run.precision}); leave --precision out.")
        data = load_again(run.data, self.load) if self.data is None else load_data(self.data, self.load)
        if data.spec.digest != run.data.digest and self.data is None:
            raise InputError(
                f"{source} no longer holds the data of {path} (its digest differs); restore them, or name other data "
                "with --data."
            )
        return (
            data,
            recipe,
            run.ipc if self.ipc is None else self.ipc,
            run.seed if self.seed is None else self.seed,
            self.storage or run.storage,
            replace(self.settings, dtype=run.dtype, precision=run.precision),
        )
