"""Segments that imitate experts: their own, from networks that know the segments before, or later epochs of all."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import limbeck as lb
from limbeck.core.errors import InputError, Interrupted
from limbeck.core.recipe import Recipe
from limbeck.curricula.segment_experts import SegmentExperts
from limbeck.data import Data
from limbeck.engine.distill import distill
from limbeck.engine.loop import Loop, LoopState
from limbeck.engine.settings import Settings
from limbeck.methods.ast import ast
from limbeck.methods.dasm import dasm
from limbeck.methods.mtt import mtt
from limbeck.objectives.trajectory_matching import TrajectoryMatching

SIZES = (2, 1, 1)
QUIET = Settings(device="cpu", progress="quiet")


def recipe_of(base: Recipe | None = None, **changes: Any) -> Recipe:
    own = {"count": 2, "starts": 4, "network": "convnet1:width=4"}
    tiny = (base or mtt("digits")).with_(
        **{f"pool__{name}": value for name, value in own.items()},
        pool__course__epochs=6,
        curriculum__iterations=8,
        objective__student_steps=3,
    )
    segments: dict[str, Any] = {"sizes": SIZES, "scorers": 2, "scorer_epochs": 3}
    segments |= {"experts": SegmentExperts(mode="own", count=2, epochs=4, starts=2)}
    chosen = {f"curriculum__{name}": value for name, value in segments.items()}
    return dasm("digits", base=tiny).with_(**{**chosen, **changes})


@pytest.fixture(scope="module")
def data(portion: Callable[..., Any]) -> Data:
    train = portion(3, 40)
    return Data(train=train, validation=None, test=None, spec=train.spec)


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return replace(QUIET, network_cache=tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def whole(data: Data, settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a finished run; must not be changed."""
    out = tmp_path_factory.mktemp("whole")
    distill(recipe_of(), data, ipc=4, out=out, settings=settings)
    return out


def test_each_segment_has_experts_and_a_step_size_of_its_own(whole: Path) -> None:
    loaded = lb.load(whole)
    rates = loaded.learnt["segment_student_lr"]
    assert loaded.segments == SIZES and len(set(rates.tolist())) == 3 and loaded.student_lr == float(rates[-1])
    assert [loaded.prefix(ipc).student_lr for ipc in (2, 3, 4)] == rates.tolist()
    told = json.loads((whole / "record.json").read_text())["segments"]
    assert [len(entry.get("experts", ())) for entry in told] == [0, 2, 2]
    # Nobody is the same: each goes on from other networks, on other images.
    assert len({expert["avg_var"] for entry in told[1:] for expert in entry["experts"]}) == 4


def test_the_student_learns_all_segments_and_the_newest_changes(
    data: Data, settings: Settings, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[int] = []
    pull = TrajectoryMatching.pull

    def counted(self: TrajectoryMatching, view: Any, block: Any, peers: Any) -> Any:
        shown.append(block.stored.shape[1] + (0 if block.beside is None else block.beside.shape[1]))
        return pull(self, view, block, peers)

    monkeypatch.setattr(TrajectoryMatching, "pull", counted)
    stored = distill(recipe_of(), data, ipc=4, settings=settings).stored
    assert torch.equal(stored, lb.load(whole).stored)
    assert shown == [2] * 4 + [3] * 2 + [4] * 2
    one = recipe_of(curriculum__sizes=(2, 2))
    first = distill(one, data, ipc=4, settings=settings)
    assert torch.equal(first.stored[:, :2], stored[:, :2])


@pytest.mark.parametrize("cached", [True, False])
def test_a_stop_within_a_segment(cached: bool, data: Data, settings: Settings, whole: Path, tmp_path: Path) -> None:
    step, taken = Loop.step, []
    chosen = settings if cached else replace(settings, network_cache=False)

    def counted(self: Loop, state: LoopState) -> tuple[LoopState, Tensor]:
        taken.append(state.ordinal)
        if len(taken) == 6:
            signal.raise_signal(signal.SIGTERM)
        return step(self, state)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Loop, "step", counted)
        with pytest.raises(Interrupted):
            distill(recipe_of(), data, ipc=4, out=tmp_path, settings=chosen)
    assert torch.equal(distill(recipe_of(), data, ipc=4, out=tmp_path, settings=chosen).stored, lb.load(whole).stored)


@pytest.mark.parametrize("mode", ["own", "existing"])
def test_ast_goes_the_same_way(mode: str, data: Data, settings: Settings) -> None:
    recipe = recipe_of(ast("digits"), curriculum__experts__mode=mode)
    found = distill(recipe, data, ipc=4, settings=settings)
    assert torch.isfinite(found.stored).all() and found.learnt["segment_student_lr"].shape == (3,)


def test_what_segments_with_experts_cannot_do(data: Data) -> None:
    cases = [
        (recipe_of(curriculum__experts__starts=6), "reads up to epoch 7"),
        (recipe_of(curriculum__scope="segment"), "learns a number for all images"),
        (recipe_of(curriculum__net_data="pool"), "needs networks trained on chosen images"),
    ]
    for recipe, sentence in cases:
        with pytest.raises(InputError, match=sentence):
            distill(recipe, data, ipc=4, settings=QUIET)
