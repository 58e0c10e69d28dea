"""One HTML file on some runs: what came out, what it looks like, what it cost, how it was made and judged.

The file needs nothing else: pictures are inside it, and its own policy forbids a browser to fetch anything. Equal runs
give equal bytes. Every number is read from the files of the runs.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from limbeck.core.errors import InputError
from limbeck.core.real import DataSpec
from limbeck.reports.accuracy import accuracy_section, findings
from limbeck.reports.citations import bibtex
from limbeck.reports.comparison import Comparison, Row, told_apart
from limbeck.reports.cost import cost_section
from limbeck.reports.differences import differences_section
from limbeck.reports.diversity import diversity_section
from limbeck.reports.entries import Entry, labelled
from limbeck.reports.experts import experts_section
from limbeck.reports.figures import FULL, method_colours
from limbeck.reports.growth import growth_section
from limbeck.reports.losses import losses_section
from limbeck.reports.matrix import matrix_section
from limbeck.reports.ranking import ranking_section
from limbeck.reports.recipes import protocol_section, recipes_section
from limbeck.reports.runs import Run
from limbeck.reports.sheets import images_section
from limbeck.reports.wording import enumeration
from limbeck.storage.atomic import write_text

__all__ = ["write_page"]


def write_page(
    path: Path,
    runs: Sequence[Run],
    comparison: Comparison | None,
    title: str,
    command: str | None = None,
) -> None:
    """Write the page, atomically.

    Args:
        path: the HTML file.
        runs: finished runs, at least one.
        comparison: the table that they belong to, if they were compared.
        title: heading of the page.
        command: what was typed to make it, if known.

    Raises:
        InputError: there are no runs.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    if not runs:
        raise InputError("there are no finished runs to report on; give the folders of runs.")
    environment = Environment(
        loader=PackageLoader("limbeck.reports"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    content = _content(Path(path), runs, comparison)
    html = environment.get_template("page.html").render(title=title, command=command, **content)
    write_text(path, html)


def _content(path: Path, runs: Sequence[Run], comparison: Comparison | None) -> dict[str, Any]:
    """Everything that the template shows."""
    entries = labelled(runs, comparison)
    rows = told_apart(comparison.rows) if comparison is not None else []
    colours = method_colours([*(row.method for row in rows), *(entry.label for entry in entries)])
    sections = {
        "accuracy": accuracy_section(entries, colours, comparison, rows),
        "differences": differences_section(rows, colours),
        "matrix": matrix_section(rows, colours),
        "growth": growth_section(entries, colours),
        "images": images_section(entries, colours, comparison.rows if comparison is not None else ()),
        "diversity": diversity_section(entries, colours),
        "ranking": ranking_section(entries, colours),
        "experts": experts_section(entries, colours),
        "losses": losses_section(entries, colours),
        "cost": cost_section(entries, colours),
        "protocol": protocol_section(entries, comparison),
        "recipes": recipes_section(entries, colours),
        "citation": _citation(entries),
        "use": {"folder": json.dumps(_relative(_leading(entries)[0].run.folder, path.parent), ensure_ascii=False)},
    }
    return {
        "summary": _summary(entries, rows),
        "findings": findings(rows),
        "heard": any(entry.distilled.spec.sound is not None for entry in entries),
        "sections": sections,
        "files": [_relative(entry.run.folder, path.parent) for entry in entries],
    }


def _leading(entries: Sequence[Entry]) -> list[Entry]:
    """What was learnt before what was picked."""
    return sorted(entries, key=lambda entry: not entry.learnt)


def _citation(entries: Sequence[Entry]) -> str | None:
    """BibTeX of what the recipes cite; None for nothing."""
    return bibtex([key for entry in _leading(entries) for key in entry.distilled.recipe.cite()]) or None


def _summary(entries: Sequence[Entry], rows: Sequence[Row]) -> str:
    """What was distilled, in one sentence."""
    full = next((row for row in rows if row.method == FULL), None)
    real = f"{full.training_images:,} real training images of " if full else ""
    specs = list({entry.distilled.spec.digest: entry.distilled.spec for entry in entries}.values())
    described = []
    for spec in specs:
        described.append(
            f"{spec.name} has {real}{spec.classes} classes ({_class_names(spec.class_names)}), {_kind(spec)}, "
            f"{spec.height}\u00a0×\u00a0{spec.width} pixels"
        )
    ipcs = sorted({entry.distilled.ipc for entry in entries})
    counts = enumeration(map(str, ipcs)) + f" stored image{'' if ipcs == [1] else 's'} per class"
    methods = enumeration(dict.fromkeys(entry.label for entry in entries))
    data = enumeration(spec.name for spec in specs)
    return f"{counts}, made from {data} by {methods}; {'; '.join(described)}."


def _kind(spec: DataSpec) -> str:
    if spec.sound is not None:
        return f"spectrograms of {spec.sound.seconds:g} s of sound at {spec.sound.sample_rate:,} Hz"
    return {1: "grey", 3: "colour"}.get(spec.channels, f"{spec.channels} channels")


def _class_names(names: Sequence[str]) -> str:
    if list(names) == [str(number) for number in range(len(names))] and len(names) > 2:
        return f"{names[0]} to {names[-1]}"
    return enumeration(names) if len(names) <= 10 else f"{', '.join(names[:8])} and {len(names) - 8} more"


def _relative(folder: Path, start: Path) -> str:
    """The folder as seen from the page, when it lies beside or below it; as given otherwise."""
    absolute, start = Path(os.path.abspath(folder)), Path(os.path.abspath(start))
    if absolute.is_relative_to(start):
        return absolute.relative_to(start).as_posix()
    return Path(folder).as_posix()
