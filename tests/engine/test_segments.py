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
from limbeck.engine import plan as planning
from limbeck.engine.distill import distill, make_context
from limbeck.engine.group_folder import GroupFolder
from limbeck.engine.groups import chains
from limbeck.engine.interrupt import Stop
from limbeck.engine.loop import Loop, LoopState
from limbeck.engine.segments import Finished, Segment
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
from limbeck.training import scoring
from limbeck.training.supervised import fit

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
    earlier = Earlier(0, nothing, nothing, nothing, network, {}, 2, 8)
    lesson = curriculum.lesson(context, earlier)
    base = recipe.with_(curriculum=curriculum.of_segment(4, 0))
    loop = Loop(base, curriculum.focus(replace(context, ipc=2), lesson, earlier))
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
    (kept,) = tmp_path.glob("groups/group-*/lesson-000000.safetensors")
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


# Options that the engine has a part in.

OPTIONS: dict[str, dict[str, Any]] = {
    "union": {"curriculum__scope": "union"},
    "rescored": {"curriculum__rescore_every": 1},
    "pool": {"curriculum__net_data": "pool"},
    "previous+pool": {"curriculum__net_data": "previous+pool"},
    "frontier": {"curriculum__window_rule": "frontier"},
    "margin": {"curriculum__score": "margin"},
    "random": {"curriculum__scoring": "random"},
    "forgetting": {"curriculum__score": "forgetting", "curriculum__scoring": "real"},
}


def longer(**changes: Any) -> Recipe:
    """With segments of 4, 2 and 2 iterations."""
    return recipe_of(**{"curriculum__iterations": 8, "curriculum__batches": 0, **changes})


@pytest.fixture(scope="module")
def usual(data: Data) -> Tensor:
    return distill(longer(), data, ipc=4, settings=QUIET).stored


@pytest.mark.parametrize("name", OPTIONS)
def test_options_change_what_is_learnt_after_the_first_segment(name: str, data: Data, usual: Tensor) -> None:
    found = distill(longer(**OPTIONS[name]), data, ipc=4, settings=QUIET).stored
    assert torch.isfinite(found).all() and torch.equal(found[:, :2], usual[:, :2])
    assert not torch.equal(found[:, 2], usual[:, 2]) and not torch.equal(found[:, 3], usual[:, 3])


@pytest.mark.parametrize("name", ["union", "rescored"])
@pytest.mark.parametrize("base", BASES)
def test_options_go_on_other_bases(name: str, base: str, data: Data) -> None:
    other, changes = BASES[base]
    recipe = recipe_of(other, **{**changes, **OPTIONS[name]}).with_(curriculum__iterations=8)
    assert torch.isfinite(distill(recipe, data, ipc=4, settings=QUIET).stored).all()


def test_a_union_is_learnt_as_one_set_whose_first_part_stands_still(data: Data) -> None:
    """The second segment by hand: the whole set is compared, and a step taken on the rest alone."""
    recipe = longer(curriculum__scope="union", curriculum__sizes=(2, 2), curriculum__previous=0.0)
    found = distill(recipe, data, ipc=4, settings=QUIET).stored
    context = make_context(recipe, data, 4, 0, QUIET)
    group = recipe.curriculum.groups(context)[1]
    segment = Segment(recipe, context, group, [Finished(found[:, :2], {})], None, Stop(), 10)
    alone = Loop(segment.loop.recipe, replace(segment.loop.context, company=None))
    state = segment.loop.start()
    for _ in range(segment.loop.length()):
        moment, context = segment.loop.moment(state.ordinal), segment.loop.context
        if moment.step == 0 and state.drawn != moment.iteration:
            state.parts["pool"] = recipe.pool.draw(state.parts["pool"], context, moment.iteration)
            state.drawn = moment.iteration
        stored = state.stored.clamp(0, 1) if moment.step == 0 else state.stored
        # IDC's turns: at the turn of a class it has coasted.
        at_turn = recipe.optimizer.at_turn(state.parts["optimizer"], stored, context)
        view = recipe.pool.view(state.parts["pool"], context)
        block = alone._block((0, 1, 2), at_turn, state.parts, moment)
        joined = torch.cat([at_turn, found[:, :2]], dim=1)
        targets = torch.arange(3).view(3, 1).expand(3, 4)
        whole = replace(block, stored=joined, targets=targets)
        _, gradients = recipe.objective.gradients(view, whole, alone._peers)
        lr = recipe.optimizer.lr * 4 / 10  # of both segments
        plain = replace(recipe.optimizer, lr=lr, scale_with_ipc=False)
        optimizer = {**state.parts["optimizer"], "iteration": moment.iteration}
        state.parts["optimizer"], stored = plain.update(optimizer, stored, gradients[:, :2], context, moment)
        state.parts["pool"] = recipe.pool.advance(state.parts["pool"], context, moment, lambda: None)
        state = LoopState(state.ordinal + 1, stored, state.parts, state.drawn)
    torch.testing.assert_close(found[:, 2:], state.stored.float(), rtol=1e-4, atol=1e-6)


def test_a_union_needs_room_and_an_objective_that_can(data: Data) -> None:
    cases = [
        (recipe_of(curriculum__scope="union", objective__synthetic_batch=1), "no room for images of earlier segments"),
        (dm("digits").with_(curriculum=DifficultySegments(sizes=SIZES, net_data="pool")), "networks trained on chosen"),
        (
            mtt("digits").with_(curriculum=DifficultySegments(sizes=SIZES, scope="union")),
            "needs real batches",
        ),
    ]
    for recipe, message in cases:
        with pytest.raises(InputError, match=message):
            distill(recipe, data, ipc=4, settings=QUIET)


def test_a_part_of_what_is_finished_is_shown_where_all_is_too_much(data: Data) -> None:
    shown: list[tuple[int, int]] = []
    block = Loop._block

    def noted(self: Loop, *args: Any) -> Any:
        made = block(self, *args)
        shown.append((made.stored.shape[1], 0 if made.beside is None else made.beside.shape[1]))
        return made

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Loop, "_block", noted)
        distill(longer(curriculum__scope="union", objective__synthetic_batch=3), data, ipc=4, settings=QUIET)
    assert set(shown) == {(2, 0), (1, 2)}  # 3 at most, of 2 and of 3 before


RESCORED = {"curriculum__rescore_every": 1, "curriculum__iterations": 16, "curriculum__verify": True}


@pytest.fixture(scope="module")
def rescored(data: Data, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a finished run whose lessons were made anew; must not be changed."""
    out = tmp_path_factory.mktemp("rescored")
    distill(longer(**RESCORED), data, ipc=4, out=out, settings=QUIET)
    return out


def test_what_a_rescored_run_tells(rescored: Path, data: Data) -> None:
    first, second, third = json.loads((rescored / "record.json").read_text())["segments"]
    assert "rescored" not in first
    for entry in (second, third):
        assert [lesson["iteration"] for lesson in entry["rescored"]] == [1, 2, 3]
        assert 0 <= entry["pool_easier"] <= 1
    found = distill(longer(**RESCORED), data, ipc=4, settings=QUIET).stored
    assert torch.equal(found, lb.load(rescored).stored)


# Segments have 16, 8 and 8 steps; lessons are made anew before steps 18, 20, 22 and 26, 28, 30.
@pytest.mark.parametrize("at", [17, 18, 21, 32])
def test_a_stop_around_lessons_on_the_way(at: int, rescored: Path, data: Data, tmp_path: Path) -> None:
    step, taken = Loop.step, []

    def counted(self: Loop, state: LoopState) -> tuple[LoopState, Tensor]:
        taken.append(state.ordinal)
        if len(taken) == at:
            signal.raise_signal(signal.SIGTERM)
        return step(self, state)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Loop, "step", counted)
        try:
            distill(longer(**RESCORED), data, ipc=4, out=tmp_path, settings=QUIET)
        except Interrupted:
            distill(longer(**RESCORED), data, ipc=4, out=tmp_path, settings=QUIET)
    assert contents(tmp_path) == contents(rescored)
    # Only the steps after the last checkpoint are taken twice where the verification at the end was stopped.
    assert len(taken) == (34 if at == 32 else 32)


@pytest.mark.parametrize("damaged", ["lesson-000000", "lesson-000001", "lesson-000002"])
def test_lost_lessons(damaged: str, rescored: Path, data: Data, tmp_path: Path) -> None:
    step, taken = Loop.step, []

    def counted(self: Loop, state: LoopState) -> tuple[LoopState, Tensor]:
        taken.append(state.ordinal)
        if len(taken) == 21:
            signal.raise_signal(signal.SIGTERM)
        return step(self, state)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Loop, "step", counted)
        with pytest.raises(Interrupted):
            distill(longer(**RESCORED), data, ipc=4, out=tmp_path, settings=QUIET)
    (kept,) = tmp_path.glob(f"groups/group-*/{damaged}.safetensors")
    kept.write_bytes(kept.read_bytes()[:-100])
    distill(longer(**RESCORED), data, ipc=4, out=tmp_path, settings=QUIET)
    assert contents(tmp_path) == contents(rescored)


@pytest.mark.parametrize("at", [1, 6, 26])
def test_a_stop_within_a_lesson(at: int, rescored: Path, data: Data, tmp_path: Path) -> None:
    """Between two epochs of a scorer, of which none is trained twice."""
    epochs: list[int] = []

    def counted(*args: Any, **named: Any) -> Any:
        for each in fit(*args, **named):
            epochs.append(each[0])
            if len(epochs) == at:
                signal.raise_signal(signal.SIGTERM)
            yield each

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scoring, "fit", counted)
        with pytest.raises(Interrupted, match=r"stopped by SIGTERM while segment \d was prepared; the same command"):
            distill(longer(**RESCORED), data, ipc=4, out=tmp_path, settings=QUIET)
        distill(longer(**RESCORED), data, ipc=4, out=tmp_path, settings=QUIET)
    assert contents(tmp_path) == contents(rescored)
    # Two networks of 3 epochs in four lessons of two segments, and in the verification.
    assert len(epochs) == 2 * 3 * 9


def test_plans_count_the_bank_and_the_union(data: Data) -> None:
    recipe = longer()
    context = make_context(recipe, data, 4, 0, QUIET)
    weights = sum(tensor.numel() for tensor in context.network("convnet1:width=4").module().state_dict().values())

    def difference(measure: Any, **changes: Any) -> float:
        other = recipe.with_(**changes)
        return float(measure(other, make_context(other, data, 4, 0, QUIET)) - measure(recipe, context))

    def memory(recipe: Recipe, context: Context) -> float:
        return sum(planning._memory_by_cause(recipe, context, 10).values())

    assert difference(memory, curriculum__scorers=5) == 3 * 4 * weights * 4
    assert difference(memory, curriculum__rescore_every=1) == 2 * 4 * weights * 4
    assert difference(planning.disk_bytes, curriculum__scorers=5) == 2 * 3 * 4 * weights * 4
    assert difference(memory, curriculum__scope="union") > 0
    union = recipe.with_(curriculum__scope="union")
    assert workload(union, make_context(union, data, 4, 0, QUIET)).decoded == 4
    assert planning.plan(union, make_context(union, data, 4, 0, QUIET), Path()).step_seconds > 0
