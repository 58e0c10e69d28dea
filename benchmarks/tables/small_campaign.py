"""The small campaign: all methods and baselines on a CPU, presets ``small``, 1 and 10 images per class, 3 seeds.

Sets have equal bytes (8 bits per value) and are judged alike: protocol ``limbeck`` with 1000 SGD steps, 3 networks for
each seed, hard labels. A seed takes at most some minutes on two cores.
"""

from __future__ import annotations

from benchmarks.campaign.cells import Cell, Table
from limbeck.reports.published import published

__all__ = ["METHODS", "cell", "tables"]

METHODS = (
    *("random", "herding", "kcenter", "forgetting", "dm", "dsdm", "dream", "idc", "dsa", "dc"),
    *("m3d", "idm", "mtt", "ast", "dasm", "cafe", "ftd", "tesla", "sre2l", "dwa"),
)
_TEXT = (
    "Presets `small` are ours, made for minutes on a CPU: **not comparable with published settings**, whose figures "
    "stand beside them for information. All sets of a data set and a number of images have equal bytes; protocol "
    "`limbeck`, 1000 SGD steps, 3 networks for each seed, hard labels, also for SRe2L and DWA, whose images are made "
    "to be shown with a teacher's."
)


def cell(method: str, data: str, ipc: int) -> Cell:
    """A method's cell; the paper's figure, reached with published settings, stands beside it for information."""
    known = [row for row in published(method, data, ipc) if row.ipc == ipc and row.network == "convnet3"]
    std = known[0].std if known else None
    return Cell(
        kind="small",
        label=method,
        data=data,
        ipc=ipc,
        words=(method,) if method == "random" else (method, "--preset", "small"),
        protocol="limbeck",
        network="convnet3:width=32",
        repeats=3,
        length=1000,
        storage="uint8",
        device="cpu",
        paper=round(100 * known[0].accuracy, 2) if known else None,
        paper_std=None if std is None else round(100 * std, 2),
    )


def tables() -> list[Table]:
    """One table for each data set and number of images."""
    blocks = [(data, ipc) for ipc in (10, 1) for data in ("fashion-mnist", "cifar10")]
    found = []
    for data, ipc in blocks:
        cells = tuple(cell(method, data, ipc) for method in METHODS)
        title = f"Small campaign, {cells[0].data_title}, {ipc} {'image' if ipc == 1 else 'images'} per class"
        found.append(Table(title=title, cells=cells, text=_TEXT))
    return found
