"""Bars of accuracies; curves of losses, of learned step sizes and of anything else over inner steps.

Every function returns the bytes of one picture. Sizes are in CSS pixels, at which text is meant to be read.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from limbeck.reports.canvas import (
    DASHES,
    FAINT,
    GRID,
    INK,
    MARGIN,
    PIXELS_PER_INCH,
    POINTS,
    Format,
    canvas,
    images_per_class,
    legend_line,
    lightened,
    literal,
    plain,
    written,
)
from limbeck.reports.comparison import Row
from limbeck.reports.runs import Run

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["FULL", "accuracy_bars", "loss_curves", "method_colours", "rate_curves", "step_curves"]

FULL = "full"
"""Name of the row of a comparison that was trained on all real images."""

_PALETTE = (
    "#0072B2",  # blue
    "#E69F00",  # orange
    "#009E73",  # green
    "#CC79A7",  # pink
    "#D55E00",  # vermilion
    "#56B4E9",  # sky
    "#332288",  # indigo
    "#999933",  # olive
    "#882255",  # wine
    "#44AA99",  # teal
)
"""Okabe and Ito's colours without yellow and black, then four of Tol's: told apart by colour-blind readers."""
_HATCHES = ("", "///", "...", "xxx")
"""Fillings of the bars when there are more methods than colours."""

Logged = Sequence[tuple[int, float]]
"""Pairs of inner step and value."""

_MANY = 100
"""Lines of a log from which on its curve is smoothed as well."""
_FULL_INK = "#3d4852"
_SLOT = 40
"""CSS pixels of one bar with its number."""
_LABEL = 33
"""CSS pixels that such a number needs; where there is less it is turned."""


def method_colours(names: Iterable[str]) -> dict[str, str]:
    """One colour per method, by order of first appearance, to be handed to every figure and table of a report."""
    different = [name for name in dict.fromkeys(names) if name != FULL]
    colours = {name: _PALETTE[index % len(_PALETTE)] for index, name in enumerate(different)}
    return {**colours, FULL: _FULL_INK}


def accuracy_bars(
    rows: Sequence[Row],
    colours: Mapping[str, str] | None = None,
    width: int = 960,
    form: Format = "svg",
) -> bytes:
    """Mean test accuracy of every method in percent, grouped by IPC.

    Whiskers are one standard deviation (`Row.std`) to each side, where there is one; the dashed
    line is training on all real images. Groups that do not fit beside each other go below each other.

    Args:
        rows: of a comparison, at least one.
        colours: by method; `method_colours` of the rows by default.
        width: of the picture in CSS pixels.
        form: ``svg`` or ``png``.

    Raises:
        ValueError: there are no rows.
    """
    if not rows:
        raise ValueError("there are no rows to draw")
    colours = {**method_colours(row.method for row in rows), **(colours or {})}
    full = next((row for row in rows if row.method == FULL), None)
    groups: dict[int, list[Row]] = {}
    for row in rows:
        if row.method != FULL:
            groups.setdefault(row.ipc, []).append(row)
    methods = list(dict.fromkeys(row.method for row in rows if row.method != FULL))
    hatches = {name: _HATCHES[index // len(_PALETTE) % len(_HATCHES)] for index, name in enumerate(methods)}
    lines = _broken(list(groups.items()), width)
    legend = [_patch(name, colours[name], hatches[name]) for name in methods]
    if full is not None:
        legend.append(_full_line(full))
    figure, axes = canvas(max(1, len(lines)), width, 250, legend, below=46)
    most = max(sum(len(group) + 0.8 for _, group in line) for line in lines) if lines else 1.0
    for axis, line in zip(axes, lines, strict=False):
        _draw_bars(axis, line, colours, hatches, max(most, (width - MARGIN) / (3.5 * _SLOT)))
    for axis in axes:
        if not lines:
            axis.set_xticks([])
        if full is not None:
            axis.axhline(100 * full.mean, color=_FULL_INK, linewidth=1.2, linestyle=(0, (5, 3)), zorder=1)
        axis.set_ylim(0, 112)
        axis.set_yticks([0, 20, 40, 60, 80, 100])
        axis.set_ylabel("test accuracy, %")
        plain(axis)
    return written(figure, form)


def loss_curves(
    runs: Sequence[Run],
    colours: Mapping[str, str] | None = None,
    labels: Sequence[str] | None = None,
    width: int = 960,
    form: Format = "svg",
) -> bytes:
    """Loss against inner step, one line per run, one panel per IPC, one colour per method.

    The axis of a panel is logarithmic when its largest loss is more than 20 times its smallest. Seeds of one method
    share its colour and differ in lightness. Of a log of many lines the mean over its neighbours is drawn over each.

    Args:
        runs: finished runs; those without a logged loss (baselines) are left out.
        colours: by method; `method_colours` by default.
        labels: the method of each run as it is to be called; the recipe's name by default.
        width: of the picture in CSS pixels.
        form: ``svg`` or ``png``.

    Raises:
        ValueError: no run has logged a loss.
    """
    logged = [run.losses for run in runs]
    return step_curves(runs, logged, "loss", colours, labels, width, form, smooth=True)


def rate_curves(
    runs: Sequence[Run],
    colours: Mapping[str, str] | None = None,
    labels: Sequence[str] | None = None,
    width: int = 960,
    form: Format = "svg",
) -> bytes:
    """Step size that runs learn beside their images, against inner step; looks and arguments as of `loss_curves`.

    Raises:
        ValueError: no run has learnt a step size.
    """
    return step_curves(runs, [run.rates for run in runs], "step size", colours, labels, width, form, smooth=False)


def step_curves(
    runs: Sequence[Run],
    logged: Sequence[Logged],
    name: str,
    colours: Mapping[str, str] | None = None,
    labels: Sequence[str] | None = None,
    width: int = 960,
    form: Format = "svg",
    smooth: bool = False,
    beside: tuple[str, Sequence[Logged]] | None = None,
) -> bytes:
    """Anything against inner step; looks as of `loss_curves`.

    Args:
        runs: finished runs.
        logged: of each run pairs of inner step and value; runs without any are left out.
        name: what the values are.
        colours: by method.
        labels: the method of each run.
        width: of the picture in CSS pixels.
        form: ``svg`` or ``png``.
        smooth: whether the mean over neighbours is drawn over long logs.
        beside: something to compare with, which is dashed: what it is, and pairs of each run.

    Raises:
        ValueError: there are no values.
    """
    labels = labels if labels is not None else [run.method for run in runs]
    compared = beside[1] if beside is not None else [()] * len(runs)
    drawn = [one for one in zip(labels, runs, logged, compared, strict=True) if one[2]]
    if not drawn:
        raise ValueError(f"no run has logged a {name}")
    colours = {**method_colours(label for label, *_ in drawn), **(colours or {})}
    panels: dict[int, list[tuple[str, Logged, Logged]]] = {}
    for label, run, pairs, others in drawn:
        panels.setdefault(run.distilled.ipc, []).append((label, pairs, others))
    across = max(1, min(len(panels), width // 320))
    down = math.ceil(len(panels) / across)
    legend = [legend_line(label, colours[label]) for label in dict.fromkeys(label for label, *_ in drawn)]
    if beside is not None:
        legend.append(legend_line(beside[0], FAINT, dashed=True))
    figure, axes = canvas(down, width, 230, legend, below=58, across=across, titles=24)
    for place, (axis, ipc) in enumerate(zip(axes, sorted(panels), strict=False)):
        _draw_curves(axis, panels[ipc], colours, smooth)
        axis.set_title(images_per_class(ipc), loc="left", fontsize=POINTS, color=INK, pad=7)
        axis.set_xlabel("inner step")
        if place % across == 0:
            axis.set_ylabel(name, labelpad=1)
        plain(axis)
    for axis in axes[len(panels) :]:
        axis.remove()
    return written(figure, form)


def _draw_bars(
    axis: Axes,
    line: Sequence[tuple[int, list[Row]]],
    colours: Mapping[str, str],
    hatches: Mapping[str, str],
    length: float,
) -> None:
    """One line of groups; one unit across is one bar with its gap."""
    position, centres, names = 0.4, [], []
    room = axis.get_window_extent().width * PIXELS_PER_INCH / axis.figure.dpi / length
    for ipc, group in line:
        for offset, row in enumerate(group):
            x, mean, std = position + offset + 0.5, 100 * row.mean, 100 * row.std
            axis.bar(
                x,
                mean,
                width=0.78,
                linewidth=0,
                color=colours[row.method],
                edgecolor="white",
                hatch=hatches[row.method],
                zorder=2,
            )
            if len(row.accuracies) > 1:
                axis.errorbar(
                    x, mean, yerr=std, fmt="none", ecolor=INK, elinewidth=1.1, capsize=3, capthick=1.1, zorder=3
                )
            box = {"boxstyle": "square,pad=0.12", "facecolor": "white", "edgecolor": "none"}
            axis.annotate(
                f"{mean:.1f}",
                (x, mean + (std if len(row.accuracies) > 1 else 0)),
                xytext=(0, 3.5),
                textcoords="offset points",
                ha="center",
                va="bottom",
                rotation=0 if room >= _LABEL else 90,
                color=INK,
                fontsize=POINTS,
                bbox=box,
                zorder=4,
            )
        centres.append(position + len(group) / 2)
        names.append(images_per_class(ipc))
        position += len(group) + 0.8
    axis.set_xticks(centres, names)
    axis.tick_params(axis="x", length=0, pad=7)
    axis.set_xlim(0, max(length, position - 0.4))


def _draw_curves(
    axis: Axes, runs: Sequence[tuple[str, Logged, Logged]], colours: Mapping[str, str], smooth: bool
) -> None:
    lowest, highest = math.inf, -math.inf
    for label in dict.fromkeys(label for label, *_ in runs):
        same = [(pairs, others) for name, pairs, others in runs if name == label]
        for index, (pairs, others) in enumerate(same):
            steps, values = zip(*pairs, strict=True)
            every = [*values, *(value for _, value in others)]
            lowest, highest = min(lowest, *every), max(highest, *every)
            shade = lightened(colours[label], 0.55 * index / max(1, len(same) - 1))
            if others:
                axis.plot(*zip(*others, strict=True), color=shade, linewidth=1.0, linestyle=DASHES, zorder=2)
            smoothed = smooth and len(steps) >= _MANY
            if smoothed:
                axis.plot(steps, values, color=shade, alpha=0.3, linewidth=0.7, zorder=2)
            axis.plot(
                steps,
                _smoothed(values) if smoothed else values,
                color=shade,
                linewidth=1.3 if len(runs) < 8 else 0.9,
                marker="o" if len(steps) == 1 else None,
                zorder=3 - index / 100,
            )
    from matplotlib.ticker import MaxNLocator

    if lowest > 0 and highest > 20 * lowest:
        axis.set_yscale("log")
        axis.grid(True, axis="y", which="minor", color=GRID, linewidth=0.4)
    else:
        # Few marks have few digits, which leave room for what stands beside them.
        axis.yaxis.set_major_locator(MaxNLocator(nbins=5, steps=[1, 2, 5, 10]))
        if not highest < 2 * lowest:
            # Where all is far from zero, an axis from there would hide what there is to see.
            axis.set_ylim(bottom=min(0.0, lowest))
    axis.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))


def _smoothed(values: Sequence[float]) -> list[float]:
    """The mean of each value and its neighbours; early ones, which fall fast, have as few on both sides."""
    reach = len(values) // _MANY * 2
    means = []
    for place in range(len(values)):
        before = min(reach, place)
        means.append(statistics.fmean(values[place - before : place + before + 1]))
    return means


def _broken(groups: list[tuple[int, list[Row]]], width: int) -> list[list[tuple[int, list[Row]]]]:
    """Groups in lines that have room for a number above every bar; a group of its own line may be narrower."""
    room = (width - MARGIN) / _SLOT
    lines: list[list[tuple[int, list[Row]]]] = []
    used = math.inf
    for ipc, group in groups:
        needed = len(group) + 0.8
        if used + needed > room:
            lines.append([])
            used = 0.0
        lines[-1].append((ipc, group))
        used += needed
    return lines


def _patch(name: str, colour: str, hatch: str) -> Any:
    from matplotlib.patches import Patch

    return Patch(facecolor=colour, edgecolor="white", linewidth=0, hatch=hatch, label=literal(name))


def _full_line(row: Row) -> Any:
    from matplotlib.lines import Line2D

    label = f"all {row.training_images:,} real images: {100 * row.mean:.1f}"
    return Line2D([], [], color=_FULL_INK, linewidth=1.2, linestyle=(0, (3, 2)), label=label)
