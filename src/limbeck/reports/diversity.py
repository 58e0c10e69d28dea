"""Diversity of sets beside each other: relative distances, rows of tables, real and distilled images in a plane.

Everything comes from the ``diversity-*.json`` of runs; nothing is computed on data here.
"""

from __future__ import annotations

import functools
import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from limbeck.ops.diversity import relative
from limbeck.reports.canvas import INK, POINTS, Format, canvas, images_per_class, literal, written
from limbeck.reports.entries import Entry, Figure
from limbeck.reports.runs import Run
from limbeck.reports.sheets import MOST_CLASSES
from limbeck.reports.tables import diversity_cells, real_cells
from limbeck.reports.wording import enumeration

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = [
    "DiversityRow",
    "DiversityTable",
    "class_scatter",
    "diversity_section",
    "diversity_tables",
    "relative_distances",
]

_REAL, _SYNTHETIC = "#009E73", "#D55E00"
"""Green dots and red stars, as in Fig. 7 of DSDM, in hues that colour-blind readers tell apart."""
_PANEL = 300
"""CSS pixels that a panel takes across, at least."""


@dataclass(frozen=True)
class DiversityRow:
    """Diversity of one method at one IPC, over its runs.

    Args:
        label: the method as the report calls it.
        ipc: stored images per class.
        images: decoded images per class, mean over classes.
        figures: mean over classes and runs of each figure; None where one has none.
        relative: feature distance divided by the largest of the compared sets of this size, class by class, then the
            mean; None when there is no other set to compare with.
        runs: how many runs.
        first: the file of the first run.
    """

    label: str
    ipc: int
    images: float
    figures: dict[str, float | None]
    relative: float | None
    runs: int
    first: dict[str, Any]


@dataclass(frozen=True)
class DiversityTable:
    """Sets measured alike: against the same real images, by the same teacher.

    Args:
        data: name of the data set, and of the one that it was measured against where that is another.
        class_names: of the data set.
        measured: protocol, features and teacher, as in the files.
        rows: by IPC and method, in the order of the runs.
    """

    data: str
    class_names: tuple[str, ...]
    measured: dict[str, Any]
    rows: tuple[DiversityRow, ...]


def relative_distances(sets: Sequence[Mapping[str, Any]]) -> list[float]:
    """Feature distance of each set divided by the largest of all, class by class, and the mean over the classes.

    Args:
        sets: contents of ``diversity-*.json``, of the same classes.
    """
    by_class = zip(*([entry["feature_distance"] for entry in found["classes"]] for found in sets), strict=True)
    shares = [relative(distances) for distances in by_class]
    return [statistics.fmean(shown) for shown in zip(*shares, strict=True)]


def diversity_tables(runs: Sequence[Run], labels: Sequence[str]) -> list[DiversityTable]:
    """Tables of what has been measured alike.

    Args:
        runs: finished runs; those whose diversity has not been measured are left out.
        labels: the method of each run as it is to be called.
    """
    groups: dict[str, dict[int, tuple[str, Run, dict[str, Any]]]] = {}
    for place, (label, run) in enumerate(zip(labels, runs, strict=True)):
        for found in run.diversities:
            teacher = {name: found["protocol"][name] for name in ("network", "training", "epochs")}
            key = [run.distilled.spec.digest, found.get("data"), teacher, found["seed"]]
            group = groups.setdefault(json.dumps(key, sort_keys=True), {})
            # The same figures may lie there twice, under two projections; what can be drawn goes first.
            if place not in group or (found["scatter"] and not group[place][2]["scatter"]):
                group[place] = (label, run, found)
    return [_table(list(members.values())) for members in groups.values()]


def class_scatter(
    scatter: Sequence[Mapping[str, Any]], names: Sequence[str], width: int = 960, form: Format = "png"
) -> bytes:
    """Real images as dots and distilled ones as stars, one panel per class, after Fig. 7 of DSDM.

    Args:
        scatter: entries of ``scatter`` in a ``diversity-*.json``, at least one.
        names: names of all classes.
        width: of the picture in CSS pixels.
        form: ``svg`` or ``png``.

    Raises:
        ValueError: there is nothing to draw.
    """
    if not scatter:
        raise ValueError("there is no scatter to draw")
    across = max(1, min(len(scatter), width // _PANEL))
    down = -(-len(scatter) // across)
    legend = [_mark("real images", "o", _REAL, 5), _mark("distilled images", "*", _SYNTHETIC, 11)]
    figure, axes = canvas(down, width, 250, legend, below=16, across=across, titles=24)
    for axis, entry in zip(axes, scatter, strict=False):
        _draw(axis, entry)
        axis.set_title(literal(str(names[entry["label"]])), loc="left", fontsize=POINTS, color=INK, pad=7)
    for axis in axes[len(scatter) :]:
        axis.remove()
    return written(figure, form)


def diversity_section(entries: Sequence[Entry], colours: Mapping[str, str]) -> list[dict[str, Any]] | None:
    """One table for all sets that were measured alike, and a scatter of each method's first set; None for none."""
    found = diversity_tables([entry.run for entry in entries], [entry.label for entry in entries])
    tables = [
        {
            "name": f"{table.data}, seen by {table.measured['protocol']['network']}" if len(found) > 1 else "",
            "sentence": _measured(table),
            "rows": [
                {
                    "ipc": row.ipc,
                    "method": row.label,
                    "colour": colours[row.label],
                    "images": f"{row.images:g}",
                    "relative": f"{row.relative:.3f}" if row.relative is not None else "–",
                    "cells": diversity_cells(row.figures),
                    "runs": row.runs,
                }
                for row in table.rows
            ],
            "real": real_cells(table.rows[0].figures),
            "classes": _diversity_by_class(table),
            "scatters": [
                {
                    "title": f"{row.label}, {images_per_class(row.ipc)}",
                    **_scatter(row.first, row.label, table.class_names),
                }
                for row in table.rows
                if row.first["scatter"]
            ],
        }
        for table in found
    ]
    return tables or None


def _measured(table: DiversityTable) -> str:
    measured, protocol = table.measured, table.measured["protocol"]
    kind = {
        "flattened map": "its last feature map, flattened, before any global pooling",
        "globally pooled": "its last feature map after global pooling",
        "vector": "the vector that its classifier reads",
    }[measured["features"]]
    return (
        f"Features are {measured['dimensions']:,} numbers per image: {kind}, of {protocol['network']} in evaluation "
        f"mode, trained for {protocol['epochs']} epochs on the real training images of {table.data} (seed "
        f"{measured['seed']}), of which it classifies {100 * measured['teacher_accuracy']:.1f} % correctly."
    )


def _diversity_by_class(table: DiversityTable) -> list[dict[str, Any]]:
    """Figures of single classes, of the first run of each method."""
    names = table.class_names
    return [
        {"method": row.label, "ipc": row.ipc, "class": names[label], "cells": diversity_cells(figures)}
        for row in table.rows
        for label, figures in enumerate(row.first["classes"][:MOST_CLASSES])
    ]


def _scatter(found: Mapping[str, Any], label: str, names: Sequence[str]) -> dict[str, Any]:
    """Real and distilled images of some classes in a plane."""
    shown = found["scatter"]
    classes = enumeration(names[entry["label"]] for entry in shown)
    how = {"tsne": "t-SNE", "pca": "principal components"}[found["protocol"]["projection"]]
    spoken = f"Features of real and distilled images of {label} in a plane ({how}), classes {classes}."
    return {"how": how, "figure": Figure(spoken, functools.partial(class_scatter, shown, names), "png")}


def _table(members: Sequence[tuple[str, Run, dict[str, Any]]]) -> DiversityTable:
    shares: dict[int, float] = {}
    by_size: dict[str, list[dict[str, Any]]] = {}
    for _, _, found in members:
        by_size.setdefault(json.dumps(found["images"]), []).append(found)
    for same in by_size.values():
        if len(same) > 1:
            shares |= {id(found): share for found, share in zip(same, relative_distances(same), strict=True)}
    rows: dict[tuple[int, str], list[dict[str, Any]]] = {}
    for label, run, found in members:
        rows.setdefault((run.distilled.ipc, label), []).append(found)
    _, run, first = members[0]
    name = run.distilled.spec.name
    return DiversityTable(
        data=f"{name}, measured against {first['data']}" if "data" in first else name,
        class_names=run.distilled.spec.class_names,
        measured={key: first[key] for key in ("protocol", "seed", "features", "dimensions", "teacher_accuracy")},
        rows=tuple(_row(label, ipc, same, shares) for (ipc, label), same in rows.items()),
    )


def _row(label: str, ipc: int, same: Sequence[dict[str, Any]], shares: Mapping[int, float]) -> DiversityRow:
    figures: dict[str, float | None] = {}
    for name in same[0]["mean"]:
        values = [found["mean"][name] for found in same]
        figures[name] = None if None in values else statistics.fmean(values)
    known = [shares[id(found)] for found in same if id(found) in shares]
    return DiversityRow(
        label=label,
        ipc=ipc,
        images=statistics.fmean(same[0]["images"]),
        figures=figures,
        relative=statistics.fmean(known) if known else None,
        runs=len(same),
        first=same[0],
    )


def _draw(axis: Axes, entry: Mapping[str, Any]) -> None:
    real, synthetic = (tuple(zip(*entry[side], strict=True)) for side in ("real", "synthetic"))
    axis.scatter(real[0], real[1], s=12, color=_REAL, alpha=0.55, linewidth=0, zorder=2)
    axis.scatter(
        synthetic[0], synthetic[1], s=110, marker="*", color=_SYNTHETIC, edgecolor="white", linewidth=0.5, zorder=3
    )
    axis.margins(0.06)
    axis.set_xticks([])
    axis.set_yticks([])
    for spine in axis.spines.values():
        spine.set_color("#c5ccd3")


def _mark(name: str, marker: str, colour: str, size: float) -> Any:
    from matplotlib.lines import Line2D

    return Line2D([], [], linestyle="none", marker=marker, markersize=size, color=colour, label=name)
