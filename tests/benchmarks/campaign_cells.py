"""A cell of seconds on the bundled digits, for the tests of the campaign."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from benchmarks.campaign.cells import Cell
from limbeck.engine.settings import Settings

__all__ = ["EAGER", "TOY", "judgement", "longer", "spent"]

EAGER = Settings(device="cpu", compile="off", progress="quiet")
TOY = Cell(
    kind="small",
    label="dm",
    data="digits",
    ipc=1,
    words=("dm", "--preset", "digits", "--pool.network", "convnet1:width=4", "--curriculum.iterations", "5"),
    protocol="limbeck",
    network="convnet1:width=4",
    repeats=3,
    length=5,
    storage="uint8",
    seeds=2,
    device="cpu",
)
"""Two seeds, a second each."""


def longer(iterations: int) -> Cell:
    """The same with one seed and more iterations."""
    return replace(TOY, words=(*TOY.words[:-1], str(iterations)), seeds=1)


def spent(seconds: float, **hardware: str) -> dict[str, Any]:
    """What a seed cost, as the ledger keeps it."""
    machine = {"cores": 2, "threads": 1, "device": "cpu", **hardware}
    return {"distil_seconds": seconds, "bytes": 640, "hardware": machine, "versions": {}, "peak_memory_bytes": 1}


def judgement(*last: float, best: tuple[float, ...] = (), seconds: float = 1.0, note: str = "") -> dict[str, Any]:
    """A judgement, likewise."""
    return {"last": list(last), "best": list(best), "seconds": seconds, "note": note}
