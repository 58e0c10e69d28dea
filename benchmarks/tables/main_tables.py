"""The main tables of the five papers, with their published figures (`limbeck.reports.published`)."""

from __future__ import annotations

from benchmarks.campaign.cells import Cell, Table
from benchmarks.tables.from_papers import BATCH_NORM, Words, cell
from limbeck.reports.published import Published, published

__all__ = ["tables"]

_PRINTED = (
    ("DREAM, table 1", "five sets of small images"),
    ("DREAM, table 2", "Tiny-ImageNet"),
    ("DSDM, table 2", "Mini-Speech-Commands"),
    ("DSDM, text", "figures that follow from sentences"),
    ("AST, table 3", "trajectory matching and what it is compared with"),
    ("AST, table 5", "subsets of ImageNet"),
    ("DWA, table 1", "CIFAR"),
    ("DWA, table 2", "Tiny-ImageNet and ImageNet"),
)


def tables() -> list[Table]:
    """All of them, and the methods' own cells that have no printed figure."""
    rows = published()
    found = [
        Table(
            title=f"{source}: {what}",
            cells=tuple(_cell(row) for row in rows if source in (name.strip() for name in row.source.split(";"))),
        )
        for source, what in _PRINTED
    ]
    return [*found, _dsdm(), _dasm()]


def _cell(row: Published) -> Cell:
    decoupled = row.method in ("sre2l", "dwa")
    words: Words | None = None
    network = row.network
    if decoupled and network.startswith("convnet"):
        words, network = (row.method, "--pool.teacher.network", BATCH_NORM), BATCH_NORM
    if decoupled and row.data == "imagenet-1k":
        network = f"torchvision:{network}"
    if row.method == "dream" and row.data == "tiny-imagenet":
        network = "convnet4"  # as the authors' code
    paper = (round(100 * row.accuracy, 2), None if row.std is None else round(100 * row.std, 2))
    return cell("main", row.method, words, row.data, row.ipc or 0, network, paper, row.note)


def _dsdm() -> Table:
    """Its table 1 is lost in the text that we have; two of its figures stand in its table 4."""
    printed = {("cifar10", 10): (66.5, None), ("cifar10", 50): (75.8, None)}
    wanted = [*printed, ("cifar10", 1), ("fashion-mnist", 1), ("fashion-mnist", 10), ("fashion-mnist", 50)]
    cells = (cell("main", "dsdm", None, data, ipc, "convnet3", printed.get((data, ipc))) for data, ipc in wanted)
    return Table(
        title="DSDM, table 1: five sets of small images",
        cells=tuple(cells),
        text="The figures of this table are not at hand but for those of its table 4.",
    )


def _dasm() -> Table:
    wanted = [(data, ipc) for data in ("cifar10", "fashion-mnist") for ipc in (1, 10, 50)]
    return Table(
        title="DASM",
        cells=tuple(cell("main", "dasm", None, data, ipc, "convnet3") for data, ipc in wanted),
        text="The draft has no figures; the method is a design of ours after it.",
    )
