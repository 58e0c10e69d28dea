"""A cell of seconds on the bundled digits, for the tests of the campaign."""

from __future__ import annotations

from dataclasses import replace

from benchmarks.campaign.cells import Cell
from limbeck.engine.settings import Settings

__all__ = ["EAGER", "TOY", "longer"]

EAGER = Settings(device="cpu", compile="off", progress="quiet", checkpoint_minutes=0.0)
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
