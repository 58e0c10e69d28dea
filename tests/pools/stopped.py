"""A run that is asked to stop while the networks of its pool are trained."""

from __future__ import annotations

import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from limbeck.core.errors import Interrupted
from limbeck.core.recipe import Recipe
from limbeck.data import Data
from limbeck.data.images import ImageSet
from limbeck.engine.distill import distill
from limbeck.engine.settings import Settings
from limbeck.training.halfway import UNFINISHED, Halfway


def check_stopped_in_training(recipe: Recipe, train: ImageSet, folder: Path) -> None:
    """It stops after the first epoch of the first of three, goes on from there, and ends in the same bytes."""
    data = Data(train=train, validation=None, test=None, spec=train.spec)
    settings = Settings(progress="quiet", device="cpu", network_cache=folder / "cache")
    whole = distill(recipe, data, ipc=1, settings=replace(settings, network_cache=False))
    with pytest.MonkeyPatch.context() as patch, pytest.raises(Interrupted, match="stopped by SIGTERM while networks"):
        patch.setattr(Halfway, "keep_if_due", lambda self, state: signal.raise_signal(signal.SIGTERM))
        distill(recipe, data, ipc=1, out=folder / "run", settings=settings)
    assert len(list(folder.rglob(f"*{UNFINISHED}"))) == 1
    begun: list[int] = []
    go_on = Halfway.kept

    def watched(self: Halfway, *given: Any) -> Any:
        kept = go_on(self, *given)
        begun.append(0 if kept is None else kept["epochs"])
        return kept

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Halfway, "kept", watched)
        found = distill(recipe, data, ipc=1, out=folder / "run", settings=settings)
    assert begun == [1, 0, 0] and torch.equal(found.stored, whole.stored)
