"""The picture of a small campaign: accuracy of every method, each seed a dot, the most accurate on top."""

from __future__ import annotations

import io
import json

from benchmarks.campaign.cells import Table
from benchmarks.campaign.ledger import Ledger, Measured
from limbeck.registry import method
from limbeck.reports.canvas import FAINT, GRID, INK, PIXELS_PER_INCH, POINTS

__all__ = ["LEAST", "Bars", "bars", "described", "draw"]

LEAST = 10
"""Methods that must be measured before there is a picture."""
_LEARNT, _PICKED = "#0072B2", "#7b8794"
_WIDTH, _ROW, _LEFT, _RIGHT, _ABOVE, _BELOW = 820, 24, 92, 96, 34, 44

Bars = list[tuple[str, Measured]]
"""Methods and what is known of them, the most accurate first."""


def bars(table: Table, ledger: Ledger) -> Bars:
    """What is drawn of a table: all that is measured; nothing where that is little, or settings are published ones."""
    known = [(cell.label, ledger.measured(cell)) for cell in table.cells if not cell.published_settings]
    found = [(label, measured) for label, measured in known if measured is not None and measured.means]
    return sorted(found, key=lambda bar: -bar[1].mean) if len(found) >= LEAST else []


def described(rows: Bars) -> str:
    """What a picture shows, as JSON; it is kept in the picture, so that an old one is found out."""
    return json.dumps({label: [round(mean, 6) for mean in measured.means] for label, measured in rows})


def draw(rows: Bars, title: str) -> bytes:
    """The picture, PNG, two pixels for each CSS pixel.

    Args:
        rows: from `bars`, at least one.
        title: what was measured.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    height = _ABOVE + _ROW * len(rows) + _BELOW
    figure = Figure(facecolor="white", figsize=(_WIDTH / PIXELS_PER_INCH, height / PIXELS_PER_INCH))
    FigureCanvasAgg(figure)
    box = (_LEFT / _WIDTH, _BELOW / height, (_WIDTH - _LEFT - _RIGHT) / _WIDTH, _ROW * len(rows) / height)
    axis = figure.add_axes(box)
    for place, (label, measured) in enumerate(rows):
        colour = _PICKED if method(label).baseline else _LEARNT
        axis.plot(measured.means, [place] * len(measured.means), "o", color=colour, alpha=0.4, markersize=4.5, mew=0)
        spread = measured.std or 0.0
        axis.errorbar(measured.mean, place, xerr=spread, fmt="|", color=colour, markersize=11, mew=2, elinewidth=1.2)
        number = f"{measured.mean:.1f}" + ("" if measured.std is None else f" ± {measured.std:.1f}")
        axis.annotate(
            number, (1.015, place), xycoords=("axes fraction", "data"), va="center", fontsize=POINTS, color=INK
        )
    axis.set_yticks(range(len(rows)), [label for label, _ in rows])
    axis.set_ylim(len(rows) - 0.5, -0.5)
    for side in ("top", "right", "left"):
        axis.spines[side].set_visible(False)
    axis.spines["bottom"].set_color(FAINT)
    axis.set_axisbelow(True)
    axis.grid(True, color=GRID, linewidth=0.8)
    axis.tick_params(labelsize=POINTS, labelcolor=INK, color=FAINT, length=0)
    axis.set_xlabel("test accuracy, %", fontsize=POINTS, color=FAINT)
    figure.text(8 / _WIDTH, 1 - 8 / height, title, va="top", fontsize=POINTS, color=INK, weight="bold")
    buffer = io.BytesIO()
    facts = {"Software": None, "Description": described(rows)}
    figure.savefig(buffer, format="png", dpi=2 * PIXELS_PER_INCH, metadata=facts)
    return buffer.getvalue()
