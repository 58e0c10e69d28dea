"""Tables as CSV, Markdown and LaTeX: read back what was written, whatever stands in the cells."""

from __future__ import annotations

import csv
import io
import re

import pytest

from limbeck.reports.plain_table import Cell, Column, PlainTable, as_csv, as_latex, as_markdown

WICKED = r'a|b & 50 % of $x_1$ \ {#1} ~ ^ <i>, "q"'
TABLE = PlainTable(
    "t",
    "What\nit tells.",
    [Column("IPC"), Column("Method", "head"), Column("Accuracy, %", exact=("accuracy", "std"))],
    [
        [1, Cell("idc", bold=True), Cell("60.0 ± 1.2", exact=(0.6, 0.012))],
        ["–", WICKED, Cell("50.0", exact=(0.5, None))],
        [10, "none\u00a0yet", "–"],
    ],
    rules=[0, 2],
)


def test_csv_has_the_figures_behind_the_cells() -> None:
    assert list(csv.reader(io.StringIO(as_csv(TABLE)))) == [
        ["IPC", "Method", "accuracy", "std"],
        ["1", "idc", "0.6", "0.012"],
        ["", WICKED, "0.5", ""],
        ["10", "none yet", "", ""],
    ]


def test_markdown_has_as_many_cells_in_every_line() -> None:
    lines = as_markdown(TABLE).splitlines()
    assert lines[1] == "| ---: | --- | ---: |"
    assert lines[2] == "| 1 | **idc** | 60.0 ± 1.2 |"
    assert [len(re.findall(r"(?<!\\)\|", line)) for line in lines] == [4] * 5
    assert re.sub(r"\\([^A-Za-z0-9\s])", r"\1", lines[3]) == f"| – | {WICKED} | 50.0 |"


def test_latex_escapes_what_it_would_read() -> None:
    text = as_latex(TABLE)
    lines = text.splitlines()
    assert lines[0] == "% What it tells."
    assert lines[2:4] == [r"\begin{tabular}{rlr}", r"\toprule"]
    assert r"1 & \textbf{idc} & 60.0 $\pm$ 1.2 \\" in lines
    wicked = (
        r"a|b \& 50 \% of \$x\_1\$ \textbackslash{} \{\#1\} \textasciitilde{} \textasciicircum{} "
        r'\textless{}i\textgreater{}, "q"'
    )
    assert rf"-- & {wicked} & 50.0 \\" in lines
    assert r"10 & none~yet & -- \\" in lines
    # Under the head, and above the third row; never above the first.
    assert text.count(r"\midrule") == 2


def test_rows_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="2 cells for 1 columns"):
        PlainTable("t", "", [Column("a")], [[1, 2]])
    with pytest.raises(ValueError, match="has not the figures"):
        PlainTable("t", "", [Column("a", exact=("x", "y"))], [[Cell("1", exact=(1.0,))]])
