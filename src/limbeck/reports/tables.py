"""Tables for the terminal."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from limbeck.evaluation.details import Details
from limbeck.evaluation.scores import Scores
from limbeck.reports.comparison import Comparison, Row

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

__all__ = [
    "SELECTED",
    "best_rows",
    "class_table",
    "comparison_table",
    "curve_table",
    "diversity_cells",
    "diversity_table",
    "human_bytes",
    "human_seconds",
    "label_size",
    "limits",
    "listing",
    "percent",
    "prefixes_table",
    "real_cells",
    "scores_table",
    "spread",
    "steps_taken",
]

_WIDTH = 78
"""Terminal columns that a table may take for its title alone."""
SELECTED = "best look, %\n(selected on\ntest data)"
"""Heading of figures that are selected on the test images."""
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


def comparison_table(comparison: Comparison) -> Table:
    """Methods at equal bytes of images, and what their labels take; the best mean accuracy of every IPC is bold.

    With hard and soft labels in one table, each kind has its best.

    Args:
        comparison: what `limbeck.reports.compare.compare` returned.
    """
    seeds = max((len(row.seeds) for row in comparison.rows), default=0)
    about = f"{comparison.data}, protocol {comparison.protocol.name}, {seeds} seed{'' if seeds == 1 else 's'}"
    table = _table(", ".join([about, *limits(comparison)]))
    table.add_column("IPC", justify="right")
    table.add_column("method", no_wrap=True)
    for name in ("size", "labels"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("training images", justify="right")
    table.add_column("accuracy, %", justify="right", no_wrap=True)
    for name in ("networks", "distil", "evaluate"):
        table.add_column(name, justify="right")
    selects, cuts = any(row.selected_on_test for row in comparison.rows), any(row.cut for row in comparison.rows)
    if cuts:
        table.add_column("steps taken", justify="right")
    if selects:
        table.add_column(SELECTED, justify="right", no_wrap=True)
    best = best_rows(comparison.rows)
    previous: int | None = None
    for row in comparison.rows:
        if previous is not None and row.ipc != previous:
            table.add_section()
        previous = row.ipc
        cells = (
            str(row.ipc) if row.ipc else "-",
            row.method,
            human_bytes(row.bytes),
            label_size(row.label_kind, row.bytes_labels).replace(", ", ",\n"),
            f"{row.training_images:,}",
            percent(row.mean, row.std, len(row.accuracies)),
            str(len(row.accuracies)),
            human_seconds(row.seconds) if row.ipc else "-",
            human_seconds(row.evaluation_seconds),
            *((steps_taken(row) or "all",) if cuts else ()),
            *((spread(row.selected_on_test),) if selects else ()),
        )
        bold = row in best
        table.add_row(*(_text(cell, bold and index in (1, 5)) for index, cell in enumerate(cells)))
    return table


def steps_taken(row: Row) -> str:
    """Which part of the steps was taken by runs that were cut, in percent, and by how many; empty where none was."""
    if not row.cut:
        return ""
    share = statistics.fmean(done / planned for done, planned in row.cut)
    runs = "" if len(row.cut) == len(row.seeds) else f" ({len(row.cut)} of {len(row.seeds)} runs)"
    return f"{100 * share:.2g} %{runs}"


def limits(comparison: Comparison) -> list[str]:
    """What the sets of a comparison may have cost."""
    budget = max((row.budget for row in comparison.rows), default=0)
    room = [f"images and labels in {human_bytes(budget)}: the largest IPC that fits"] if budget else []
    return room + ([] if comparison.cut_after is None else [f"cut after {human_seconds(comparison.cut_after)}"])


def scores_table(scores: Scores, title: str = "", images_bytes: int | None = None) -> Table:
    """One evaluation, by architecture.

    Args:
        scores: what `limbeck.evaluate` returned.
        title: what was evaluated, for example the method and the data.
        images_bytes: bytes of the stored pixels, to stand beside those of the labels.
    """
    about = f"protocol {scores.protocol.name}, {scores.images:,} training and {scores.test_images:,} test images"
    images = "" if images_bytes is None else f"images {human_bytes(images_bytes)}, "
    about += f"; {images}labels {label_size(scores.label_kind, scores.label_bytes)}"
    table = _table(f"{title}: {about}" if title else about)
    table.add_column("network")
    selects = scores.selected_on_test is not None
    for name in ("accuracy, %", "networks", "step size"):
        table.add_column(name, justify="right")
    if selects:
        table.add_column(SELECTED, justify="right", no_wrap=True)
    for entry in scores.networks:
        count = len(entry.accuracies)
        cells = (entry.network, percent(entry.mean, entry.std, count), str(count), f"{entry.lr:g}")
        table.add_row(*map(_text, (*cells, *((spread(entry.best),) if selects else ()))))
    if len(scores.networks) > 1:
        count = sum(len(entry.accuracies) for entry in scores.networks)
        cells = ("all", percent(scores.mean, scores.std, count), str(count), "")
        best = spread([value for entry in scores.networks for value in entry.best])
        table.add_section()
        table.add_row(*map(_text, (*cells, *((best,) if selects else ()))))
    return table


def class_table(scores: Scores, names: Sequence[str]) -> Table:
    """Accuracy class by class, what each class is taken for most, and calibration, by architecture.

    Args:
        scores: what `limbeck.evaluate` returned.
        names: of the classes.
    """
    table = _table("test images class by class, after the last epoch")
    table.add_column("network")
    table.add_column("class", overflow="fold")
    for heading in ("images", "accuracy, %", "most taken for"):
        table.add_column(heading, justify="right", overflow="fold")
    for entry in scores.networks:
        for label, name in enumerate(names if entry.details else ()):
            rows = [one.confusion[label] for one in entry.details]
            taken, images = [sum(column) for column in zip(*rows, strict=True)], sum(rows[0])
            reached = spread([row[label] / images for row in rows] if images else [])
            taken[label] = 0
            most = max(taken)
            wrong = f"{names[taken.index(most)]} ({100 * most / (len(rows) * images):.1f} %)" if most else "–"
            table.add_row(*map(_text, (entry.network, name, f"{images:,}", reached, wrong)))
        table.add_section()
        for heading, pick in _CALIBRATION.items():
            values = [pick(one) for one in entry.details]
            cell = f"{statistics.fmean(values):.4f}" if values else "–"
            table.add_row(*map(_text, (entry.network, heading, "", cell, "")))
        table.add_section()
    return table


_CALIBRATION: Mapping[str, Callable[[Details], float]] = {
    "calibration error": lambda one: one.calibration_error,
    "negative log-likelihood": lambda one: one.likelihood,
    "Brier score": lambda one: one.brier,
}
"""Figures in units of their own, under those of the classes: mean over networks."""


def curve_table(curve: Mapping[str, Any], title: str = "") -> Table:
    """How accuracy grew over one run.

    Args:
        curve: what `limbeck.reports.judging.judge_snapshots` wrote.
        title: what was evaluated.
    """
    table = _judged(curve, title)
    for name in ("inner step", "outer iteration", "distilling", "accuracy, %", "networks"):
        table.add_column(name, justify="right")
    for point in curve["points"]:
        count = sum(len(entry["accuracies"]) for entry in point["networks"])
        accuracy = percent(point["mean"], point["std"], count)
        cells = (f"{point['step']:,}", f"{point['iteration']:,}", human_seconds(point["seconds"]), accuracy, str(count))
        table.add_row(*map(_text, cells))
    return table


def prefixes_table(judged: Mapping[str, Any], title: str = "") -> Table:
    """Accuracy over images per class from one run.

    Args:
        judged: what `limbeck.reports.judging.judge_prefixes` wrote.
        title: what was evaluated.
    """
    table = _judged(judged, title)
    for name in ("IPC", "size", "training images", "accuracy, %", "networks"):
        table.add_column(name, justify="right")
    for point in judged["points"]:
        count = sum(len(entry["accuracies"]) for entry in point["networks"])
        accuracy = percent(point["mean"], point["std"], count)
        cells = (str(point["ipc"]), human_bytes(point["bytes"]), f"{point['training_images']:,}", accuracy, str(count))
        table.add_row(*map(_text, cells))
    return table


def _judged(several: Mapping[str, Any], title: str) -> Table:
    """An empty table on sets that were judged alike."""
    about = f"protocol {several['protocol']['name']}, {several['test_images']:,} test images"
    if several.get("label_kind", "hard") != "hard":
        about += f", labels {label_size(several['label_kind'], several['bytes_labels'])}"
    return _table(f"{title}: {about}" if title else about)


def diversity_table(diversity: Mapping[str, Any], title: str = "") -> Table:
    """Diversity of one set beside that of the real images, in the mean over classes and class by class.

    Columns: DWA's feature distance and its mean per pair, trace and effective rank of the covariance, distance to the
    nearest real image (of real images: to the next one), coverage, squared MMD.

    Args:
        diversity: what `limbeck.reports.runs.write_diversity` wrote.
        title: what was measured.
    """
    protocol, mean = diversity["protocol"], diversity["mean"]
    about = (
        f"features of {protocol['network']} after {protocol['epochs']} epochs ({diversity['dimensions']:,} numbers, "
        f"{diversity['features']})"
    )
    table = _table(f"{title}: {about}" if title else about)
    table.add_column("class")
    for name in (*("distance", "per pair", "trace", "rank", "to real", "covered, %", "MMD²"),):
        table.add_column(name, justify="right")
    for label, entry in enumerate(diversity["classes"]):
        table.add_row(*map(_text, (str(label), *diversity_cells(entry))))
    table.add_section()
    table.add_row(*(_text(cell, bold=True) for cell in ("mean", *diversity_cells(mean))))
    table.add_row(*map(_text, ("real", *real_cells(mean))))
    return table


def diversity_cells(figures: Mapping[str, Any]) -> tuple[str, ...]:
    """Sum of squared distances, their mean, trace, effective rank, distance to the real ones, coverage and MMD²."""
    names = ("feature_distance", "pair_distance", "covariance_trace", "effective_rank", "neighbour_distance")
    return (*(_figure(figures[name]) for name in names), f"{100 * figures['coverage']:.1f}", _figure(figures["mmd2"]))


def real_cells(figures: Mapping[str, Any]) -> tuple[str, ...]:
    """The same columns for the real images, as far as they have them."""
    names = ("real_pair_distance", "real_covariance_trace", "real_effective_rank", "real_neighbour_distance")
    return ("–", *(_figure(figures[name]) for name in names), "–", "–")


def _figure(value: float | None) -> str:
    """Four digits, thousands apart."""
    if value is None:
        return "–"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:#.4g}"


def listing(columns: Sequence[str], rows: Sequence[Sequence[Any]], title: str = "") -> Table:
    """Any rows under headings; markup in them is shown as it is, None as nothing.

    Args:
        columns: headings.
        rows: one cell per column each.
        title: above the table.

    Raises:
        ValueError: a row has another number of cells.
    """
    table = _table(title)
    for name in columns:
        table.add_column(name, overflow="fold")
    for row in rows:
        if len(row) != len(columns):
            raise ValueError(f"a row has {len(row)} cells for {len(columns)} columns: {row!r}")
        table.add_row(*("" if cell is None else _text(str(cell)) for cell in row))
    return table


def best_rows(rows: Sequence[Row]) -> tuple[Row, ...]:
    """Of each IPC, or budget, and kind of labels with at least two methods, the rows with the highest mean accuracy."""
    found: list[Row] = []
    for beside in dict.fromkeys(row.beside for row in rows):
        same = [row for row in rows if row.beside == beside]
        highest = max(row.mean for row in same)
        if len(same) > 1:
            found += [row for row in same if row.mean == highest]
    return tuple(found)


def percent(mean: float, std: float, count: int) -> str:
    """A mean accuracy, and its deviation where it is over more than one network, both in percent."""
    return f"{100 * mean:.1f} ± {100 * std:.1f}" if count > 1 else f"{100 * mean:.1f}"


def spread(values: Sequence[float]) -> str:
    """Mean and sample deviation of accuracies in percent; a dash for none."""
    if not values:
        return "–"
    return percent(statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else 0.0, len(values))


def label_size(kind: str, count: int) -> str:
    """Bytes of labels, and what they are of where they are soft: ``teacher, 42.7 MiB`` or ``stored, 1.20 MiB``.

    Args:
        kind: ``hard``, ``own`` (the set carries soft ones), ``teacher`` (its weights are counted) or ``stored``.
        count: bytes.
    """
    return human_bytes(count) if kind == "hard" else f"{kind}, {human_bytes(count)}"


def human_bytes(count: int) -> str:
    """A number of bytes with three digits and a unit of 1024: ``640 B``, ``6.25 KiB``."""
    size = float(count)
    for unit in _UNITS:
        if size < 1000 or unit == _UNITS[-1]:
            break
        size /= 1024
    if unit == "B":
        return f"{count} B"
    return f"{size:.{0 if size >= 100 else 1 if size >= 10 else 2}f} {unit}"


def human_seconds(seconds: float) -> str:
    """A duration: ``30 ms``, ``4.2 s``, ``3 min 5 s``, ``2 h 4 min``."""
    if seconds < 0.0995:
        return f"{1000 * seconds:.0f} ms"
    if seconds < 59.95:
        return f"{seconds:.{2 if seconds < 1 else 1}f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60} min"


def _table(title: str) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    heading = _text(title, bold=True) if title else None
    return Table(
        title=heading,
        title_justify="left",
        box=SIMPLE_HEAD,
        pad_edge=False,
        header_style="dim",
        min_width=min(len(title), _WIDTH),  # a title breaks at the table's width
    )


def _text(cell: str, bold: bool = False) -> Text:
    """Text in which square brackets are no markup."""
    from rich.text import Text

    return Text(cell, style="bold" if bold else "")
