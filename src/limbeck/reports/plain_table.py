"""A table without a place to stand: the page shows it, and it can be written as CSV, Markdown and LaTeX."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

__all__ = ["FORMS", "Cell", "Column", "PlainTable", "as_csv", "as_latex", "as_markdown"]

Kind = Literal["number", "head", "name", "text"]

_NOTHING = "–"
"""What stands in a cell that has no figure."""
_LATEX = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "±": r"$\pm$",
    "×": r"$\times$",
    "²": r"$^2$",
    "–": "--",
    "\u00a0": "~",
}


@dataclass(frozen=True)
class Column:
    """Heading of a column.

    Args:
        name: what stands above it.
        kind: ``number`` is set to the right, ``head`` names the row, ``name`` is not broken, ``text`` may be.
        exact: headings in CSV of the numbers behind its cells, in place of what is shown.
    """

    name: str
    kind: Kind = "number"
    exact: tuple[str, ...] = ()


@dataclass(frozen=True)
class Cell:
    """What stands in one place.

    Args:
        text: as it is shown.
        bold: whether it is the best of its group.
        colour: of the mark before it; empty for none.
        exact: the numbers behind it, one per name of its column; None for what is missing.
    """

    text: str
    bold: bool = False
    colour: str = ""
    exact: tuple[float | None, ...] = ()


class PlainTable:
    """Rows under headings.

    Args:
        name: stem of its files; unique on a page.
        caption: what it tells, for those who do not see what stands around it.
        columns: headings.
        rows: cells, or their text.
        rules: indices of the rows above which a line is drawn.

    Raises:
        ValueError: a row has another number of cells, or a cell another number of exact figures than its column.
    """

    def __init__(
        self,
        name: str,
        caption: str,
        columns: Sequence[Column],
        rows: Sequence[Sequence[Cell | str | int]],
        rules: Collection[int] = (),
    ) -> None:
        self.name, self.caption, self.columns, self.rules = name, caption, tuple(columns), frozenset(rules)
        self.rows = tuple(
            tuple(cell if isinstance(cell, Cell) else Cell(str(cell)) for cell in cells) for cells in rows
        )
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(f"a row of table '{name}' has {len(row)} cells for {len(self.columns)} columns")
            for column, cell in zip(self.columns, row, strict=True):
                if cell.exact and len(cell.exact) != len(column.exact):
                    raise ValueError(f"'{cell.text}' in table '{name}' has not the figures {column.exact}")


def as_csv(table: PlainTable) -> str:
    """Comma-separated values under one line of headings; exact figures where there are any, nothing for none."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([name for column in table.columns for name in column.exact or (column.name,)])
    for row in table.rows:
        line: list[str | float | None] = []
        for column, cell in zip(table.columns, row, strict=True):
            if column.exact:
                line += cell.exact or [None] * len(column.exact)
            else:
                line.append("" if cell.text == _NOTHING else cell.text.replace("\u00a0", " "))
        writer.writerow(line)
    return text.getvalue()


def as_markdown(table: PlainTable) -> str:
    """A table of GitHub's Markdown."""
    lines = [
        [_escaped_markdown(column.name) for column in table.columns],
        ["---:" if column.kind == "number" else "---" for column in table.columns],
    ]
    for row in table.rows:
        texts = [(_escaped_markdown(cell.text), cell.bold) for cell in row]
        lines.append([f"**{text}**" if bold else text for text, bold in texts])
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def as_latex(table: PlainTable) -> str:
    """A ``tabular`` with the rules of the package booktabs; the caption stands above it as a comment."""
    alignment = "".join("r" if column.kind == "number" else "l" for column in table.columns)
    lines = [
        "% " + " ".join(table.caption.split()),
        r"% \usepackage{booktabs}",
        rf"\begin{{tabular}}{{{alignment}}}",
        r"\toprule",
        _line(_escaped_latex(column.name) for column in table.columns),
        r"\midrule",
    ]
    for index, row in enumerate(table.rows):
        if index and index in table.rules:
            lines.append(r"\midrule")
        texts = [(_escaped_latex(cell.text), cell.bold) for cell in row]
        lines.append(_line(rf"\textbf{{{text}}}" if bold else text for text, bold in texts))
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


FORMS: dict[str, tuple[str, Callable[[PlainTable], str]]] = {
    "csv": ("CSV", as_csv),
    "md": ("Markdown", as_markdown),
    "tex": ("LaTeX", as_latex),
}
"""By the suffix of a file: what the form is called, and what writes it."""


def _line(cells: Iterable[str]) -> str:
    return " & ".join(cells) + r" \\"


def _escaped_markdown(text: str) -> str:
    return re.sub(r"([\\`*_\[\]<>|])", r"\\\1", " ".join(text.split()))


def _escaped_latex(text: str) -> str:
    return "".join(_LATEX.get(letter, letter) for letter in re.sub(r"[^\S\u00a0]+", " ", text))
