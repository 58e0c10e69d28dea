"""Which real images runs sampled, and how steadily their own images moved: figures after DREAM (Figs. 2c, 3 and 4a)."""

from __future__ import annotations

import functools
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from limbeck.core.errors import InputError
from limbeck.engine.watch import WATCH
from limbeck.reports.canvas import (
    DASHES,
    FAINT,
    GRID,
    INK,
    POINTS,
    Format,
    canvas,
    images_per_class,
    legend_line,
    literal,
    plain,
    written,
)
from limbeck.reports.entries import Entry, Figure, by_data, numbered
from limbeck.reports.figures import method_colours, step_curves
from limbeck.reports.plain_table import Cell, Column, PlainTable
from limbeck.reports.runs import Run
from limbeck.reports.wording import enumeration

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Look", "Watched", "looks_of", "norm_bands", "sampling_section"]

_SHARES = (0.1, 0.5, 0.9)
"""Quantiles of gradient norms that are drawn."""
_COLUMNS = (
    Column("IPC"),
    Column("Method", "head"),
    Column("Batch"),
    Column("MMD²", exact=("mmd2", "mmd2_std")),
    Column("MMD² of random", exact=("random_mmd2", "random_mmd2_std")),
    Column("Gradient norm", exact=("norm",)),
    Column("Norm of random", exact=("random_norm",)),
    Column("Looks"),
    Column("Runs"),
)
_MOVED = (
    Column("IPC"),
    Column("Method", "head"),
    Column("First", exact=("first",)),
    Column("Last", exact=("last",)),
    Column("Sum", exact=("sum",)),
    Column("Intervals"),
    Column("Runs"),
)


@dataclass(frozen=True)
class Look:
    """What was seen of the real batches of one step, over the classes that were looked at.

    Args:
        step: inner steps done.
        images: real images of a class in the batch, the largest.
        mmd2: squared maximum mean discrepancy between batch and class, mean over classes.
        random_mmd2: of as many random images.
        norms: of the gradients of single images of the batches.
        random_norms: of random images.
    """

    step: int
    images: int
    mmd2: float
    random_mmd2: float
    norms: tuple[float, ...]
    random_norms: tuple[float, ...]


@dataclass(frozen=True)
class Watched:
    """The looks of all runs of one method with one IPC.

    Args:
        label: the method.
        ipc: stored images per class.
        runs: the looks of each run.
    """

    label: str
    ipc: int
    runs: tuple[tuple[Look, ...], ...]

    @property
    def title(self) -> str:
        """What it is called over a panel."""
        return f"{self.label}, {images_per_class(self.ipc)}"

    def spread(self, side: str) -> tuple[float, float | None]:
        """Mean of ``mmd2`` or ``random_mmd2``, and deviation from look to look, the mean over runs."""
        values = [[getattr(look, side) for look in looks] for looks in self.runs]
        apart = [statistics.stdev(some) for some in values if len(some) > 1]
        return statistics.fmean(map(statistics.fmean, values)), statistics.fmean(apart) if apart else None

    def median(self, side: str) -> float:
        """Median of all ``norms`` or ``random_norms``."""
        return statistics.median(norm for looks in self.runs for look in looks for norm in getattr(look, side))


def looks_of(run: Run) -> tuple[Look, ...]:
    """The looks of a run, from its file; none for a run that was not watched.

    Raises:
        InputError: the file is damaged.
    """
    try:
        return tuple(_look(line) for line in run.looks)
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{run.folder / WATCH} is damaged; remove it to go without what was watched.") from error


def norm_bands(
    watched: Sequence[Watched],
    colours: Mapping[str, str] | None = None,
    width: int = 960,
    form: Format = "svg",
) -> bytes:
    """Norms of the gradients of sampled images over inner steps, one panel per method and IPC.

    The line is the median over images, classes and runs, the band reaches from the first to the last decile; random
    images of the same classes are dashed. The axis is logarithmic when the largest of these is more than 20 times the
    smallest.

    Args:
        watched: what was seen, at least one.
        colours: by method; `method_colours` by default.
        width: of the picture in CSS pixels.
        form: ``svg`` or ``png``.

    Raises:
        ValueError: nothing was seen.
    """
    if not watched:
        raise ValueError("there are no gradient norms to draw")
    colours = {**method_colours(one.label for one in watched), **(colours or {})}
    across = max(1, min(len(watched), width // 320))
    legend = [legend_line(name, colours[name]) for name in dict.fromkeys(one.label for one in watched)]
    legend.append(legend_line("random images of the class", FAINT, dashed=True))
    down = -(-len(watched) // across)
    figure, axes = canvas(down, width, 230, legend, below=58, across=across, titles=24)
    for place, (axis, one) in enumerate(zip(axes, watched, strict=False)):
        _draw(axis, one, colours[one.label])
        axis.set_title(literal(one.title), loc="left", fontsize=POINTS, color=INK, pad=7)
        axis.set_xlabel("inner step")
        if place % across == 0:
            axis.set_ylabel("gradient norm")
        plain(axis)
    for axis in axes[len(watched) :]:
        axis.remove()
    return written(figure, form)


def sampling_section(entries: Sequence[Entry], colours: Mapping[str, str]) -> dict[str, Any] | None:
    """What was sampled, one set of figures per data set, and how far images moved; None where nobody looked."""
    groups = by_data(entries)
    seen = [
        _seen(members, colours, len(groups) > 1, numbered("sampling", place, len(groups)))
        for place, members in enumerate(groups)
        if any(entry.run.looks for entry in members)
    ]
    found = _migrations(entries)
    moved = [_moved(members, colours, numbered("migration", place, len(found))) for place, members in enumerate(found)]
    return {"seen": seen, "moved": moved} if seen or moved else None


def _seen(members: Sequence[Entry], colours: Mapping[str, str], named: bool, name: str) -> dict[str, Any]:
    """Figures and table of what was sampled from one data set."""
    data = members[0].distilled.spec.name
    runs = [(entry, looks) for entry in members if (looks := looks_of(entry.run))]
    together: dict[tuple[int, str], list[tuple[Look, ...]]] = {}
    for entry, looks in runs:
        together.setdefault((entry.distilled.ipc, entry.label), []).append(looks)
    watched = [Watched(label, ipc, tuple(several)) for (ipc, label), several in together.items()]

    def draw(width: int, form: Format) -> bytes:
        return step_curves(
            [entry.run for entry, _ in runs],
            [[(look.step, look.mmd2) for look in looks] for _, looks in runs],
            "MMD²",
            colours,
            [entry.label for entry, _ in runs],
            width,
            form,
            beside=(
                "random batches of equal size",
                [[(one.step, one.random_mmd2) for one in seen] for _, seen in runs],
            ),
        )

    spoken = "; ".join(
        f"{one.title}: {_small(*one.spread('mmd2'))}, of random batches {_small(*one.spread('random_mmd2'))}"
        for one in watched
    )
    pulls = "; ".join(
        f"{one.title}: median {one.median('norms'):.3g} against {one.median('random_norms'):.3g}" for one in watched
    )
    return {
        "name": data if named else "",
        "mmd": Figure(
            f"MMD² between sampled batches and their class over inner steps for {data}. {spoken}.", draw, name=name
        ),
        "norms": Figure(
            f"Norms of the gradients of sampled and of random images over inner steps for {data}. {pulls}.",
            functools.partial(norm_bands, watched, colours),
            name=f"{name}-norms",
        ),
        "table": PlainTable(
            name, f"Real images sampled from {data}.", _COLUMNS, [_row(one, colours) for one in watched]
        ),
    }


def _row(one: Watched, colours: Mapping[str, str]) -> list[Cell | str | int]:
    norms = [one.median("norms"), one.median("random_norms")]
    sides = [one.spread("mmd2"), one.spread("random_mmd2")]
    return [
        one.ipc,
        Cell(one.label, colour=colours[one.label]),
        max(look.images for looks in one.runs for look in looks),
        *(Cell(_small(*side), exact=side) for side in sides),
        *(Cell(f"{norm:.3g}", exact=(norm,)) for norm in norms),
        max(map(len, one.runs)),
        len(one.runs),
    ]


def _migrations(entries: Sequence[Entry]) -> list[list[tuple[Entry, dict[str, Any]]]]:
    """What one random network saw of runs on one data set."""
    found: dict[tuple[str, str, int], list[tuple[Entry, dict[str, Any]]]] = {}
    for entry in entries:
        for one in entry.run.migrations:
            found.setdefault((entry.distilled.spec.digest, one["network"], one["seed"]), []).append((entry, one))
    return list(found.values())


def _moved(members: Sequence[tuple[Entry, dict[str, Any]]], colours: Mapping[str, str], name: str) -> dict[str, Any]:
    """Figure and table of how far images moved."""
    first = members[0][1]
    title = f"{members[0][0].distilled.spec.name}, seen by a random {first['network']} (seed {first['seed']})"
    together: dict[tuple[int, str], list[list[float]]] = {}
    for entry, one in members:
        together.setdefault((entry.distilled.ipc, entry.label), []).append(one["distances"])
    rows: list[list[Cell | str | int]] = []
    for (ipc, label), runs in together.items():
        ends = [
            statistics.fmean(runs_of) for runs_of in zip(*((run[0], run[-1], sum(run)) for run in runs), strict=True)
        ]
        figures = [Cell(f"{end:.4g}", exact=(end,)) for end in ends]
        intervals = enumeration(map(str, sorted({len(run) for run in runs})))
        rows.append([ipc, Cell(label, colour=colours[label]), *figures, intervals, len(runs)])

    def draw(width: int, form: Format) -> bytes:
        pairs = [list(zip(one["steps"][1:], one["distances"], strict=True)) for _, one in members]
        labels = [entry.label for entry, _ in members]
        return step_curves([entry.run for entry, _ in members], pairs, "distance", colours, labels, width, form)

    spoken = "; ".join(
        f"{label}, IPC {ipc}: {runs[0][0]:.3g} at first, {runs[0][-1]:.3g} at the end"
        for (ipc, label), runs in together.items()
    )
    return {
        "name": title,
        "figure": Figure(
            f"Feature migration between snapshots over inner steps for {title}. {spoken}.", draw, name=name
        ),
        "table": PlainTable(name, f"Feature migration of {title}.", _MOVED, rows),
    }


def _look(line: Mapping[str, Any]) -> Look:
    classes = line["classes"]
    return Look(
        step=int(line["step"]),
        images=max(int(found["images"]) for found in classes),
        mmd2=statistics.fmean(float(found["mmd2"]) for found in classes),
        random_mmd2=statistics.fmean(float(found["random_mmd2"]) for found in classes),
        norms=tuple(float(norm) for found in classes for norm in found["norms"]),
        random_norms=tuple(float(norm) for found in classes for norm in found["random_norms"]),
    )


def _small(mean: float, apart: float | None) -> str:
    return f"{mean:.4f}" if apart is None else f"{mean:.4f} ± {apart:.4f}"


def _quantiles(values: Sequence[float]) -> list[float]:
    """The quantiles of `_SHARES`, interpolated."""
    ordered = sorted(values)
    found = []
    for share in _SHARES:
        place = share * (len(ordered) - 1)
        low = int(place)
        high = min(low + 1, len(ordered) - 1)
        found.append(ordered[low] + (place - low) * (ordered[high] - ordered[low]))
    return found


def _draw(axis: Axes, one: Watched, colour: str) -> None:
    """The bands of one method; its runs together."""
    from matplotlib.ticker import MaxNLocator

    at: dict[int, list[Look]] = {}
    for look in (look for looks in one.runs for look in looks):
        at.setdefault(look.step, []).append(look)
    steps = sorted(at)
    sides = [
        list(
            zip(
                *(_quantiles([norm for look in at[step] for norm in getattr(look, side)]) for step in steps),
                strict=True,
            )
        )
        for side in ("norms", "random_norms")
    ]
    (low, middle, high), others = sides
    mark = "o" if len(steps) == 1 else None
    axis.fill_between(steps, low, high, color=colour, alpha=0.25, linewidth=0, zorder=2)
    axis.plot(steps, middle, color=colour, linewidth=1.6, marker=mark, zorder=3)
    for share, values in zip(_SHARES, others, strict=True):
        thick = 1.2 if share == 0.5 else 0.8
        axis.plot(steps, values, color=FAINT, linewidth=thick, linestyle=DASHES, marker=mark, zorder=4)
    every = [value for side in sides for line in side for value in line]
    if min(every) > 0 and max(every) > 20 * min(every):
        axis.set_yscale("log")
        axis.grid(True, axis="y", which="minor", color=GRID, linewidth=0.4)
    else:
        axis.set_ylim(bottom=0.0)
    axis.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
