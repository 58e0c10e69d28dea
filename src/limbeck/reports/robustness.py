"""What networks reach under attack: its file, a table for the terminal, and a section of the page."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from limbeck.core.distilled import Distilled
from limbeck.core.execution import Precision
from limbeck.core.plain import encode
from limbeck.core.real import DataSpec
from limbeck.evaluation.robustness import Robustness
from limbeck.reports.canvas import INK, PHONE, POINTS, Format, accuracy_line, canvas, images_per_class, plain, written
from limbeck.reports.curves import MeanAccuracy, accuracy_cell, judged_on, limited, named, over_seeds
from limbeck.reports.entries import Entry, Figure, numbered
from limbeck.reports.plain_table import Cell, Column, PlainTable
from limbeck.reports.runs import as_text, judged_by, robustness_file
from limbeck.reports.tables import listing, spread
from limbeck.storage.atomic import write_text

if TYPE_CHECKING:
    from rich.table import Table

__all__ = [
    "AttackedPoint",
    "AttackedSets",
    "attacked_curves",
    "robustness_as_plain",
    "robustness_section",
    "robustness_table",
    "write_robustness",
]


def robustness_as_plain(found: Robustness) -> dict[str, Any]:
    """As plain data: mean and deviation at each budget, from 0 on, and every network."""
    return {
        "protocol": encode(found.protocol),
        "attack": {"name": "pgd", "norm": "inf", **encode(found.attack), "toolbox": found.toolbox},
        "seed": found.seed,
        "images": found.images,
        "points": [{"epsilon": epsilon, "mean": mean, "std": std} for epsilon, mean, std in found.points()],
        "networks": [encode(entry) for entry in found.networks],
        "seconds": found.seconds,
    }


def write_robustness(
    folder: Path,
    found: Robustness,
    distilled: Distilled,
    judges: DataSpec | None = None,
    precision: Precision = "float32",
    labels: str = "",
) -> Path:
    """Write what networks reach under attack beside the set, atomically; the file's path.

    Args:
        folder: of the set.
        found: what came out.
        distilled: the set.
        judges: the data whose test images were attacked; those of the set by default.
        precision: number format of the networks' convolutions.
        labels: digest of the soft labels, where there are any.
    """
    plain, elsewhere = judged_by(robustness_as_plain(found), distilled, judges)
    name = robustness_file(found.protocol, found.attack, found.seed, distilled.storage, elsewhere, precision, labels)
    write_text(folder / name, as_text(plain))
    return folder / name


def robustness_table(found: Robustness, title: str = "") -> Table:
    """Accuracy of each architecture at each budget.

    Args:
        found: what came out.
        title: what was attacked.
    """
    about = f"protocol {found.protocol.name}, {found.images:,} test images, PGD of {found.attack.steps} steps"
    columns = ["network", "not attacked, %", *(f"{_budget(epsilon)}, %" for epsilon in found.attack.epsilons)]
    rows = []
    for entry in found.networks:
        attacked = [spread(values) for values in zip(*entry.accuracies, strict=True)]
        rows.append([entry.network, spread(entry.clean), *attacked])
    return listing(columns, rows, f"{title}: {about}" if title else about)


def _budget(epsilon: float) -> str:
    """In grey levels where it is a number of them."""
    levels = Fraction(epsilon * 255).limit_denominator(1000)
    return f"{levels}/255" if levels.denominator == 1 else f"{epsilon:g}"


@dataclass(frozen=True, kw_only=True)
class AttackedPoint(MeanAccuracy):
    """Accuracy at one budget, over the seeds of a method."""

    epsilon: float
    """How far a pixel may be moved, in units of images in [0, 1]; 0 for images as they are."""


@dataclass(frozen=True)
class AttackedSets:
    """What the networks of one method reach at one IPC, from no attack to the largest budget.

    Args:
        label: what the method is called.
        ipc: stored images per class.
        runs: how many runs were made; one per seed.
        points: by budget, 0 first.
    """

    label: str
    ipc: int
    runs: int
    points: tuple[AttackedPoint, ...]


def robustness_section(entries: Sequence[Entry], colours: Mapping[str, str]) -> list[dict[str, Any]] | None:
    """One figure and table for all sets that were attacked alike; None for none.

    Args:
        entries: the runs of the page.
        colours: of methods.
    """
    groups: dict[str, list[tuple[Entry, dict[str, Any]]]] = {}
    for entry in entries:
        for found in entry.run.robustness:
            alike = [entry.distilled.spec.digest, *(found.get(name) for name in ("data", "protocol", "attack"))]
            groups.setdefault(json.dumps(alike, sort_keys=True), []).append((entry, found))
    return [_shown(members, colours, place, len(groups)) for place, members in enumerate(groups.values())] or None


def _shown(
    members: Sequence[tuple[Entry, dict[str, Any]]], colours: Mapping[str, str], place: int, count: int
) -> dict[str, Any]:
    entry, first = members[0]
    attack = first["attack"]
    by_method: dict[tuple[int, str], dict[Path, list[dict[str, Any]]]] = {}
    for one, found in members:
        runs = by_method.setdefault((one.distilled.ipc, one.label), {})
        runs.setdefault(one.run.folder, []).append(found)
    curves = [_curve(label, ipc, list(runs.values())) for (ipc, label), runs in by_method.items()]
    name = numbered("robustness", place, count)
    title = f"{judged_on(entry.run, first)}, protocol {first['protocol']['name']}"
    spoken = "; ".join(
        f"{curve.label}, IPC {curve.ipc}: "
        + ", ".join(f"{100 * point.mean:.1f} at {_budget(point.epsilon)}" for point in curve.points)
        for curve in curves
    )
    figure = Figure(
        f"Test accuracy in percent against the budget of the attack: {title}. {spoken}.",
        functools.partial(attacked_curves, curves, colours),
        name=name,
    )
    budgets = [point.epsilon for point in curves[0].points]
    columns = [
        Column("IPC"),
        Column("Method", "head"),
        *(
            Column(
                f"{_budget(epsilon)}, %" if epsilon else "Not attacked, %",
                exact=(f"accuracy_{epsilon:.6g}", f"accuracy_{epsilon:.6g}_std"),
            )
            for epsilon in budgets
        ),
        Column("Networks"),
        Column("Runs"),
    ]
    rows: list[list[Cell | str | int]] = [
        [
            curve.ipc,
            Cell(curve.label, colour=colours[curve.label]),
            *(accuracy_cell(point) for point in curve.points),
            curve.points[0].networks,
            curve.runs,
        ]
        for curve in curves
    ]
    about = (
        f"{title}: {attack['steps']} steps from a random start on {first['images']:,} test images, by the Adversarial "
        f"Robustness Toolbox {attack['toolbox']}."
    )
    table = PlainTable(name, f"Accuracy under attack: {title}.", columns, rows)
    return {"sentence": about, "table": table, "figure": figure}


def _curve(label: str, ipc: int, seeds: Sequence[Sequence[dict[str, Any]]]) -> AttackedSets:
    """One method; each seed may have been attacked several times, in networks of other seeds."""
    budgets = [0.0, *seeds[0][0]["attack"]["epsilons"]]
    points = []
    for place, epsilon in enumerate(budgets):
        figures = over_seeds([[_at(found, place) for found in of_seed] for of_seed in seeds])
        points.append(AttackedPoint(epsilon=epsilon, **figures))
    return AttackedSets(label, ipc, len(seeds), tuple(points))


def _at(found: Mapping[str, Any], place: int) -> dict[str, Any]:
    """Accuracies of all networks without an attack, for place 0, or at one of its budgets."""
    return {
        "networks": [
            {"accuracies": entry["clean"] if place == 0 else [each[place - 1] for each in entry["accuracies"]]}
            for entry in found["networks"]
        ]
    }


def attacked_curves(
    curves: Sequence[AttackedSets], colours: Mapping[str, str] | None = None, width: int = 960, form: Format = "svg"
) -> bytes:
    """Mean test accuracy in percent against the budget in grey levels, one line per method, one picture per IPC.

    Whiskers are one standard deviation (`AttackedPoint.std`) to each side.

    Args:
        curves: attacked alike, at least one.
        colours: by method; `limbeck.reports.figures.method_colours` by default.
        width: of the picture in CSS pixels.
        form: ``svg`` or ``png``.

    Raises:
        ValueError: there are no curves.
    """
    colours, legend = named((curve.label for curve in curves), colours)
    ipcs = sorted({curve.ipc for curve in curves})
    across = min(2, len(ipcs)) if width >= PHONE else 1
    figure, axes = canvas(-(-len(ipcs) // across), width, 280, legend, below=58, across=across, titles=24)
    for axis, ipc in zip(axes, ipcs, strict=False):
        shown = [curve for curve in curves if curve.ipc == ipc]
        for index, curve in enumerate(shown):
            moved = [255 * point.epsilon for point in curve.points]
            reached = [(point.mean, point.std) for point in curve.points]
            accuracy_line(axis, moved, reached, colours[curve.label], (index, len(shown)))
        levels = [255 * point.epsilon for curve in shown for point in curve.points]
        accuracies = [(point.mean, point.std) for curve in shown for point in curve.points]
        limited(axis, levels, accuracies, whole=max(levels) >= 2)
        axis.set_title(images_per_class(ipc), loc="left", fontsize=POINTS, color=INK, pad=7)
        axis.set_xlabel("how far a pixel may be moved, of 255 grey levels")
        axis.set_ylabel("test accuracy, %")
        plain(axis)
    for axis in axes[len(ipcs) :]:
        axis.set_visible(False)
    return written(figure, form)
