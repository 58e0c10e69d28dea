"""``run.yaml``: what was asked for, enough to repeat a run exactly."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import yaml

from limbeck.core.contracts import Part
from limbeck.core.distilled import Storage
from limbeck.core.errors import InputError
from limbeck.core.execution import Precision
from limbeck.core.plain import decode_dataclass, encode
from limbeck.core.recipe import Recipe
from limbeck.data.options import LoadOptions
from limbeck.storage.atomic import write_text

__all__ = ["FILE", "DataReference", "RunFile", "read_run_file", "write_run_file"]

FILE = "run.yaml"
FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class DataReference:
    """Which data a run used.

    Args:
        name: name of the data set.
        digest: hash of its training images and labels.
        source: what `limbeck.data.load` was given; None for data handed over in Python.
        options: how it was loaded; None likewise.
        whitened: whether networks see it whitened; the options say so too, where there are any.
    """

    added: ClassVar[Mapping[str, Any]] = {"whitened": False}

    name: str
    digest: str
    source: str | None
    options: LoadOptions | None
    whitened: bool = False


@dataclass(frozen=True, kw_only=True)
class RunFile:
    """Everything that determines the result of a run, up to versions and hardware.

    Args:
        format: version of this layout.
        data: which data.
        ipc: stored images per class.
        seed: seed of all random streams.
        dtype: floating point type of images and weights.
        precision: number format of convolutions.
        storage: how stored pixels are written.
        recipe: the composed recipe.
        cut_after: seconds after which the run is cut; None for all its steps.
    """

    added: ClassVar[Mapping[str, Any]] = {"cut_after": None}

    format: int = FORMAT
    data: DataReference
    ipc: int
    seed: int
    dtype: Literal["float32", "float64"]
    precision: Precision
    storage: Storage
    recipe: Recipe
    cut_after: float | None = None


def write_run_file(folder: Path, run: RunFile) -> None:
    """Write ``run.yaml`` into a folder, atomically."""
    write_text(folder / FILE, yaml.safe_dump(encode(run), sort_keys=False, allow_unicode=True, width=110))


def read_run_file(path: Path, parts: Mapping[str, type[Part]]) -> RunFile:
    """Read a run file, strictly.

    Args:
        path: the file, or the folder that holds it.
        parts: part classes by name.

    Raises:
        InputError: it is missing or no YAML, or has an unknown field or name or a wrong type.
    """
    path = path / FILE if path.is_dir() else path
    data = read_plain(path)
    if data.get("format") != FORMAT:
        raise InputError(f"{path} has format {data.get('format')!r}; this version reads format {FORMAT}.")
    return decode_dataclass(RunFile, data, path.name, parts)


def read_plain(path: Path) -> dict[str, Any]:
    """A run file as plain data.

    Raises:
        InputError: it is missing, no YAML, or no mapping.
    """
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(f"there is no run file {path}; give a run.yaml or the folder of a run.") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is no YAML file ({' '.join(str(error).split())}).") from error
    if not isinstance(data, dict):
        raise InputError(f"{path} is no run file; it must be a mapping of fields.")
    return data
