from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from limbeck.core.batch import Moment
from limbeck.core.context import Context, Pieces
from limbeck.core.contracts import Workload
from limbeck.core.errors import InputError, RunError
from limbeck.core.focus import Focus
from limbeck.core.network import Weights
from limbeck.core.recipe import Recipe
from limbeck.core.streams import Streams
from limbeck.data import Data
from limbeck.data.images import ImageSet
from limbeck.engine.distill import distill, make_context
from limbeck.engine.loop import Loop
from limbeck.engine.settings import Settings
from limbeck.methods.dm import dm
from limbeck.pools.experts import Experts
from limbeck.storage.trajectories import MANIFEST, read_manifest, trajectory_path
from limbeck.storage.tree import load_tree, save_tree
from limbeck.storage.weights import digest
from limbeck.training.expert_folders import cached_folder
from limbeck.training.expert_training import ExpertTraining
from limbeck.training.experts import build_experts, train_experts
from limbeck.training.scoring import CHECKPOINTS
from limbeck.training.settings import Training
from tests.pools.stopped import check_stopped_in_training

NETWORK = "convnet1:width=4"
COURSE = ExpertTraining(training=Training(lr=0.02, momentum=0.0, weight_decay=0.0, batch_size=16), epochs=6)
POOL = Experts(network=NETWORK, count=3, course=COURSE, span=2, starts=3)


def same(ours: Weights, theirs: Weights) -> bool:
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


def plan(state: dict[str, Any], pool: Experts, context: Context, iterations: int) -> list[tuple[int, int]]:
    drawn = []
    for iteration in range(iterations):
        state = pool.draw(state, context, iteration)
        drawn.append((state["expert"], state["start"]))
    return drawn


@pytest.mark.parametrize("kept", ["memory", "cache", "store"])
@pytest.mark.parametrize("half", [False, True])
def test_pieces_are_what_was_trained(context_of: Callable[..., Context], tmp_path: Path, kept: str, half: bool) -> None:
    pool = replace(POOL, half=half)
    context = context_of(dtype=torch.float32, cache=None if kept == "memory" else tmp_path / "cache")
    experts = train_experts(context, pool.wanted(context))
    if kept == "store":
        build_experts(context, pool.wanted(context), tmp_path / "store")
        pool = replace(pool, store=str(tmp_path / "store"))
    pool.check(context)
    state = pool.init(context)
    for iteration in range(6):
        state = pool.draw(state, context, iteration)
        save_tree(tmp_path / "state", state)
        view = pool.view(load_tree(tmp_path / "state"), context)
        assert view.trajectory is not None and view.trajectory.starts == 3
        assert view.trajectory.start == state["start"] and len(view.trajectory.weights) == 3
        for epoch, weights in enumerate(view.trajectory.weights, view.trajectory.start):
            trained = experts[state["expert"]].snapshots[epoch]
            assert same(weights, {name: tensor.float() for name, tensor in trained.items()})
        assert view.weights is view.trajectory.weights[0]
        assert pool.advance(state, context, Moment(iteration, 0, 1), lambda: pytest.fail("not needed")) is state
    looks = pool.looks(state, context)
    assert any(same(looks.weights, _float(expert.snapshots[6])) for expert in experts)
    judges = [view.weights for view in pool.judges(state, context)]
    assert len(judges) == 3
    assert all(same(found, _float(expert.snapshots[4])) for found, expert in zip(judges, experts, strict=True))
    told = pool.record(state, context)["experts"]
    assert [entry["avg_var"] for entry in told] == [expert.facts["avg_var"] for expert in experts]
    # With files, the state is three snapshots and no more.
    assert bool(state["snapshots"]) == (kept == "memory")
    assert pool.copies() == 3


def _float(weights: Weights) -> Weights:
    return {name: tensor.float() for name, tensor in weights.items()}


def test_only_epochs_that_are_read_are_kept(context_of: Callable[..., Context], tmp_path: Path) -> None:
    context = context_of(cache=tmp_path)
    assert POOL.wanted(context).epochs == (0, 1, 2, 3, 4, 6)
    assert POOL.wanted(context, every=True).epochs == (0, 1, 2, 3, 4, 5, 6)
    assert POOL.kept(context) == 0.0
    POOL.init(context)
    assert POOL.kept(context) == 1.0 and replace(POOL, count=2 * POOL.count).kept(context) == 0.5
    assert POOL.kept(replace(context, cache=None)) == 0.0
    (manifest,) = tmp_path.rglob(MANIFEST)
    assert read_manifest(manifest.parent)["epochs"] == [0, 1, 2, 3, 4, 6]  # type: ignore[index]


def test_experts_in_which_everything_is_kept_serve_as_well(context_of: Callable[..., Context], tmp_path: Path) -> None:
    context = context_of(dtype=torch.float32, cache=tmp_path)
    wanted = POOL.wanted(context, every=True)
    folder = cached_folder(context, wanted)
    assert folder is not None
    build_experts(context, wanted, folder)
    said: list[str] = []
    state = POOL.init(replace(context, say=said.append))
    assert said == [] and state["folder"] == folder.name
    state = POOL.draw(state, context, 0)
    before = digest(trajectory_path(folder, state["expert"]))
    trajectory_path(folder, state["expert"]).unlink()
    again = POOL.draw(state, context, 0)
    assert all(map(same, again["piece"], state["piece"]))
    assert digest(trajectory_path(folder, state["expert"])) == before


def test_shuffled_takes_every_expert_in_turn_and_uniform_any(context_of: Callable[..., Context]) -> None:
    context, state = context_of(), POOL.init(context_of())
    drawn = plan(state, POOL, context, 30)
    rounds = [[expert for expert, _ in drawn[first : first + 3]] for first in range(0, 30, 3)]
    assert all(sorted(round_) == [0, 1, 2] for round_ in rounds) and len({tuple(round_) for round_ in rounds}) > 2
    assert {start for _, start in drawn} == {0, 1, 2}
    assert drawn == plan(state, POOL, context, 30)
    uniform = plan(state, replace(POOL, order="uniform"), context, 30)
    assert {expert for expert, _ in uniform} == {0, 1, 2}
    assert any(sorted(expert for expert, _ in uniform[first : first + 3]) != [0, 1, 2] for first in range(0, 30, 3))
    assert [start for _, start in uniform] == [start for _, start in drawn]


def test_starts_within_a_range_of_the_one_before(context_of: Callable[..., Context]) -> None:
    pool = replace(POOL, course=replace(COURSE, epochs=12), starts=11, start_range=2, count=1)
    context = context_of()
    starts = [start for _, start in plan(pool.init(context), pool, context, 60)]
    assert all(abs(one - other) <= 2 for one, other in itertools.pairwise(starts))
    assert min(starts) == 0 and max(starts) == 10
    free = [start for _, start in plan(pool.init(context), replace(pool, start_range=0), context, 60)]
    assert max(abs(one - other) for one, other in itertools.pairwise(free)) > 2


def test_runs_of_several_seeds_share_experts(context_of: Callable[..., Context]) -> None:
    first, second = (context_of(seed=seed) for seed in (0, 1))
    assert POOL.wanted(first) == POOL.wanted(second)
    own = replace(POOL, seed=None)
    assert own.wanted(second).seed == 1
    states = [POOL.init(context) for context in (first, second)]
    assert plan(states[0], POOL, first, 9) != plan(states[1], POOL, second, 9)


@pytest.mark.parametrize("damage", ["gone", "cut", "number", "other"])
@pytest.mark.parametrize("kept", ["cache", "store"])
def test_a_damaged_expert_is_trained_again_or_refused(
    context_of: Callable[..., Context], tmp_path: Path, damage: str, kept: str
) -> None:
    said: list[str] = []
    context = context_of(dtype=torch.float32, cache=tmp_path / "cache", say=said.append)
    pool = POOL
    if kept == "store":
        build_experts(context, pool.wanted(context), tmp_path / "store")
        pool = replace(pool, store=str(tmp_path / "store"))
    state = pool.init(context)
    right = pool.draw(state, context, 0)
    folder = tmp_path / "store" if kept == "store" else tmp_path / "cache" / "experts" / state["folder"]
    path, content = trajectory_path(folder, right["expert"]), None
    before = digest(path)
    if damage == "gone":
        path.unlink()
    elif damage == "other":
        shutil.copy(trajectory_path(folder, (right["expert"] + 1) % 3), path)
    else:
        content = bytearray(path.read_bytes())
        content[-5] ^= 1
        path.write_bytes(content if damage == "number" else content[:-9])
    said.clear()
    if kept == "store":
        with pytest.raises(RunError, match="is missing, damaged or not the expert that this run began with"):
            pool.draw(state, context, 0)
        return
    again = pool.draw(state, context, 0)
    assert all(map(same, again["piece"], right["piece"]))
    assert digest(path) == before
    assert said[0].startswith(f"expert {right['expert']} is missing or damaged in {folder}")


def test_an_expert_that_comes_out_otherwise_is_not_used(
    context_of: Callable[..., Context], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = context_of(dtype=torch.float32, cache=tmp_path)
    state = POOL.init(context)
    number = POOL.draw(state, context, 0)["expert"]
    state["experts"][number]["digest"] = "of another machine"
    with pytest.raises(RunError, match="trained again and is not the one that this run began with"):
        POOL.draw(state, context, 0)
    with pytest.raises(RunError, match="keeps its experts in a cache of networks; resume it with one"):
        POOL.draw(state, replace(context, cache=None), 0)


def recipe() -> Recipe:
    return dm("small").with_(pool=POOL, curriculum__iterations=6, objective__synthetic_batch=0, sampler__batch_size=8)


@pytest.mark.parametrize("kept", [True, False])
def test_a_run_that_was_stopped_goes_on_to_the_same_bytes(
    portion: Callable[..., ImageSet], tmp_path: Path, kept: bool
) -> None:
    train = portion()
    data = Data(train=train, validation=None, test=None, spec=train.spec)
    cache = tmp_path / "cache" if kept else False
    settings = Settings(progress="quiet", device="cpu", checkpoint_minutes=0, network_cache=cache)
    whole = distill(recipe(), data, ipc=1, settings=replace(settings, network_cache=False))
    with pytest.MonkeyPatch.context() as patch, pytest.raises(RuntimeError, match="power cut"):
        step = Loop.step
        patch.setattr(Loop, "step", lambda self, state: step(self, state) if state.ordinal < 3 else cut())
        distill(recipe(), data, ipc=1, out=tmp_path / "run", settings=settings)
    if kept:  # experts are trained again when they are needed
        for path in (tmp_path / "cache").rglob("*.safetensors"):
            path.unlink()
    found = distill(recipe(), data, ipc=1, out=tmp_path / "run", settings=settings)
    assert torch.equal(found.stored, whole.stored)


def test_a_run_that_is_asked_to_stop_while_experts_are_trained_goes_on_from_their_last_epoch(
    portion: Callable[..., ImageSet], tmp_path: Path
) -> None:
    check_stopped_in_training(recipe(), portion(), tmp_path)


def cut() -> Any:
    raise RuntimeError("power cut")


def test_what_it_costs(context_of: Callable[..., Context], tmp_path: Path) -> None:
    context, load = context_of(), Workload(iterations=1, steps=1, real=1, decoded=1)
    assert POOL.passes(context, load) == 3 * 3 * 6 * 36
    assert replace(POOL, course=replace(COURSE, rho=0.1)).passes(context, load) == 2 * 3 * 3 * 6 * 36
    assert replace(POOL, store=str(tmp_path)).passes(context, load) == 0
    assert POOL.training == COURSE.training
    assert {"expert trajectories", "labelling networks", "networks"} <= POOL.offers()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"count": 0}, "needs count, span and starts >= 1 and start_range >= 0"),
        ({"span": 0}, "needs count, span and starts >= 1"),
        ({"start_range": -1}, "needs count, span and starts >= 1"),
        ({"starts": 6}, r"reads up to epoch 7 \(starts - 1 \+ span\) of experts that are trained for 6"),
        ({"network": "convnett1"}, "unknown network 'convnett1'; did you mean"),
        ({"course": replace(COURSE, rho=-1.0)}, "the experts of pool 'experts' need"),
        ({"normalization": "zca"}, "load the data with --normalization zca"),
        ({"store": "nowhere"}, "nowhere has no manifest.json"),
    ],
)
def test_settings_that_make_no_sense_are_refused(
    context_of: Callable[..., Context], fields: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        replace(POOL, **fields).check(context_of())


def test_a_store_that_does_not_fit_is_refused_before_the_run(
    context_of: Callable[..., Context], portion: Callable[..., ImageSet], tmp_path: Path
) -> None:
    context = context_of(dtype=torch.float32)
    build_experts(context, POOL.wanted(context), tmp_path / "store")
    train = portion()
    data = Data(train=train, validation=None, test=None, spec=train.spec)
    settings = Settings(device="cpu", progress="quiet")
    fits = recipe().with_(pool__store=str(tmp_path / "store"))
    assert make_context(fits, data, 1, 3, settings).streams == Streams(3)
    with pytest.raises(InputError, match=r"settings.training.lr is 0.02 there and 0.5 here"):
        make_context(fits.with_(pool__course__training__lr=0.5), data, 1, 0, settings)
    with pytest.raises(InputError, match="count is 3 there and 4 here"):
        make_context(fits.with_(pool__count=4), data, 1, 0, settings)
    path = trajectory_path(tmp_path / "store", 1)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(InputError, match="is damaged"):
        make_context(fits, data, 1, 0, settings)


def test_a_segment_has_experts_of_its_own(context_of: Callable[..., Context], tmp_path: Path) -> None:
    """They go on from the last checkpoints of the bank, learn its focus alone, and are files one by one."""
    context = context_of(dtype=torch.float32, cache=tmp_path / "cache")
    network = context.network(NETWORK)
    bank = tuple(network.initial(Streams(5)("bank", number)) for number in range(2 * len(CHECKPOINTS)))
    pool = tuple(context.data.class_rows(label)[:8] for label in range(context.spec.classes))
    focus = Focus(pool, tuple(rows[:0] for rows in pool), pool)
    pieces = Pieces(experts=3, epochs=4, starts=2)
    own = replace(context, bank=bank, focus=focus, pieces=pieces, streams=Streams(9))
    there = replace(POOL, store="of the whole run").of_segment(own)
    assert (there.count, there.course.epochs, there.starts, there.store, there.seed) == (3, 4, 2, "", None)
    there.check(own)
    said: list[str] = []

    def cut(message: str) -> None:
        said.append(message)
        if message.startswith("2 of 3"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        there.init(replace(own, say=cut))
    (folder,) = (tmp_path / "cache" / "experts").iterdir()
    kept = [trajectory_path(folder, number).read_bytes() for number in range(2)]
    said.clear()
    state = there.init(replace(own, say=said.append))
    assert [trajectory_path(folder, number).read_bytes() for number in range(2)] == kept
    assert said[0].startswith("training 1 experts")
    for iteration in range(6):
        state = there.draw(state, own, iteration)
        assert state["start"] in (0, 1)
        if state["start"] == 0:
            assert same(state["piece"][0], bank[len(CHECKPOINTS) * (1 + state["expert"] % 2) - 1])
    # Another bank, and other experts; those of the whole run are others again.
    other = replace(own, bank=bank[::-1])
    assert there.init(other)["folder"] != state["folder"] != POOL.init(context)["folder"]
    trajectory_path(folder, 0).unlink()
    assert list(there.judges(state, own)) and trajectory_path(folder, 0).read_bytes() == kept[0]


def test_a_segment_may_imitate_later_epochs(context_of: Callable[..., Context]) -> None:
    pool, context = replace(POOL, starts=4), context_of()
    state = pool.init(context)
    for place, epochs in ((0.0, {0, 1}), (0.5, {1, 2}), (1.0, {2, 3})):
        its = replace(context, pieces=Pieces(place=place, width=0.5))
        assert pool.of_segment(its) is pool
        assert {start for _, start in plan(state, pool, its, 40)} == epochs
