"""One HTML file on some runs: what came out, what it looks like, what it cost, how it was made and judged.

The file needs nothing else: pictures are inside it, and its own policy forbids a browser to fetch anything. Equal runs
give equal bytes. Every number is read from the files of the runs.
"""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from limbeck.core.errors import InputError
from limbeck.core.real import DataSpec
from limbeck.engine.run_file import FILE
from limbeck.reports.accuracy import accuracy_section, findings
from limbeck.reports.beside_published import published_section
from limbeck.reports.citations import bibtex
from limbeck.reports.classes import classes_section
from limbeck.reports.comparison import Comparison, Row, told_apart
from limbeck.reports.continual import Stages, continual_section
from limbeck.reports.cost import cost_section
from limbeck.reports.differences import differences_section
from limbeck.reports.diversity import diversity_section
from limbeck.reports.entries import Entry, labelled
from limbeck.reports.experts import experts_section
from limbeck.reports.figures import FULL, method_colours
from limbeck.reports.growth import growth_section
from limbeck.reports.losses import losses_section
from limbeck.reports.matrix import matrix_section
from limbeck.reports.page_files import files_folder, write_files
from limbeck.reports.plain_table import FORMS
from limbeck.reports.prefixes import prefixes_section
from limbeck.reports.ranking import ranking_section
from limbeck.reports.recipes import protocol_section, recipes_section
from limbeck.reports.robustness import robustness_section
from limbeck.reports.runs import Run
from limbeck.reports.sampling import sampling_section
from limbeck.reports.sheets import images_section
from limbeck.reports.tradeoff import tradeoff_section
from limbeck.reports.wording import enumeration
from limbeck.storage.atomic import write_text

__all__ = ["write_page"]


def write_page(
    path: Path,
    runs: Sequence[Run],
    comparison: Comparison | None,
    title: str,
    command: str | None = None,
    *,
    stages: Stages | None = None,
    files: bool = False,
) -> None:
    """Write the page, atomically.

    Args:
        path: the HTML file.
        runs: finished runs, at least one.
        comparison: the table that they belong to, if they were compared.
        title: heading of the page.
        command: what was typed to make it, if known.
        stages: what came out where classes came in steps; the runs are then those of some steps.
        files: also write its figures as SVG and PNG and its tables as CSV, Markdown and LaTeX, into a folder beside it
            (``report-files`` for ``report.html``), and link them.

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
    path = Path(path)
    content = _content(path, runs, comparison, stages)
    folder = files_folder(path)
    if files:
        write_files(folder, content["sections"])
    linked = {
        "beside": quote(folder.name) if files else "",
        "forms": {suffix: name for suffix, (name, _) in FORMS.items()},
    }
    html = environment.get_template("page.html").render(title=title, command=command, **linked, **content)
    write_text(path, html)


def _content(path: Path, runs: Sequence[Run], comparison: Comparison | None, stages: Stages | None) -> dict[str, Any]:
    """Everything that the template shows."""
    entries = labelled(runs, comparison)
    rows = told_apart(comparison.rows) if comparison is not None else []
    known = [curve.method for curve in stages.curves] if stages is not None else []
    colours = method_colours([*known, *(row.method for row in rows), *(entry.label for entry in entries)])
    sections = {
        "continual": continual_section(stages, colours),
        "accuracy": accuracy_section(entries, colours, comparison, rows),
        "differences": differences_section(rows, colours),
        "matrix": matrix_section(rows, colours),
        "published": published_section(entries, colours),
        "tradeoff": tradeoff_section(entries, colours),
        "classes": classes_section(entries, colours),
        "growth": growth_section(entries, colours),
        "prefixes": prefixes_section(entries, colours),
        "images": images_section(entries, colours, comparison.rows if comparison is not None else ()),
        "diversity": diversity_section(entries, colours),
        "ranking": ranking_section(entries, colours),
        "robustness": robustness_section(entries, colours),
        "experts": experts_section(entries, colours),
        "losses": losses_section(entries, colours),
        "sampling": sampling_section(entries, colours),
        "cost": cost_section(entries, colours),
        "protocol": protocol_section(entries, comparison),
        "recipes": recipes_section(entries, colours),
        "citation": _citation(entries),
        "use": _use(_relative(_leading(entries)[0].run.folder, path.parent)),
    }
    return {
        "summary": _summary(entries, rows, stages),
        "findings": findings(rows),
        "heard": any(entry.distilled.spec.sound is not None for entry in entries),
        "sections": sections,
        "files": [_relative(entry.run.folder, path.parent) for entry in entries],
    }


def _leading(entries: Sequence[Entry]) -> list[Entry]:
    """What was learnt before what was picked."""
    return sorted(entries, key=lambda entry: not entry.learnt)


def _use(folder: str) -> dict[str, str]:
    """How the first set is loaded and its run repeated."""
    repeat = f"limbeck distill {shlex.quote(f'{folder}/{FILE}')} --out {shlex.quote(f'{folder}-again')}"
    return {"folder": json.dumps(folder, ensure_ascii=False), "repeat": repeat}


def _citation(entries: Sequence[Entry]) -> str | None:
    """BibTeX of what the recipes cite; None for nothing."""
    return bibtex([key for entry in _leading(entries) for key in entry.distilled.recipe.cite()]) or None


def _summary(entries: Sequence[Entry], rows: Sequence[Row], stages: Stages | None) -> str:
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
    data = enumeration(dict.fromkeys(spec.name for spec in specs))
    if stages is not None:
        steps = stages.orders[0]
        return (
            f"{counts}, made from {data} by {methods}; its {sum(map(len, steps))} classes came in {len(steps)} steps, "
            f"in {len(stages.orders)} order{'' if len(stages.orders) == 1 else 's'}. Shown are the sets of the first."
        )
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
