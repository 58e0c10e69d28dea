"""What several verbs do alike: load data, choose a recipe, print results."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeVar

from limbeck.core.distilled import Distilled
from limbeck.core.errors import InputError
from limbeck.core.recipe import Recipe
from limbeck.data import Data, LoadOptions, canonical_name, holds_sound, load
from limbeck.data.subsets import subset_name
from limbeck.engine.run_file import FILE, DataReference, read_run_file
from limbeck.evaluation.diversity import DiversityProtocol
from limbeck.evaluation.evaluate import require_same_whitening
from limbeck.registry import Method, method, methods, parts

__all__ = [
    "DiversityOptions",
    "Metric",
    "as_wanted",
    "choose_preset",
    "choose_recipe",
    "chosen_metrics",
    "data_of",
    "load_again",
    "load_data",
    "note",
    "preset_name",
    "print_json",
    "run_folder",
    "seeds_of",
]

Metric = Literal["accuracy", "diversity"]
Chosen = TypeVar("Chosen", bound=str)

_OURS = ("digits", "fsdd")
"""Data sets whose settings are ours, for a CPU, and not published ones."""
_SPOKEN = ("mini-speech-commands", "fsdd")
"""Data sets of sound that methods have settings for."""


@dataclass(frozen=True, kw_only=True)
class DiversityOptions:
    """How diversity is measured, with --metrics diversity."""

    teacher: str = "convnet3"
    """Network in whose features diversity is measured; trained on the real images first."""
    teacher_epochs: int = 20
    """Epochs of its training."""
    scatter: Literal["tsne", "pca", "none"] = "tsne"
    """How features of the first classes come to lie in a plane, for the report: t-SNE, principal components (fast), or
    not at all."""

    def protocol(self) -> DiversityProtocol:
        """The same as a value."""
        return DiversityProtocol(network=self.teacher, epochs=self.teacher_epochs, projection=self.scatter)


def chosen_metrics(metrics: Sequence[Chosen]) -> tuple[Chosen, ...]:
    """What is to be measured.

    Raises:
        InputError: nothing, or something twice.
    """
    if not metrics or len(set(metrics)) < len(metrics):
        raise InputError("--metrics takes what is to be measured, at least one thing and each once.")
    return tuple(metrics)


def note(message: str) -> None:
    """A line for the person at the terminal, on standard error."""
    print(message, file=sys.stderr)


def print_json(value: Any) -> None:
    """A machine-readable result, alone on standard output."""
    print(json.dumps(value, indent=2, ensure_ascii=False))


def as_wanted(options: LoadOptions, recipe: Recipe) -> LoadOptions:
    """The loading options, with whitening where the recipe's settings are made for whitened images.

    Whoever wants them as they are says so to the recipe (``--pool.normalization any``).

    Args:
        options: of the command line.
        recipe: what is to be done.
    """
    wanted = getattr(recipe.pool, "normalization", "any")
    if wanted != "zca" or options.normalization != LoadOptions().normalization:
        return options
    note("images are whitened (--normalization zca), as these settings want them (or: --pool.normalization any)")
    return replace(options, normalization="zca")


def load_data(source: str, options: LoadOptions) -> Data:
    """The data set named on the command line."""
    return load(source, options)


def load_again(reference: DataReference, options: LoadOptions) -> Data:
    """The data of an earlier run, loaded as they were then.

    Args:
        reference: what its run.yaml says; the source must be there.
        options: loading options of the command line, which must be the defaults.

    Raises:
        InputError: loading options are given, which would have no effect.
    """
    if options not in (LoadOptions(), reference.options):
        raise InputError("data are loaded as the run file says; name them with --data to load them otherwise.")
    return load(reference.source or "", reference.options or options)


def data_of(folder: Path, distilled: Distilled, source: str | None, options: LoadOptions) -> Data:
    """The data that a distilled set was made from, unless others are named.

    Args:
        folder: of the run.
        distilled: its set.
        source: data named on the command line, or None.
        options: loading options of the command line.

    Raises:
        InputError: the run does not name its data, or they are no longer the same.
    """
    if source is not None:
        data = load_data(source, options)
        require_same_whitening(distilled.spec, data.spec)
        return data
    if not (folder / FILE).is_file():
        raise InputError(f"{folder} has no {FILE} that names its data; name them with --data.")
    run = read_run_file(folder, parts())
    if run.data.source is None:
        raise InputError(f"{folder} was made from data handed over in Python; name test data with --data.")
    data = load_again(run.data, options)
    if data.spec.digest != distilled.spec.digest:
        raise InputError(
            f"{run.data.source} no longer holds the data of {folder} (its digest differs); restore them, or "
            "name other data with --data."
        )
    require_same_whitening(distilled.spec, data.spec)
    return data


def choose_preset(chosen: Method, preset: str | None, data: str) -> str:
    """The preset to use: the one asked for, else the data set's own, else ``small``, else the method's first.

    Where other methods have published settings for the data set, a baseline gets its full ones, not ``small``.

    Args:
        chosen: the method.
        preset: what was asked for, or None.
        data: name of the data set.
    """
    if preset is not None:
        return preset
    known = canonical_name(data)
    if known in chosen.presets:
        return known
    published = known not in _OURS and any(known in other.presets for other in methods().values())
    return "small" if "small" in chosen.presets and not published else chosen.presets[0]


def choose_recipe(name: str, preset: str | None, base: str | None, data: str, ipc: int) -> Recipe:
    """The recipe of a method for a data set and a number of images per class, on a base method if asked for.

    Raises:
        InputError: an unknown method or preset, or a base where none is taken.
    """
    chosen = method(name)
    selected = choose_preset(chosen, preset, data)
    if base is None:
        return chosen.recipe(selected, ipc=ipc)
    below = method(base)
    if below.baseline:
        raise InputError(f"'{base}' is a baseline without steps to improve; use another --base.")
    return chosen.recipe(selected, below.recipe(choose_preset(below, preset, data), ipc=ipc), ipc)


def preset_name(source: str, classes: str | tuple[str, ...] | None = None) -> str:
    """The name by which presets are found for a data set: its own, or for other sound our own for a CPU.

    Args:
        source: what was given as --data.
        classes: what was given as --classes; a published subset goes by its own name.
    """
    subset = subset_name(classes)
    if subset is not None:
        return subset
    name = Path(source).name
    known = canonical_name(name)
    if known in _SPOKEN or not holds_sound(source):
        return name
    return "fsdd"


def run_folder(out: Path | None, *words: str | int) -> Path:
    """The folder of a run: as asked for, else one below ``runs`` that says what it holds."""
    return out if out is not None else Path("runs") / "-".join(str(word) for word in words)


def seeds_of(count: int) -> Sequence[int]:
    """The first seeds.

    Raises:
        InputError: fewer than one.
    """
    if count < 1:
        raise InputError(f"--seeds must be at least 1, not {count}.")
    return range(count)
