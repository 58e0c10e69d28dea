from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from limbeck.core.distilled import Distilled
from limbeck.core.recipe import Recipe
from limbeck.data import Data, load
from limbeck.methods.idc import idc
from limbeck.reports.entries import Entry
from limbeck.reports.runs import Run


@pytest.fixture(scope="session")
def digits() -> Data:
    return load("digits")


@pytest.fixture(scope="session")
def entry(digits: Data) -> Callable[..., Entry]:
    """Makes runs of which nothing was computed: grey images, and what is given of record, log and scores."""

    def make(label: str = "idc", recipe: Recipe | None = None, ipc: int = 1, seed: int = 0, **of_run: Any) -> Entry:
        distilled = Distilled(torch.full((10, ipc, 1, 8, 8), 0.5), digits.spec, recipe or idc("digits", factor=1), seed)
        files = {"record": {}, "losses": (), "evaluations": (), **of_run}
        return Entry(Run(Path(f"{label}-ipc{ipc}-seed{seed}"), distilled, **files), label)

    return make
