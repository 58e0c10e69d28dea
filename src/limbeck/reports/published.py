"""Accuracies that papers print, to stand beside ours: ``published.csv``, from the main tables of the papers.

They were reached under protocols of other lengths and augmentations, some on other preprocessing, and some are the best
of several looks at the test images. So they are always named as published, and never enter a mean of ours.
"""

from __future__ import annotations

import csv
import functools
import re
from dataclasses import dataclass
from importlib.resources import files

__all__ = ["Published", "network_family", "published"]

_FILE = "published.csv"


@dataclass(frozen=True, kw_only=True)
class Published:
    """One figure of a paper. Sets were distilled and judged with the same network."""

    method: str
    """As the library calls it; ``full`` is training on all real images, ``idc-i`` is IDC with one image in each."""
    data: str
    """As the library calls it where it loads it by name, for example ``cifar10``."""
    ipc: int | None
    """Stored images per class; None for all real images."""
    network: str
    """Its family, without width and other options: ``convnet3``."""
    accuracy: float
    """Share of the test images."""
    std: float | None
    """Standard deviation as printed; None where none is."""
    source: str
    """Papers and tables that print it, ``;`` between them."""
    note: str
    """What a reader should know; mostly empty."""


def published(method: str | None = None, data: str | None = None, ipc: int | None = None) -> list[Published]:
    """Figures of papers, by data, network, IPC and method.

    Args:
        method: only of this one.
        data: only on this data; case, hyphens and blanks of its name do not matter.
        ipc: only at this many images per class, and with all real images.
    """
    name = None if data is None else _plain(data)
    return [
        value
        for value in _all()
        if (method is None or value.method == method)
        and (name is None or _plain(value.data) == name)
        and (ipc is None or value.ipc in (ipc, None))
    ]


def network_family(network: str) -> str:
    """The name of a network without its options: ``convnet3`` of ``convnet3:width=32``."""
    return network.partition(":")[0]


@functools.cache
def _all() -> tuple[Published, ...]:
    lines = (files("limbeck.reports") / _FILE).read_text(encoding="utf-8").splitlines()
    return tuple(
        Published(
            method=row["method"],
            data=row["data"],
            ipc=int(row["ipc"]) if row["ipc"] else None,
            network=row["network"],
            accuracy=float(row["accuracy"]) / 100,
            std=float(row["std"]) / 100 if row["std"] else None,
            source=row["source"],
            note=row["note"],
        )
        for row in csv.DictReader(lines)
    )


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())
