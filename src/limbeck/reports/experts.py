"""How far the experts of runs went in each epoch: the curves that AST compares experts by, from the runs' records."""

from __future__ import annotations

import functools
import hashlib
import json
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from limbeck.core.errors import InputError
from limbeck.engine.folder import RECORD
from limbeck.reports.canvas import GRID, Format, canvas, legend_line, lightened, plain, written
from limbeck.reports.entries import Entry, Figure, by_data
from limbeck.reports.figures import method_colours
from limbeck.reports.runs import Run
from limbeck.reports.tables import spread
from limbeck.reports.wording import enumeration

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["ExpertSet", "UsedExperts", "expert_set", "experts_of", "experts_section", "weight_changes"]

_SHADES = 0.55
"""Most white in the colour of a set, where a method has several."""


@dataclass(frozen=True)
class ExpertSet:
    """Experts that were trained alike.

    Args:
        key: tells them from others.
        weight_change: for each expert the squared change of its weights in each epoch, ``||theta_t - theta_t-1||^2``.
        average_variation: for each expert the mean of these (AvgVar of AST).
        accuracy: of each, the share of the real training images that it got right in its last epoch, as it saw them.
    """

    key: str
    weight_change: tuple[tuple[float, ...], ...]
    average_variation: tuple[float, ...]
    accuracy: tuple[float, ...]

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self.weight_change)


@dataclass(frozen=True)
class UsedExperts:
    """Experts, and the methods whose runs were made with them.

    Args:
        experts: the experts.
        methods: what the methods are called, each once.
        ipcs: stored images per class of the runs, each once.
        shade: share of white in the colour of the set, which is that of the first of these methods.
    """

    experts: ExpertSet
    methods: tuple[str, ...]
    ipcs: tuple[int, ...]
    shade: float

    @property
    def label(self) -> str:
        """What the set is called beside others."""
        return enumeration(self.methods)

    def colour(self, colours: Mapping[str, str]) -> str:
        """Its colour, given those of the methods."""
        parts = lightened(colours[self.methods[0]], self.shade)
        return "#" + "".join(f"{round(255 * part):02x}" for part in parts)


def expert_set(run: Run) -> ExpertSet | None:
    """The experts of a run, from its record; None for a run without.

    Raises:
        InputError: the record is damaged.
    """
    found = run.record.get("experts")
    if found is None:
        return None
    try:
        return ExpertSet(
            key=hashlib.sha256(json.dumps(found).encode()).hexdigest()[:16],
            weight_change=tuple(tuple(map(float, expert["changes"])) for expert in found),
            average_variation=tuple(float(expert["avg_var"]) for expert in found),
            accuracy=tuple(float(expert["accuracy"]) for expert in found),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"what {run.folder / RECORD} says of experts is damaged; remove it from there.") from error


def experts_of(runs: Sequence[Run], labels: Sequence[str]) -> list[UsedExperts]:
    """The sets of experts of several runs, each once, in the order of the runs.

    Args:
        runs: finished runs; those without experts are left out.
        labels: the method of each.
    """
    sets: dict[str, ExpertSet] = {}
    users: dict[str, list[tuple[str, int]]] = {}
    for run, label in zip(runs, labels, strict=True):
        experts = expert_set(run)
        if experts is not None:
            sets.setdefault(experts.key, experts)
            users.setdefault(experts.key, []).append((label, run.distilled.ipc))
    methods = {key: tuple(dict.fromkeys(label for label, _ in some)) for key, some in users.items()}
    found = []
    for key, experts in sets.items():
        alike = [other for other in sets if methods[other][0] == methods[key][0]]
        shade = _SHADES * alike.index(key) / max(1, len(alike) - 1)
        found.append(UsedExperts(experts, methods[key], tuple(sorted({ipc for _, ipc in users[key]})), shade))
    return found


def weight_changes(
    sets: Sequence[UsedExperts],
    colours: Mapping[str, str] | None = None,
    width: int = 960,
    form: Format = "svg",
) -> bytes:
    """Squared change of the weights in each epoch: a line for the mean over experts, a band from least to most.

    The axis is logarithmic when the largest change is more than 20 times the smallest. A set has the colour of the
    first method that uses it.

    Args:
        sets: of one data set.
        colours: by method; `method_colours` by default.
        width: of the picture in CSS pixels.
        form: ``svg`` or ``png``.

    Raises:
        ValueError: nothing was recorded.
    """
    drawn = [used for used in sets if _moved(used)]
    if not drawn:
        raise ValueError("there are no changes to draw")
    colours = {**method_colours(used.methods[0] for used in drawn), **(colours or {})}
    legend = [legend_line(used.label, used.colour(colours)) for used in drawn]
    figure, (axis,) = canvas(1, width, 250, legend, below=58)
    lowest, highest = _draw(axis, [(used.experts, used.colour(colours)) for used in drawn])
    if lowest > 0 and highest > 20 * lowest:
        axis.set_yscale("log")
        axis.grid(True, axis="y", which="minor", color=GRID, linewidth=0.4)
    else:
        axis.set_ylim(bottom=0.0)
    axis.set_xlabel("epoch")
    axis.set_ylabel("squared weight change")
    plain(axis)
    return written(figure, form)


def experts_section(entries: Sequence[Entry], colours: Mapping[str, str]) -> list[dict[str, Any]] | None:
    """How far the experts went in each epoch, one figure and table per data set; None without experts."""
    figures = []
    groups = by_data(entries)
    for members in groups:
        sets = experts_of([entry.run for entry in members], [entry.label for entry in members])
        if not any(map(_moved, sets)):
            continue
        name = members[0].distilled.spec.name
        spoken = "; ".join(
            f"{used.label}: AvgVar {_average(used.experts.average_variation)[0]} over {used.experts.count} experts"
            for used in sets
        )
        figures.append(
            {
                "name": name if len(groups) > 1 else "",
                "rows": [_expert_row(used, colours) for used in sets],
                "figure": Figure(
                    f"Squared change of the experts' weights in each epoch for {name}. {spoken}.",
                    functools.partial(weight_changes, sets, colours),
                ),
            }
        )
    return figures or None


def _expert_row(used: UsedExperts, colours: Mapping[str, str]) -> dict[str, Any]:
    experts = used.experts
    variation, apart = _average(experts.average_variation)
    return {
        "label": used.label,
        "ipc": enumeration(map(str, used.ipcs)),
        "colour": used.colour(colours),
        "count": experts.count,
        "epochs": max((len(changes) for changes in experts.weight_change), default=0),
        "variation": f"{variation} ± {apart}" if apart else variation,
        "accuracy": spread(experts.accuracy),
    }


def _average(values: Sequence[float]) -> tuple[str, str]:
    """Mean with four digits and sample standard deviation with as many decimals; empty where there is none."""
    if not values:
        return "–", ""
    mean = statistics.fmean(values)
    decimals = min(9, max(1, 3 - math.floor(math.log10(mean)))) if mean > 0 else 1
    return f"{mean:.{decimals}f}", f"{statistics.stdev(values):.{decimals}f}" if len(values) > 1 else ""


def _moved(used: UsedExperts) -> bool:
    return any(used.experts.weight_change)


def _draw(axis: Axes, curves: Sequence[tuple[ExpertSet, str]]) -> tuple[float, float]:
    """All sets; the least and the largest change."""
    from matplotlib.ticker import MaxNLocator

    every: list[float] = []
    for experts, colour in curves:
        by_epoch = list(zip(*experts.weight_change, strict=False))
        epochs = list(range(1, len(by_epoch) + 1))
        means = [statistics.fmean(changes) for changes in by_epoch]
        every += [change for changes in by_epoch for change in changes]
        if len(experts.weight_change) > 1:
            least, most = map(min, by_epoch), map(max, by_epoch)
            axis.fill_between(epochs, list(least), list(most), color=colour, alpha=0.2, linewidth=0, zorder=2)
        axis.plot(
            epochs,
            means,
            color=colour,
            linewidth=1.6,
            marker="o" if len(epochs) <= 20 else None,
            markersize=3.6,
            zorder=3,
        )
    axis.xaxis.set_major_locator(MaxNLocator(nbins=10, integer=True, steps=[1, 2, 5, 10]))
    return min(every), max(every)
