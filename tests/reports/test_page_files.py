"""Files of a page: every figure and table in each of its forms, all or none of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from limbeck.reports.canvas import Format
from limbeck.reports.entries import WIDE, Figure
from limbeck.reports.page_files import files_folder, shown, write_files
from limbeck.reports.plain_table import Column, PlainTable, as_latex


def draw(width: int, form: Format) -> bytes:
    return f"{width} {form}".encode()


FIGURE, TABLE = Figure("words", draw, name="bars"), PlainTable("rows", "", [Column("a")], [[1]])
CONTENT = {"one": [{"figure": FIGURE, "title": "x"}, None], "two": {"table": TABLE, "more": (Figure("words", draw),)}}


def test_the_folder_is_named_after_the_page() -> None:
    assert files_folder(Path("out/report.html")) == Path("out/report-files")


def test_figures_and_tables_with_a_name_are_found_in_their_order() -> None:
    assert list(shown(CONTENT)) == [FIGURE, TABLE]


def test_every_form_is_written_and_what_was_there_is_replaced(tmp_path: Path) -> None:
    folder = tmp_path / "report-files"
    folder.mkdir()
    (folder / "old.svg").write_text("of another page")
    write_files(folder, CONTENT)
    assert {path.name for path in folder.iterdir()} == {"bars.svg", "bars.png", "rows.csv", "rows.md", "rows.tex"}
    assert (folder / "bars.png").read_bytes() == f"{WIDE} png".encode()
    assert (folder / "rows.tex").read_text(encoding="utf-8") == as_latex(TABLE)


def test_nothing_changes_where_two_have_one_name(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"called bars\.svg"):
        write_files(tmp_path / "files", [FIGURE, FIGURE])
    assert not list(tmp_path.iterdir())
