"""The figures and tables of a page as files of their own, in a folder beside it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from limbeck.reports.entries import WIDE, Figure
from limbeck.reports.plain_table import FORMS, PlainTable
from limbeck.storage.atomic import replacing_folder

__all__ = ["files_folder", "shown", "write_files"]

SUFFIX = "-files"
"""What the folder of ``report.html`` has behind ``report``."""


def files_folder(page: Path) -> Path:
    """Where the files of a page lie: ``report-files`` beside ``report.html``."""
    return page.with_name(page.stem + SUFFIX)


def shown(content: Any) -> Iterator[Figure | PlainTable]:
    """The figures and tables that have a name, in the order of a page's sections.

    Args:
        content: what sections return: mappings, lists and what stands in them.
    """
    if isinstance(content, (Figure, PlainTable)):
        if content.name:
            yield content
    elif isinstance(content, dict):
        for value in content.values():
            yield from shown(value)
    elif isinstance(content, (list, tuple)):
        for value in content:
            yield from shown(value)


def write_files(folder: Path, content: Any) -> None:
    """Write every figure as SVG and PNG and every table as CSV, Markdown and LaTeX.

    The folder appears complete or not at all, and replaces that of an earlier page.

    Args:
        folder: of `files_folder`.
        content: what sections return.

    Raises:
        ValueError: two figures or two tables have one name.
    """
    with replacing_folder(folder) as temporary:
        for item in shown(content):
            if isinstance(item, Figure):
                written = {form: item.drawn(WIDE, form) for form in ("svg", "png")}
            else:
                written = {suffix: form(item).encode() for suffix, (_, form) in FORMS.items()}
            for suffix, data in written.items():
                path = temporary / f"{item.name}.{suffix}"
                if path.exists():
                    raise ValueError(f"two of a page are called {path.name}")
                path.write_bytes(data)
