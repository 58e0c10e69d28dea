"""The runs of a page by name, and what its sections share: figures in two widths, runs grouped by data.

A section is a function ``NAME_section`` of the entries and their colours, in the module that owns the matter, and a
template ``NAME.html``, which shows as ``section`` what that function returns; None leaves the section out.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from limbeck.core.distilled import Distilled
from limbeck.reports.canvas import Format, data_uri
from limbeck.reports.comparison import Comparison
from limbeck.reports.labels import recipe_labels
from limbeck.reports.runs import Run

__all__ = ["NARROW", "WIDE", "Entry", "Figure", "by_data", "labelled", "numbered"]

WIDE, NARROW = 1000, 350
"""Widths of figures in CSS pixels: for screens and paper, and for phones."""


@dataclass(frozen=True)
class Entry:
    """A run as the page calls it.

    Args:
        run: the run.
        label: name of its method in the comparison; the recipe's otherwise, with what tells it from its namesakes.
    """

    run: Run
    label: str

    @property
    def distilled(self) -> Distilled:
        """The set."""
        return self.run.distilled

    @property
    def learnt(self) -> bool:
        """Whether pixels were learnt, other than in a coreset."""
        return self.distilled.recipe.objective is not None


@dataclass(frozen=True)
class Figure:
    """A picture of a page, drawn when it is asked for.

    Args:
        alt: what is said of it to who does not see it.
        draw: its bytes at a width in CSS pixels, as ``svg`` or ``png``.
        form: as the page holds it.
        name: stem of its files, unique on a page; without one it is in the page alone.
    """

    alt: str
    draw: Callable[[int, Format], bytes]
    form: Format = "svg"
    name: str = ""

    @property
    def wide(self) -> str:
        """For screens and paper, as a ``data:`` URI."""
        return data_uri(self.drawn(WIDE, self.form), self.form)

    @property
    def narrow(self) -> str:
        """For phones."""
        return data_uri(self.drawn(NARROW, self.form), self.form)

    def drawn(self, width: int, form: Format) -> bytes:
        """What `draw` gives, drawn once."""
        if (width, form) not in self._kept:
            self._kept[width, form] = self.draw(width, form)
        return self._kept[width, form]

    @functools.cached_property
    def _kept(self) -> dict[tuple[int, Format], bytes]:
        return {}


def numbered(name: str, place: int, count: int) -> str:
    """A name for one of several figures or tables of a kind: ``growth``, or ``growth-2`` for the second of some."""
    return name if count == 1 else f"{name}-{place + 1}"


def labelled(runs: Sequence[Run], comparison: Comparison | None) -> list[Entry]:
    """Runs by IPC, then in the order of the comparison or as given; a comparison names the folders of its runs."""
    known = list(dict.fromkeys(row.method for row in comparison.rows)) if comparison is not None else []
    entries = []
    for run, label in zip(runs, recipe_labels([run.distilled for run in runs]), strict=True):
        named = re.fullmatch(r"(.+)-ipc\d+-seed\d+", run.folder.name)
        entries.append(Entry(run, named[1] if named and named[1] in known else label))
    order = {name: index for index, name in enumerate([*known, *(entry.label for entry in entries)][::-1])}
    return sorted(entries, key=lambda entry: (entry.distilled.ipc, -order[entry.label], entry.distilled.seed))


def by_data(entries: Sequence[Entry]) -> list[list[Entry]]:
    """Entries of equal data together."""
    found: dict[str, list[Entry]] = {}
    for entry in entries:
        found.setdefault(entry.distilled.spec.digest, []).append(entry)
    return list(found.values())
