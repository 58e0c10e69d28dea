"""What the figures of reports have in common: the canvas with its legend, the look of axes, the written picture.

Drawn with matplotlib's objects: no window, no global state. Sizes are in CSS pixels, at which text is meant to be read.
"""

from __future__ import annotations

import base64
import io
import math
import re
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "DASHES",
    "FAINT",
    "GRID",
    "INK",
    "MARGIN",
    "PIXELS_PER_INCH",
    "POINTS",
    "Embedded",
    "Format",
    "accuracy_line",
    "canvas",
    "data_uri",
    "images_per_class",
    "legend_line",
    "lightened",
    "literal",
    "plain",
    "written",
]

Format = Literal["svg", "png"]
Embedded = Literal["svg", "png", "wav"]

INK, FAINT, GRID = "#1f2933", "#66727f", "#e3e7eb"
DASHES = (0, (4, 2))
"""Lines of what others are compared with."""
PIXELS_PER_INCH = 96
POINTS = 9.75
"""Size of all text: 13 CSS pixels."""
MARGIN = 58
"""CSS pixels left of the axes."""
PHONE = 640
"""Figures below this width in CSS pixels are for phones."""
_ASIDE, _MOST_ASIDE = 3.5, 16.0
"""CSS pixels between lines at equal places, and at most between the first and the last."""


def data_uri(content: bytes, form: Embedded) -> str:
    """A picture or a recording as a ``data:`` URI."""
    kind = {"svg": "image/svg+xml", "png": "image/png", "wav": "audio/wav"}[form]
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"


def canvas(
    down: int, width: int, height: int, legend: Sequence[Any], below: int, across: int = 1, titles: int = 0
) -> tuple[Figure, list[Axes]]:
    """A figure with ``down`` times ``across`` axes under a legend.

    Args:
        down: axes below each other.
        width: of the figure in CSS pixels.
        height: of each of the axes.
        legend: handles of the legend.
        below: room under each of the axes.
        across: axes beside each other.
        titles: room above each of the axes.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(facecolor="white", figsize=(width / PIXELS_PER_INCH, 1))
    FigureCanvasAgg(figure)
    room = (width - _legend_left(width) - 30) // 7
    for entry in legend:
        entry.set_label(_broken(entry.get_label(), room))
    per_line = _legend_columns(figure, legend, width)
    needed = math.ceil(len(legend) / per_line)
    further = sum(entry.get_label().count("\n") for entry in legend)
    above = 18 + 22 * needed + 17 * further
    pitch = titles + height + below
    total = above + down * pitch
    figure.set_size_inches(width / PIXELS_PER_INCH, total / PIXELS_PER_INCH)
    gap = 64
    panel = (width - MARGIN - 12 - (across - 1) * gap) / across
    axes = []
    for index in range(down * across):
        row, column = divmod(index, across)
        top = above + row * pitch + titles
        left = MARGIN + column * (panel + gap)
        axes.append(figure.add_axes((left / width, 1 - (top + height) / total, panel / width, height / total)))
    if legend:
        _add_legend(figure, legend, per_line, (_legend_left(width) / width, 1 - 4 / total))
    return figure, axes


def _legend_columns(figure: Figure, legend: Sequence[Any], width: int) -> int:
    """How many entries of a legend fit beside each other."""
    for columns in range(len(legend), 1, -1):
        drawn = _add_legend(figure, legend, columns, (0.0, 1.0))
        needed = drawn.get_window_extent().width * PIXELS_PER_INCH / figure.dpi
        drawn.remove()
        if needed <= width - _legend_left(width):
            return columns
    return 1


def _broken(label: str, room: int) -> str:
    """A label in lines of at most ``room`` letters, where it has blanks to break at."""
    if len(label) <= room:
        return label
    return "\n".join(textwrap.wrap(label, max(room, 1), break_long_words=False, break_on_hyphens=False))


def _legend_left(width: int) -> int:
    return MARGIN - 6 if width >= PHONE else 4


def _add_legend(figure: Figure, legend: Sequence[Any], columns: int, corner: tuple[float, float]) -> Any:
    return figure.legend(
        handles=legend,
        loc="upper left",
        bbox_to_anchor=corner,
        ncols=columns,
        frameon=False,
        fontsize=POINTS,
        labelcolor=INK,
        handlelength=1.3,
        handleheight=0.9,
        handletextpad=0.5,
        columnspacing=1.6,
        borderaxespad=0,
        borderpad=0.3,
    )


def legend_line(name: str, colour: str, dashed: bool = False) -> Any:
    """Entry of a legend for a curve."""
    from matplotlib.lines import Line2D

    look: dict[str, Any] = {"linewidth": 1.2, "linestyle": DASHES} if dashed else {"linewidth": 2}
    return Line2D([], [], color=colour, label=literal(name), **look)


def accuracy_line(
    axis: Axes,
    across: Sequence[float],
    reached: Sequence[tuple[float, float]],
    colour: str,
    beside: tuple[int, int] = (0, 1),
) -> None:
    """A line of mean accuracies in percent with whiskers of one standard deviation, where there is any.

    Args:
        axis: where.
        across: its places.
        reached: mean and deviation at each, in [0, 1].
        colour: of line and whiskers.
        beside: number of this line and of all at these places, so that whiskers do not hide each other.
    """
    from matplotlib.transforms import ScaledTranslation

    index, count = beside
    aside = min(_ASIDE, _MOST_ASIDE / count) * (index - (count - 1) / 2)
    shift = ScaledTranslation(aside / PIXELS_PER_INCH, 0, axis.figure.dpi_scale_trans)
    means, deviations = ([100 * value for value in values] for values in zip(*reached, strict=True))
    look: dict[str, Any] = {"color": colour, "zorder": 3, "transform": axis.transData + shift}
    if any(deviations):
        axis.errorbar(across, means, yerr=deviations, fmt="none", elinewidth=1.0, capsize=2.2, capthick=1.0, **look)
    axis.plot(across, means, linewidth=1.6, marker="o", markersize=4.2, **look)


def literal(text: str) -> str:
    """Text that matplotlib neither hides (a leading underscore) nor reads as a formula (dollar signs)."""
    text = text.replace("$", r"\$")
    return f" {text}" if text.startswith("_") else text


def plain(axis: Axes) -> None:
    """Light horizontal grid, no frame."""
    for side in ("top", "right", "left"):
        axis.spines[side].set_visible(False)
    axis.spines["bottom"].set_color(FAINT)
    axis.set_axisbelow(True)
    axis.grid(True, axis="y", color=GRID, linewidth=0.8)
    axis.tick_params(axis="both", which="both", labelsize=POINTS, labelcolor=INK, color=FAINT)
    axis.tick_params(axis="y", which="both", length=0)
    axis.xaxis.label.set(fontsize=POINTS, color=FAINT)
    axis.yaxis.label.set(fontsize=POINTS, color=FAINT)


def lightened(colour: str, share: float) -> tuple[float, float, float]:
    """A colour mixed with a share of white."""
    from matplotlib.colors import to_rgb

    red, green, blue = (part + (1 - part) * share for part in to_rgb(colour))
    return red, green, blue


def images_per_class(ipc: int) -> str:
    """Title of what has this IPC."""
    return f"{ipc} image{'' if ipc == 1 else 's'} per class"


def written(figure: Figure, form: Format) -> bytes:
    """The bytes of a picture; equal figures give equal bytes. PNG has two pixels for each CSS pixel."""
    buffer = io.BytesIO()
    if form == "svg":
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
        return _renumbered(buffer.getvalue())
    figure.savefig(buffer, format="png", dpi=2 * PIXELS_PER_INCH, metadata={"Software": None})
    return buffer.getvalue()


def _renumbered(svg: bytes) -> bytes:
    """The same picture with numbers for matplotlib's random names, so that equal figures are equal bytes."""
    names = dict.fromkeys(re.findall(rb'id="((?:image|[a-z])[0-9a-f]{10})"', svg))
    for number, name in enumerate(names):
        svg = svg.replace(name, b"n%d" % number)
    return svg
