"""What the papers' rows are in our words: methods, networks and protocols, for the tables that declare cells."""

from __future__ import annotations

import csv
import functools
from collections.abc import Mapping
from pathlib import Path

from benchmarks.campaign.cells import Cell, Kind, Table
from limbeck.data import canonical_name
from limbeck.registry import Method, methods

__all__ = ["BATCH_NORM", "Pair", "Words", "cell", "printed"]

Words = tuple[str, ...]
Pair = tuple[float, float | None]
"""Mean and deviation as printed."""

BATCH_NORM = "convnet3:norm=batch"
"""The ConvNet of the decoupled methods' tables, which look at the statistics of batch norm."""
_OTHER_NAMES: dict[str, Words] = {"idc-i": ("idc", "--with", "parametrization=plain")}
_SUBSETS = ("imagenette", "imagewoof", "imagefruit", "imagemeow")
_PROTOCOLS = {
    **dict.fromkeys(("dc", "random", "herding", "forgetting"), "dc"),
    **dict.fromkeys(("dsa", "cafe"), "dsa"),
    **dict.fromkeys(("m3d", "dsdm"), "dsdm"),
    **dict.fromkeys(("mtt", "tesla", "ftd"), "mtt"),
    "dm": "dm",
    "ast": "ast",
}
"""How a method's authors judge, where it is not as IDC does; coresets are judged as DC judges them."""


def cell(
    kind: Kind,
    label: str,
    words: Words | None,
    data: str,
    ipc: int,
    network: str,
    paper: Pair | None = None,
    note: str = "",
) -> Cell:
    """The cell of a printed figure.

    Args:
        kind: what sort of table it stands in.
        label: what the row is called.
        words: method and flags; None for those of the method that the label names. A method without settings for the
            data has no recipe.
        data: data set as the library calls it.
        ipc: stored images per class; 0 for all real images.
        network: that is tested; options as in `limbeck.networks`.
        paper: the figure.
        note: what has to be known of it.
    """
    words = _OTHER_NAMES.get(label, (label,)) if words is None else words
    words = _with_preset(words, data) if ipc and words else ()
    mean, std = paper or (None, None)
    return Cell(
        kind=kind,
        label=label,
        data=data,
        ipc=ipc,
        words=words,
        protocol=_protocol(words[0], data) if words else "",
        network=network,
        paper=mean,
        paper_std=std,
        note=note,
    )


def printed(kind: Kind, titles: Mapping[str, str]) -> list[Table]:
    """The tables of ``figures.csv`` of one sort, which hold what the library has no use for.

    Args:
        kind: which.
        titles: what each of its tables shows, by the paper's number; their order is that of the result.
    """
    with (Path(__file__).parent / "figures.csv").open(encoding="utf-8", newline="") as lines:
        rows = [row for row in csv.DictReader(lines) if row["kind"] == kind]
    return [
        Table(title=f"{source}: {title}", cells=tuple(_printed(kind, row) for row in rows if row["table"] == source))
        for source, title in titles.items()
    ]


def _printed(kind: Kind, row: dict[str, str]) -> Cell:
    paper = (float(row["mean"]), float(row["std"]) if row["std"] else None)
    words = tuple(row["words"].split())
    return cell(kind, row["label"], words, row["data"], int(row["ipc"]), row["network"], paper, row["note"])


def _with_preset(words: Words, data: str) -> Words:
    """The words, with the preset where the data's name does not choose it; none where there are no such settings."""
    chosen = _methods().get(words[0])
    if chosen is None:
        return ()
    if chosen.baseline or canonical_name(data) in chosen.presets:
        return words
    if data in _SUBSETS and "imagenet10" in chosen.presets:
        return (words[0], "--preset", "imagenet10", *words[1:])
    return ()


@functools.cache
def _methods() -> dict[str, Method]:
    return methods()


def _protocol(method: str, data: str) -> str:
    if method in ("sre2l", "dwa"):
        kind = {"tiny-imagenet": "tiny", "imagenet-1k": "imagenet"}.get(data, "cifar")
        return f"{method}_{kind}"
    if method in ("idc", "dream", "dasm") and data.startswith("imagenet"):
        return "idc_imagenet"
    return _PROTOCOLS.get(method, "idc")
