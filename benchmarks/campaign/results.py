"""``RESULTS.md`` and its pictures from the tables and the ledger: ``python -m benchmarks.campaign.results``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.campaign.cells import Cell, Table, tables
from benchmarks.campaign.figure import Bars, bars, draw
from benchmarks.campaign.ledger import Ledger, Measured
from limbeck.storage.atomic import write_bytes, write_text

__all__ = ["PAGE", "main", "page", "pictures", "verdict"]

PAGE = Path(__file__).parents[2] / "RESULTS.md"
_PICTURES = "docs/images"
"""Where pictures lie, as the page names it."""
_HEAD = """# Results beside the published ones

Generated from `benchmarks/tables` and `benchmarks/results/campaign-*.json` by `make results`; `make campaign
BUDGET=minutes` measures the next cells. Accuracies in percent.

* **paper**: as published, mean ± deviation; in brackets what is doubtful about the figure.
* **ours**: mean ± deviation of the seeds' means; networks after their last epoch, last images, nothing chosen on test
  images. Where a protocol also looks for the best epoch on test images, that stands behind as *best*.
* **gap**: ours less the paper's. **miss**: lower by more than two published deviations, and by more than one point;
  *above*: higher by as much. A figure on a copy of the data that differs from the original (CIFAR-10
  went through JPEG, Fashion-MNIST has another tone curve) is held against the paper's on the original, and its gap
  contains that difference.
* Settings of our own are not comparable with published ones and have no gap.
* Cells without a figure are not measured; those of methods that are not here have no recipe.
"""
_LEAST = 1.0
"""Points that are no miss, however small the published deviation."""


def page(found: Sequence[Table], ledger: Ledger) -> str:
    """The whole page."""
    sections = [_HEAD, _summary(found, ledger), *(_section(table, ledger) for table in found)]
    return "\n".join(sections)


def pictures(found: Sequence[Table], ledger: Ledger) -> dict[str, tuple[Table, Bars]]:
    """Tables that have a picture and what it shows, by its file as the page names it."""
    shown = [(table, bars(table, ledger)) for table in found]
    return {_picture(table): (table, rows) for table, rows in shown if rows}


def verdict(cell: Cell, measured: Measured) -> str:
    """``miss`` or ``above`` where ours is further from the paper's than two deviations and one point; else empty."""
    if not cell.published_settings or cell.paper is None:
        return ""
    allowed, gap = max(2 * (cell.paper_std or 0.0), _LEAST), measured.mean - cell.paper
    if abs(gap) <= allowed + 1e-9:
        return ""
    return "miss" if gap < 0 else "above"


def _summary(found: Sequence[Table], ledger: Ledger) -> str:
    lines = ["| table | cells | measured | misses |", "| --- | --- | --- | --- |"]
    for table in found:
        known = [(cell, measured) for cell in table.cells if (measured := ledger.measured(cell)) and measured.means]
        misses = sum(verdict(cell, measured) == "miss" for cell, measured in known)
        judged = any(cell.published_settings for cell in table.cells)
        anchor = "".join(
            letter for letter in table.title.lower().replace(" ", "-") if letter.isalnum() or letter in "-_"
        )
        missed = (misses if known else "") if judged else "not comparable"
        row = (f"[{table.title}](#{anchor})", len(table.cells), len(known), missed)
        lines.append("| " + " | ".join(map(str, row)) + " |")
    return "\n".join(lines) + "\n"


def _section(table: Table, ledger: Ledger) -> str:
    lines = [f"## {table.title}", ""]
    if table.text:
        lines += [table.text, ""]
    if rows := bars(table, ledger):
        best = ", ".join(f"{label} {measured.mean:.1f}" for label, measured in rows[:3])
        about = "Means of the seeds' means (bars), deviations (lines), seeds (dots); grey: real images, only picked."
        lines += [f"![Accuracies in percent, the most accurate first: {best}]({_picture(table)})", "", f"*{about}*", ""]
    lines += ["| method | data | IPC | tested on | paper | ours | gap | seeds | seconds a seed | hardware |"]
    lines += ["|" + " --- |" * 10]
    notes: dict[str, int] = {}
    for cell in table.cells:
        lines.append("| " + " | ".join(_row(cell, ledger.measured(cell), notes)) + " |")
    lines += ["", *(f"({number}) {note}" for note, number in notes.items()), *([""] if notes else [])]
    return "\n".join(lines)


def _row(cell: Cell, measured: Measured | None, notes: dict[str, int]) -> list[str]:
    paper = "" if cell.paper is None else _figure(cell.paper, cell.paper_std)
    paper += f" ({cell.note})" if cell.note else ""
    about = [cell.label, cell.data_title, str(cell.ipc or "all"), cell.network, paper or "none"]
    if measured is None:
        none = ["not measured", "", f"0 of {cell.seeds}"] if cell.words else ["no recipe here", "", ""]
        return [*about, *none, "", ""]
    if not measured.means:
        return [*about, f"failed: {measured.failed[0]}", "", f"0 of {cell.seeds}", "", ""]
    ours = _figure(measured.mean, measured.std)
    if measured.best:
        ours += f" (*best* {sum(measured.best) / len(measured.best):.1f})"
    gap = "not comparable" if not cell.published_settings else ""
    if cell.published_settings and cell.paper is not None:
        word = verdict(cell, measured)
        gap = f"{measured.mean - cell.paper:+.1f}" + {"miss": ", **miss**", "above": ", *above*", "": ""}[word]
    done = len(measured.seeds)
    seeds = str(done) if done == cell.seeds else f"{done} of {cell.seeds}"
    seeds += f", {len(measured.failed)} failed" if measured.failed else ""
    marks = "".join(f" ({notes.setdefault(note, len(notes) + 1)})" for note in measured.notes)
    distilling, judging = measured.seconds
    return [*about, ours, gap, seeds, f"{distilling:.0f} + {judging:.0f}{marks}", "; ".join(measured.hardware)]


def _picture(table: Table) -> str:
    first = table.cells[0]
    return f"{_PICTURES}/campaign-{first.folder}-ipc{first.ipc}.png"


def _figure(mean: float, std: float | None) -> str:
    return f"{mean:.1f}" if std is None else f"{mean:.1f} ± {std:.1f}"


def main() -> int:
    """Write the page and its pictures."""
    found, ledger = tables(), Ledger()
    for name, (table, rows) in pictures(found, ledger).items():
        write_bytes(PAGE.parent / name, draw(rows, table.title))
    write_text(PAGE, page(found, ledger))
    return 0


if __name__ == "__main__":
    sys.exit(main())
