"""Segments as the engine runs them: one after the other, frozen, resumable to the byte."""

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
from limbeck.core.context import Context
from limbeck.core.contracts import Earlier, State
from limbeck.core.errors import InputError, Interrupted
from limbeck.core.recipe import Recipe
from limbeck.curricula.segments import DifficultySegments
from limbeck.data import Data
from limbeck.engine.distill import distill, make_context
from limbeck.engine.group_folder import GroupFolder
from limbeck.engine.groups import chains
from limbeck.engine.loop import Loop, LoopState
from limbeck.engine.settings import Settings
from limbeck.engine.workload import lengths, workload
from limbeck.methods.dasm import dasm
from limbeck.methods.dm import dm
from limbeck.methods.dream import dream
from limbeck.methods.dsdm import dsdm
from limbeck.methods.dwa import dwa
from limbeck.methods.idc import idc
from limbeck.methods.mtt import mtt
from limbeck.parametrizations.partition import Partition

QUIET = Settings(device="cpu", progress="quiet")
BYTES = ("images.safetensors", "distilled.json")
SIZES = (2, 1, 1)
FIELDS: dict[str, Any] = {
    "curriculum__sizes": SIZES,
    "curriculum__scorers": 2,
    "curriculum__scorer_epochs": 3,
    "pool__network": "convnet1:width=4",
    "sampler__batch_size": 8,
}


def recipe_of(base: Recipe | None = None, **changes: Any) -> Recipe:
    base = base or idc("digits").with_(curriculum__iterations=4, curriculum__steps=2, pool__samples=16)
    return dasm("digits", base=base).with_(**{**FIELDS, **changes})


@pytest.fixture(scope="module")
def data(portion: Callable[..., Any]) -> Data:
    train = portion(3, 40)
    return Data(train=train, validation=None, test=None, spec=train.spec)


@pytest.fixture(scope="module")
def whole(data: Data, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a finished run; must not be changed."""
    out = tmp_path_factory.mktemp("whole")
    distill(recipe_of(), data, ipc=4, out=out, settings=QUIET)
    return out


def contents(folder: Path) -> list[bytes]:
    return [(folder / name).read_bytes() for name in BYTES]


def test_a_finished_folder(whole: Path) -> None:
    loaded = lb.load(whole)
    assert loaded.segments == SIZES and loaded.stored.shape == (3, 4, 1, 8, 8)
    assert json.loads((whole / "distilled.json").read_text())["segments"] == [2, 1, 1]
    record = json.loads((whole / "record.json").read_text())
    assert (record["groups"], record["steps"]) == (3, 8)  # 2, 1 and 1 of 4 iterations of 2 steps
    assert [entry["images"] for entry in record["segments"]] == [2, 1, 1]
    lines = [json.loads(line) for line in (whole / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(1, 9))
    assert [line["group"] for line in lines] == [0, 0, 0, 0, 1, 1, 2, 2]
    seconds = [line["seconds"] for line in lines]
    assert seconds == sorted(seconds) and record["seconds"] >= seconds[-1]
    assert not (whole / "groups").exists()


def test_in_memory_it_is_the_same(whole: Path, data: Data) -> None:
    found = distill(recipe_of(), data, ipc=4, settings=QUIET)
    assert torch.equal(found.stored, lb.load(whole).stored) and found.segments == SIZES
    assert distill(recipe_of(), data, ipc=4, out=whole, settings=QUIET).segments == SIZES  # read back


def test_finished_segments_stay_as_they_are(whole: Path, data: Data, monkeypatch: pytest.MonkeyPatch) -> None:
    """Acceptance: what a segment has become is in the set to the bit, and is what later ones are shown."""
    became: list[Tensor] = []
    shown: list[Tensor] = []
    write, lesson = GroupFolder.write, DifficultySegments.lesson

    def noted(self: GroupFolder, group: Any, learnt: Any) -> None:
        became.append(learnt.stored.clone())
        write(self, group, learnt)

    def taught(self: DifficultySegments, context: Context, earlier: Earlier) -> State:
        shown.append(earlier.stored.clone())
        return lesson(self, context, earlier)

    monkeypatch.setattr(GroupFolder, "write", noted)
    monkeypatch.setattr(DifficultySegments, "lesson", taught)
    out = whole.parent / "again"
    stored = distill(recipe_of(), data, ipc=4, out=out, settings=QUIET).stored
    assert contents(out) == contents(whole)
    assert torch.equal(torch.cat(became, dim=1), stored)
    assert [some.shape[1] for some in shown] == [0, 2, 3]
    assert all(torch.equal(some, stored[:, : some.shape[1]]) for some in shown)


def test_every_prefix_of_segments_is_a_set(whole: Path) -> None:
    loaded = lb.load(whole)
    for ipc, sizes in ((2, (2,)), (3, (2, 1)), (4, SIZES)):
        part = loaded.prefix(ipc)
        assert torch.equal(part.stored, loaded.stored[:, :ipc]) and part.segments == sizes
        images, labels = part.decoded()
        assert len(images) == 3 * ipc and labels.tolist() == [label for label in range(3) for _ in range(ipc)]
    with pytest.raises(
        InputError, match=r"no segment of this set ends after 1 images per class, but after \[2, 3, 4\]"
    ):
        loaded.prefix(1)


def test_a_set_without_segments_has_no_prefix(data: Data) -> None:
    found = distill(recipe_of(curriculum__sizes=()), data, ipc=4, settings=QUIET)
    assert found.segments == ()
    with pytest.raises(InputError, match="learnt together"):
        found.prefix(2)


def test_the_first_segment_is_a_smaller_run(whole: Path, data: Data) -> None:
    """Of the base, on all real images, from images that no other segment begins with."""
    recipe = recipe_of()
    context = make_context(recipe, data, 4, 0, QUIET)
    assert [[group.number for group in chain] for chain in chains(recipe, context)] == [[0, 1, 2]]
    curriculum: Any = recipe.curriculum
    network = context.network("convnet1:width=4")
    nothing = torch.empty(0)
    lesson = curriculum.lesson(context, Earlier(0, nothing, nothing, nothing, network, {}, 2, 8))
    base = recipe.with_(curriculum=curriculum.of_segment(4, 0))
    loop = Loop(base, curriculum.focus(replace(context, ipc=2), lesson))
    state = loop.start()
    for _ in range(loop.length()):
        state, _ = loop.step(state)
    assert torch.equal(state.stored, lb.load(whole).stored[:, :2])


# Interruptions.


@pytest.mark.parametrize("at", [1, 5, 7])
def test_a_stop_within_a_segment(at: int, whole: Path, data: Data, tmp_path: Path) -> None:
    recipe, taken = recipe_of(), []
    step, lesson = Loop.step, DifficultySegments.lesson
    numbers: list[int] = []

    def counted(self: Loop, state: LoopState) -> tuple[LoopState, Tensor]:
        taken.append(state.ordinal)
        if len(taken) == at:
            signal.raise_signal(signal.SIGTERM)
        return step(self, state)

    def taught(self: DifficultySegments, context: Context, earlier: Earlier) -> State:
        numbers.append(earlier.number)
        return lesson(self, context, earlier)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DifficultySegments, "lesson", taught)
        patch.setattr(Loop, "step", counted)
        with pytest.raises(Interrupted, match=f"at step {at} of 8; the same command resumes at step {at}"):
            distill(recipe, data, ipc=4, out=tmp_path, settings=QUIET)
        distill(recipe, data, ipc=4, out=tmp_path, settings=QUIET)
    assert contents(tmp_path) == contents(whole)
    assert len(taken) == 8
    assert numbers == [0, 1, 2]  # no lesson was made twice


def test_a_damaged_lesson_is_made_again(whole: Path, data: Data, tmp_path: Path) -> None:
    step, taken = Loop.step, []

    def counted(self: Loop, state: LoopState) -> tuple[LoopState, Tensor]:
        taken.append(state.ordinal)
        if len(taken) == 5:
            signal.raise_signal(signal.SIGTERM)
        return step(self, state)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Loop, "step", counted)
        with pytest.raises(Interrupted):
            distill(recipe_of(), data, ipc=4, out=tmp_path, settings=QUIET)
    (kept,) = tmp_path.glob("groups/group-*/lesson.safetensors")
    kept.write_bytes(kept.read_bytes()[:-100])
    distill(recipe_of(), data, ipc=4, out=tmp_path, settings=QUIET)
    assert contents(tmp_path) == contents(whole)


# Other bases.

BASES: dict[str, tuple[Recipe, dict[str, Any]]] = {
    "dream": (dream("digits").with_(curriculum__iterations=4, curriculum__steps=2, pool__samples=16), {}),
    "packed": (idc("digits", factor=2).with_(curriculum__iterations=4, curriculum__steps=2, pool__samples=16), {}),
    "dm": (dm("digits").with_(curriculum__iterations=8), {}),
    "dsdm": (dsdm("digits").with_(curriculum__iterations=8), {"pool__epochs": 1, "pool__count": 2}),
}


@pytest.mark.parametrize("name", BASES)
def test_it_goes_on_other_bases(name: str, data: Data) -> None:
    base, changes = BASES[name]
    recipe = recipe_of(base, **changes)
    found = distill(recipe, data, ipc=4, settings=QUIET)
    assert found.stored.shape == (3, 4, 1, 8, 8) and torch.isfinite(found.stored).all()
    assert torch.equal(found.stored, distill(recipe, data, ipc=4, settings=QUIET).stored)
    # Who is recalled matters from the second segment on.
    fresh = distill(recipe.with_(curriculum__previous=0.0), data, ipc=4, settings=QUIET).stored
    assert torch.equal(fresh[:, :2], found.stored[:, :2])
    recalled = distill(recipe.with_(curriculum__previous=1.0), data, ipc=4, settings=QUIET).stored
    assert not torch.equal(recalled[:, 2:], fresh[:, 2:])


def test_images_of_normalized_space(data: Data) -> None:
    recipe = recipe_of(dm("digits").with_(curriculum__iterations=4, parametrization__space="normalized"))
    assert torch.isfinite(distill(recipe, data, ipc=4, settings=QUIET).stored).all()


# Refusals and predictions.


def test_what_segments_cannot_do(data: Data, tmp_path: Path) -> None:
    cases: list[tuple[Recipe, Settings, str]] = [
        (recipe_of(), replace(QUIET, processes=2), "one segment of images after the other"),
        (recipe_of(), replace(QUIET, snapshots=2), "leave --snapshots out"),
        (
            recipe_of(parametrization=Partition(factor=2, kind="bound", bound=9)),
            QUIET,
            "decodes 4 images of a class otherwise than segments",
        ),
        (
            dm("digits").with_(
                curriculum=DifficultySegments(sizes=SIZES),
                pool=dwa("digits").with_(pool__restore="image", pool__teacher__weights="random").pool,
            ),
            QUIET,
            "use another pool",
        ),
        (
            mtt("digits").with_(curriculum=DifficultySegments(sizes=SIZES)),
            QUIET,
            "curriculum 'difficulty_segments' of recipe 'mtt' needs real batches",
        ),
    ]
    for recipe, settings, message in cases:
        with pytest.raises(InputError, match=message):
            distill(recipe, data, ipc=4, out=tmp_path / "run", settings=settings)
        assert not (tmp_path / "run").exists()


def test_work_is_that_of_all_segments(data: Data) -> None:
    recipe = recipe_of()
    context = make_context(recipe, data, 4, 0, QUIET)
    assert lengths(recipe, context) == [4, 2, 2]
    load = workload(recipe, context)
    assert (load.iterations, load.steps, load.decoded) == (4, 2, 2)
    assert lengths(recipe.with_(curriculum__least=3), context) == [6, 6, 6]
