"""Lines of accuracy over something: a point of several seeds, and what figures of such lines have in common."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from limbeck.reports.canvas import legend_line
from limbeck.reports.figures import method_colours
from limbeck.reports.plain_table import Cell
from limbeck.reports.runs import Run
from limbeck.reports.tables import percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["MeanAccuracy", "accuracy_cell", "judged_on", "limited", "named", "over_seeds", "protocol_of"]


@dataclass(frozen=True, kw_only=True)
class MeanAccuracy:
    """Accuracy at one point, over the seeds of a method."""

    mean: float
    """Mean accuracy."""
    std: float
    """Sample standard deviation of the seeds' means, or of the networks when there is one seed; 0 for one."""
    networks: int
    """How many networks were judged."""


def accuracy_cell(point: MeanAccuracy) -> Cell:
    """Accuracy as a table shows it; no deviation of a single network."""
    return Cell(
        percent(point.mean, point.std, point.networks), exact=(point.mean, point.std if point.networks > 1 else None)
    )


def judged_on(run: Run, judged: Mapping[str, Any]) -> str:
    """What was distilled, and on what it was judged if that is something else."""
    name = run.distilled.spec.name
    return f"{name}, judged on {judged['data']}" if "data" in judged else name


def protocol_of(judged: Mapping[str, Any]) -> str:
    """Name of the protocol, and whether labels were soft."""
    return judged["protocol"]["name"] + (", soft labels" if judged.get("labels") else "")


def over_seeds(seeds: Sequence[Sequence[Mapping[str, Any]]]) -> dict[str, Any]:
    """``mean``, ``std`` and ``networks`` of one point of several runs, as `MeanAccuracy` has them.

    Args:
        seeds: of each seed the point as it was judged, once or several times.
    """
    reached = [
        [value for point in points for network in point["networks"] for value in network["accuracies"]]
        for points in seeds
    ]
    per_seed = [statistics.fmean(values) for values in reached]
    several = per_seed if len(per_seed) > 1 else reached[0]
    deviation = statistics.stdev(several) if len(several) > 1 else 0.0
    return {"mean": statistics.fmean(per_seed), "std": deviation, "networks": sum(map(len, reached))}


def named(labels: Iterable[str], colours: Mapping[str, str] | None) -> tuple[dict[str, str], list[Any]]:
    """Colours of all methods of a figure, and the entries of its legend.

    Args:
        labels: methods of its curves.
        colours: of some methods; `method_colours` for the others.

    Raises:
        ValueError: there are no curves.
    """
    labels = list(dict.fromkeys(labels))
    if not labels:
        raise ValueError("there are no curves to draw")
    colours = {**method_colours(labels), **(colours or {})}
    return colours, [legend_line(label, colours[label]) for label in labels]


def limited(axis: Axes, across: Sequence[float], accuracies: Sequence[tuple[float, float]], whole: bool) -> None:
    """From zero on across, and room for the marks at all ends, which `accuracy_line` does not ask for by itself.

    Args:
        axis: where.
        across: where all points stand.
        accuracies: mean and deviation of each, in [0, 1].
        whole: whether ticks across are whole numbers.
    """
    from matplotlib.ticker import MaxNLocator

    right = max(across) or 1
    lowest = 100 * min(mean - std for mean, std in accuracies)
    highest = 100 * max(mean + std for mean, std in accuracies)
    margin = 0.05 * (highest - lowest) or 1
    axis.set_xlim(-0.04 * right, 1.04 * right)
    axis.set_ylim(lowest - margin, highest + margin)
    axis.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=whole))
