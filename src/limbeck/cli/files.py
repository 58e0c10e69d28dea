"""``limbeck export`` and ``limbeck report``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from limbeck.cli.shared import note, print_json
from limbeck.core.errors import InputError
from limbeck.formats.export import Target, export
from limbeck.formats.native import load
from limbeck.reports.page import write_page
from limbeck.reports.runs import read_run

__all__ = ["Export", "Report"]


@dataclass(frozen=True, kw_only=True)
class Export:
    """Write a distilled set as a folder of PNG or JPEG files, a NumPy file, or recordings of a set of sound."""

    run_: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """Folder of a finished run."""
    where: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="WHERE")]
    """Folder or file to write; it must not exist."""
    to: Target = "imagefolder"
    """Form: imagefolder (PNG), npz, or wav (sound made from spectrograms by Griffin-Lim)."""
    decoded: bool = True
    """Training images; --no-decoded writes the stored images, which may hold several each."""
    jpeg: int | None = None
    """Quality of JPEG files in SRe2L's layout (75 there), for imagefolder; without it files are lossless."""
    json: bool = False
    """Print the result as JSON, alone on standard output."""

    def run(self, swaps: list[str], fields: list[str]) -> int:
        """Export."""
        written = export(load(self.run_), self.to, self.where, self.decoded, self.jpeg)
        if self.jpeg is not None:
            note(
                "JPEG files are not the images that were distilled, and programs that read them number the classes by "
                "the alphabetical order of the folders, which here is that of the labels (classes.json); a teacher "
                "must know the classes in that order."
            )
        if self.json:
            jpeg = {} if self.jpeg is None else {"jpeg": self.jpeg}
            print_json({"written": str(written), "to": self.to, "decoded": self.decoded, **jpeg})
        else:
            note(f"written to {written}")
        return 0


@dataclass(frozen=True, kw_only=True)
class Report:
    """Write one self-contained HTML page about finished runs."""

    runs: tyro.conf.Positional[tuple[Path, ...]]
    """Folders of finished runs."""
    out: Path = Path("report.html")
    """The page; must not exist unless --overwrite."""
    overwrite: bool = False
    """Replace an existing page and its files."""
    files: bool = True
    """Also write figures as SVG and PNG and tables as CSV, Markdown and LaTeX, into report-files beside report.html."""
    json: bool = False
    """Print the result as JSON, alone on standard output."""

    def run(self, swaps: list[str], fields: list[str]) -> int:
        """Report."""
        if not self.runs:
            raise InputError("name at least one folder of a finished run, for example: limbeck report runs/*.")
        if self.out.exists() and not self.overwrite:
            raise InputError(f"{self.out} exists already; choose another --out or add --overwrite.")
        runs = [read_run(folder) for folder in self.runs]
        title = runs[0].title if len(runs) == 1 else f"{len(runs)} distilled sets"
        write_page(self.out, runs, None, title, None, files=self.files)
        if self.json:
            print_json({"written": str(self.out), "runs": [run.title for run in runs]})
        else:
            note(f"report: {self.out}")
        return 0
