from __future__ import annotations

import dataclasses
import json
import random
import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import limbeck as lb
from limbeck.cli.main import main
from limbeck.core.context import Context, Group
from limbeck.core.errors import InputError, Interrupted, RunError
from limbeck.core.executor import Executor
from limbeck.core.real import RealSet
from limbeck.core.recipe import Recipe
from limbeck.curricula.one_by_one import OneByOne
from limbeck.data import Data
from limbeck.data.images import ImageSet
from limbeck.engine import groups
from limbeck.engine.distill import distill, make_context
from limbeck.engine.group_folder import GroupFolder, Learnt
from limbeck.engine.groups import chains
from limbeck.engine.loop import Loop, LoopState
from limbeck.engine.run import Run
from limbeck.engine.settings import Settings
from limbeck.execution.processes import Processes
from limbeck.initializers.coresets import Herding
from limbeck.methods.dm import dm
from limbeck.methods.dwa import dwa
from limbeck.methods.idm import idm
from limbeck.methods.sre2l import sre2l
from limbeck.optimizers.sgd import SGD
from tests.engine.killable import Killable, killable

QUIET = Settings(device="cpu", progress="quiet")
EVERY_STEP = replace(QUIET, checkpoint_minutes=0)
BYTES = ("images.safetensors", "distilled.json")
STEPS, IPC, GROUPS = 3, 2, 6
"""Of 10 classes in blocks of 4, 4 and 2."""

FIELDS: dict[str, Any] = {
    "pool__teacher__network": "convnet1:width=4,norm=batch",
    "pool__teacher__epochs": 1,
    "pool__steps": 2,
    "curriculum__steps": STEPS,
    "curriculum__classes": 4,
}


def apart(**changes: Any) -> Recipe:
    return dwa("digits").with_(**{**FIELDS, **changes})


CHAINED = {"pool__restore": "image", "pool__accumulate": True}
both = pytest.mark.parametrize("changes", [{}, CHAINED], ids=["apart", "chained"])


class Backwards(Executor):
    """Does the last task first."""

    def map(self, function: Callable[[Any], Any], tasks: Sequence[Any]) -> Iterator[Any]:
        return iter([function(task) for task in reversed(tasks)][::-1])


def contents(folder: Path) -> list[bytes]:
    return [(folder / name).read_bytes() for name in BYTES]


def log(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def losses(folder: Path) -> list[tuple[int, int, float]]:
    return [(line["group"], line["step"], line["loss"]) for line in log(folder)]


@pytest.fixture(scope="module")
def whole(digits: Data, tmp_path_factory: pytest.TempPathFactory) -> Callable[[dict[str, Any]], Path]:
    """Folder of a finished run, group after group; must not be changed."""
    known: dict[str, Path] = {}

    def finished(changes: dict[str, Any]) -> Path:
        key = str(changes)
        if key not in known:
            known[key] = tmp_path_factory.mktemp("whole")
            distill(apart(**changes), digits, ipc=IPC, out=known[key], settings=QUIET)
        return known[key]

    return finished


def in_memory(data: ImageSet) -> Data:
    return Data(train=data, validation=None, test=None, spec=data.spec)


# Any order.


@both
def test_groups_in_reverse_give_the_same_bytes(
    changes: dict[str, Any], whole: Callable[[dict[str, Any]], Path], digits: Data, tmp_path: Path
) -> None:
    recipe = apart(**changes)
    reversed_ = distill(recipe, digits, ipc=IPC, out=tmp_path, settings=EVERY_STEP, executor=Backwards())
    assert contents(tmp_path) == contents(whole(changes))
    assert losses(tmp_path) == losses(whole(changes))
    kept = lb.load(whole(changes)).stored
    assert torch.equal(reversed_.stored, kept)
    # Without a folder as well.
    assert torch.equal(distill(recipe, digits, ipc=IPC, settings=QUIET, executor=Backwards()).stored, kept)


def test_chains_follow_what_lasts(digits: Data) -> None:
    context = make_context(apart(), digits, IPC, 0, QUIET)
    numbers = [[group.number for group in chain] for chain in chains(apart(), context)]
    assert numbers == [[0], [1], [2], [3], [4], [5]]
    assert [[group.number for group in chain] for chain in chains(apart(**CHAINED), context)] == [[0, 1, 2], [3, 4, 5]]
    assert chains(apart().with_(objective=None, pool=None), context) == []
    assert chains(dm("digits"), context) == []


def test_a_group_alone_is_its_part_of_the_whole(whole: Callable[[dict[str, Any]], Path], digits: Data) -> None:
    context = make_context(apart(), digits, IPC, 0, QUIET)
    stored = lb.load(whole({})).stored
    for (group,) in chains(apart(), context)[::-1]:
        loop = Loop(apart(), replace(context, group=group))
        state = loop.start()
        for _ in range(loop.length()):
            state, _ = loop.step(state)
        assert torch.equal(state.stored, stored[group.labels.start : group.labels.stop, group.images.start :][:, :1])


def test_chained_groups_depend_on_those_before(whole: Callable[[dict[str, Any]], Path]) -> None:
    lasting, restored = (lb.load(whole(changes)).stored for changes in ({**CHAINED, "pool__accumulate": False}, {}))
    assert torch.equal(lasting[:4], restored[:4])
    assert not torch.equal(lasting[4:8], restored[4:8])


def test_no_two_groups_share_random_numbers(digits: Data) -> None:
    context = make_context(apart(), digits, IPC, 0, QUIET)
    iterations = [
        Loop(apart(), replace(context, group=group)).moment(0).iteration for (group,) in chains(apart(), context)
    ]
    assert iterations == list(range(GROUPS))


def test_sizes_of_blocks(portion: Callable[..., ImageSet]) -> None:
    data = in_memory(portion(5, 8))
    found = {}
    for classes in (1, 2, 5, 100):
        recipe = sre2l("digits").with_(
            **{key: value for key, value in FIELDS.items() if key not in ("pool__steps", "curriculum__classes")},
            curriculum__classes=classes,
        )
        for block in (1, 10):  # of an execution that this objective does not know
            stored = distill(recipe, data, ipc=2, settings=replace(QUIET, class_block=block)).stored
            assert torch.equal(found.setdefault(classes, stored), stored)
    assert torch.equal(found[5], found[100])
    # The classes of a group share statistics.
    assert not torch.equal(found[1], found[2]) and not torch.equal(found[2], found[5])


@pytest.mark.parametrize("name", ["dm", "idm"])
def test_other_methods_learn_one_by_one(name: str, portion: Callable[..., ImageSet]) -> None:
    """IDM's networks are trained on the way; no group must find them as another one has left them."""
    recipe = dm("digits") if name == "dm" else idm("digits").with_(pool__begin=2, pool__steps=1, pool__trained=2)
    recipe = recipe.with_(
        curriculum=OneByOne(steps=2, classes=2), pool__network="convnet2:width=4", sampler__batch_size=4
    )
    data = in_memory(portion(5, 8))
    forwards = distill(recipe, data, ipc=2, settings=QUIET).stored
    backwards = distill(recipe, data, ipc=2, settings=QUIET, executor=Backwards()).stored
    assert torch.equal(forwards, backwards)
    assert torch.isfinite(forwards).all() and forwards.shape[:2] == (5, 2)


def test_one_by_one_on_the_command_line(tmp_path: Path) -> None:
    swaps = ["--with", "curriculum=one_by_one", "--curriculum.steps", "2", "--curriculum.classes", "4"]
    flags = ["--preset", "digits", "--pool.network", "convnet1:width=4", "--progress", "quiet", "--device", "cpu"]
    assert main(["distill", "dm", *swaps, *flags, "--ipc", "1", "--out", str(tmp_path / "run")]) == 0
    assert json.loads((tmp_path / "run" / "record.json").read_text())["groups"] == 3


def test_an_initializer_that_knows_no_groups(context_of: Callable[..., Context]) -> None:
    recipe, context = apart(initializer=Herding(), curriculum__classes=2), context_of()
    recipe.check(context)
    assert recipe.curriculum is not None
    every = Loop(recipe, context).start().stored
    for group in recipe.curriculum.groups(context):
        stored = Loop(recipe, replace(context, group=group)).start().stored
        wanted = every[group.labels.start : group.labels.stop, group.images.start : group.images.stop]
        assert torch.equal(stored, wanted)
        assert stored.untyped_storage().nbytes() == stored.nbytes  # does not keep the others in memory


class Counting(RealSet):
    """A set that remembers which rows were read."""

    def __init__(self, inner: RealSet, read: list[list[int]]) -> None:
        self.inner, self.read, self.spec = inner, read, inner.spec

    @property
    def labels(self) -> Tensor:
        return self.inner.labels

    def class_rows(self, label: int) -> Tensor:
        return self.inner.class_rows(label)

    def images(self, rows: Any) -> Tensor:
        rows = torch.as_tensor(rows)
        if rows.numel():
            self.read.append(rows.flatten().tolist())
        return self.inner.images(rows)

    def to(self, device: torch.device, dtype: torch.dtype) -> Counting:
        return Counting(self.inner.to(device, dtype), self.read)


def test_no_other_images_are_read_than_those_of_the_group(digits: Data) -> None:
    read: list[list[int]] = []
    data: Any = replace(digits, train=Counting(digits.train, read))
    distill(apart(pool__teacher__weights="random"), data, ipc=IPC, settings=QUIET)
    assert [len(rows) for rows in read] == [4, 4, 2, 4, 4, 2]
    every = [row for rows in read for row in rows]
    assert len(set(every)) == 20  # each image is used once
    assert digits.train.labels[torch.tensor(every)].tolist() == [*range(10), *range(10)]


# What is left behind.


def test_a_finished_folder(whole: Callable[[dict[str, Any]], Path]) -> None:
    folder = whole({})
    assert not (folder / "groups").exists() and not (folder / "checkpoints").exists()
    lines = log(folder)
    assert [line["step"] for line in lines] == list(range(1, GROUPS * STEPS + 1))
    assert [line["group"] for line in lines] == [number for number in range(GROUPS) for _ in range(STEPS)]
    seconds = [line["seconds"] for line in lines]
    assert seconds == sorted(seconds) and seconds[0] > 0
    record = json.loads((folder / "record.json").read_text())
    assert (record["groups"], record["steps"]) == (GROUPS, GROUPS * STEPS)
    last = [line["loss"] for line in lines if line["step"] % STEPS == 0]
    assert record["final_loss"] == pytest.approx(sum(last) / GROUPS)
    assert record["seconds"] >= seconds[-1]


def test_uint8_holds_images_of_normalized_space(digits: Data, tmp_path: Path) -> None:
    recipe = apart()
    stored = distill(recipe, digits, ipc=1, out=tmp_path, storage="uint8", settings=QUIET)
    loaded = lb.load(tmp_path)
    assert torch.equal(loaded.stored, stored.stored) and loaded.storage == "uint8" and loaded.bytes == 10 * 64
    levels = digits.spec.normalization.invert(loaded.values(loaded.stored)) * 255
    torch.testing.assert_close(levels, loaded.stored.float(), rtol=0, atol=1e-3)
    exact = distill(recipe, digits, ipc=1, settings=QUIET).stored
    std = torch.tensor(digits.spec.normalization.std).view(-1, 1, 1)
    assert ((loaded.values(loaded.stored) - exact) * std).abs().max() <= 0.5 / 255 + 1e-6
    images, _ = loaded.decoded()
    assert images.min() >= -1e-6 and images.max() <= 1 + 1e-6


@pytest.mark.parametrize("optimizer", [{"optimizer": SGD(clamp=False)}, {"optimizer__clamp": False}])
def test_uint8_is_refused_where_images_may_leave_what_can_be(
    optimizer: dict[str, Any], digits: Data, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=r"uint8 storage needs images in \[0, 1\]"):
        distill(apart(**optimizer), digits, ipc=1, out=tmp_path / "run", storage="uint8", settings=QUIET)
    assert not (tmp_path / "run").exists()


def test_snapshots_are_refused(digits: Data, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"'dwa' learns its images group by group, .*; leave --snapshots out"):
        distill(apart(), digits, ipc=1, out=tmp_path / "run", settings=replace(QUIET, snapshots=3))
    assert not (tmp_path / "run").exists()


# Interruptions.


class Cut(Exception):
    pass


def cut_after(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A power cut right after some groups were written."""
    written: list[int] = []
    original = GroupFolder.write

    def write(self: GroupFolder, group: Group, learnt: Learnt) -> None:
        original(self, group, learnt)
        written.append(group.number)
        if len(written) == count:
            raise Cut

    monkeypatch.setattr(GroupFolder, "write", write)


def steps_taken(run: Callable[[], Any]) -> list[tuple[int, int]]:
    """Group and step of each step that a run takes."""
    taken: list[tuple[int, int]] = []
    original = Loop.step

    def step(self: Loop, state: LoopState) -> tuple[LoopState, Tensor]:
        assert self.context.group is not None
        taken.append((self.context.group.number, state.ordinal))
        return original(self, state)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Loop, "step", step)
        run()
    return taken


@both
@pytest.mark.parametrize("done", [1, 4])
def test_a_cut_between_groups(
    done: int, changes: dict[str, Any], whole: Callable[[dict[str, Any]], Path], digits: Data, tmp_path: Path
) -> None:
    def run() -> None:
        distill(apart(**changes), digits, ipc=IPC, out=tmp_path, settings=QUIET)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(Cut):
        cut_after(done, patch)
        run()
    assert sorted(path.name for path in (tmp_path / "groups").glob("0*")) == [
        f"{number:06d}.safetensors" for number in range(done)
    ]
    assert steps_taken(run) == [(number, step) for number in range(done, GROUPS) for step in range(STEPS)]
    assert contents(tmp_path) == contents(whole(changes)) and losses(tmp_path) == losses(whole(changes))
    assert not (tmp_path / "groups").exists()


@both
def test_a_stop_within_a_group(
    changes: dict[str, Any], whole: Callable[[dict[str, Any]], Path], digits: Data, tmp_path: Path
) -> None:
    def run() -> None:
        distill(apart(**changes), digits, ipc=IPC, out=tmp_path, settings=QUIET)

    original, taken = Loop.step, []

    def step(self: Loop, state: LoopState) -> tuple[LoopState, Tensor]:
        taken.append(state.ordinal)
        if len(taken) == 2 * STEPS + 2:
            signal.raise_signal(signal.SIGTERM)
        return original(self, state)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Loop, "step", step)
        with pytest.raises(Interrupted) as caught:
            run()
    assert str(caught.value) == "stopped by SIGTERM at step 8 of 18; the same command resumes at step 8."
    assert steps_taken(run) == [(2, 2), *((number, step) for number in range(3, GROUPS) for step in range(STEPS))]
    assert contents(tmp_path) == contents(whole(changes)) and losses(tmp_path) == losses(whole(changes))


@both
def test_a_damaged_group_is_learnt_again(
    changes: dict[str, Any], whole: Callable[[dict[str, Any]], Path], digits: Data, tmp_path: Path
) -> None:
    def run() -> None:
        distill(apart(**changes), digits, ipc=IPC, out=tmp_path, settings=QUIET)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(Cut):
        cut_after(4, patch)
        run()
    file = tmp_path / "groups" / "000001.safetensors"
    file.write_bytes(file.read_bytes()[:-20])
    assert [number for number, step in steps_taken(run) if step == 0] == [1, 4, 5]
    assert contents(tmp_path) == contents(whole(changes))


def test_what_all_groups_begin_with_is_made_once(digits: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A resumed run must not see another teacher, even if the file that it came from is gone."""
    recipe = apart(pool__teacher__seed=None)
    settings = replace(QUIET, network_cache=False)
    with pytest.MonkeyPatch.context() as patch, pytest.raises(Cut):
        cut_after(1, patch)
        distill(recipe, digits, ipc=IPC, out=tmp_path, settings=settings)
    monkeypatch.setattr("limbeck.training.teacher.pretrained", None)
    resumed = distill(recipe, digits, ipc=IPC, out=tmp_path, settings=settings).stored
    monkeypatch.undo()
    assert torch.equal(resumed, distill(recipe, digits, ipc=IPC, settings=settings).stored)


def test_a_group_that_cannot_be_read_back_is_an_error(digits: Data, tmp_path: Path) -> None:
    class Lost(Executor):
        def map(self, function: Callable[[Any], Any], tasks: Sequence[Any]) -> Iterator[Any]:
            for task in tasks:
                result = function(task)
                for file in (tmp_path / "groups").glob("0*"):
                    file.write_bytes(b"")
                yield result

    with pytest.raises(RunError, match="group 0 was learnt and cannot be read back; run the same command again"):
        distill(apart(), digits, ipc=IPC, out=tmp_path, settings=QUIET, executor=Lost())


@pytest.fixture(scope="module")
def children(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Killable]:
    with killable(tmp_path_factory.mktemp("children") / "errors.txt") as server:
        yield server


def command(out: Path, changes: dict[str, Any]) -> list[str]:
    fields = {**FIELDS, **{key: value for key, value in changes.items() if value is not True}}
    flags = [word for key, value in fields.items() for word in (f"--{key.replace('__', '.')}", str(value))]
    flags += ["--pool.accumulate"] if changes else []
    settings = ["--checkpoint-minutes", "0", "--device", "cpu", "--progress", "quiet", "--out", str(out)]
    return ["distill", "dwa", "--preset", "digits", *flags, "--ipc", str(IPC), *settings]


@both
def test_a_run_killed_again_and_again_gives_the_same_bytes(
    changes: dict[str, Any], children: Killable, whole: Callable[[dict[str, Any]], Path], tmp_path: Path
) -> None:
    moments, kills, status, out = random.Random(1), 0, -1, tmp_path / "run"
    while status != 0:
        status = children.run(command(out, changes), signal.SIGKILL, after=moments.uniform(0.0, 0.15 + 0.1 * kills))
        assert status in (0, -signal.SIGKILL)
        kills += status != 0
        assert kills < 100
    assert kills >= 2
    assert contents(out)[0] == contents(whole(changes))[0] and losses(out) == losses(whole(changes))
    assert not (out / "groups").exists()


# Several processes.


class Stopping(Processes):
    """Stops the run when the first result is known."""

    def map(self, function: Callable[[Any], Any], tasks: Sequence[Any]) -> Iterator[Any]:
        for number, result in enumerate(super().map(function, tasks)):
            yield result
            if number == 0:
                signal.raise_signal(signal.SIGTERM)


def test_four_processes_give_the_same_bytes(
    whole: Callable[[dict[str, Any]], Path], digits: Data, tmp_path: Path
) -> None:
    distill(apart(), digits, ipc=IPC, out=tmp_path, settings=replace(QUIET, processes=4))
    assert contents(tmp_path) == contents(whole({})) and losses(tmp_path) == losses(whole({}))
    assert not (tmp_path / "groups").exists()


def test_a_run_begun_by_two_processes_is_finished_by_one(
    whole: Callable[[dict[str, Any]], Path], digits: Data, tmp_path: Path
) -> None:
    changes = {**CHAINED, "curriculum__steps": 80}
    recipe = apart().with_(**changes)
    with pytest.raises(Interrupted, match=r"^stopped by SIGTERM; the same command resumes\.$"):
        distill(recipe, digits, ipc=4, out=tmp_path, settings=QUIET, executor=Stopping(2))
    done = len(list((tmp_path / "groups").glob("0*")))
    assert 3 <= done < 12
    resumed = distill(recipe, digits, ipc=4, out=tmp_path, settings=QUIET).stored
    assert torch.equal(resumed, distill(recipe, digits, ipc=4, settings=QUIET).stored)


def test_several_processes_without_groups_are_refused(digits: Data, tmp_path: Path) -> None:
    several = replace(QUIET, processes=2)
    with pytest.raises(InputError, match=r"recipe 'dm' has no groups of images .*; leave --processes out"):
        distill(dm("digits"), digits, ipc=1, out=tmp_path / "run", settings=several)
    assert not (tmp_path / "run").exists()


def test_what_is_sent_to_another_process_is_what_it_needs(digits: Data) -> None:
    import pickle

    said: list[str] = []
    context = make_context(apart(), digits, IPC, 0, QUIET, say=said.append)
    context.network("convnet1:width=4,norm=batch").program(_nothing)
    work = groups._Work(apart(), context, QUIET, None, {"teacher": {}}, 18, 1)
    sent = pickle.loads(pickle.dumps(work))
    sent.context.say("nobody hears this")
    assert said == [] and sent.context._networks == {}
    assert dataclasses.replace(sent, context=context) == work
    assert torch.equal(sent.context.data.pixels, context.data.pixels)  # type: ignore[attr-defined]


def _nothing(network: Any) -> None:
    pass


def test_groups_share_the_time(digits: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every group has its part of the seconds, so that all images are learnt as far."""
    taken, original = [0], Loop.step

    def step(self: Loop, state: LoopState) -> tuple[LoopState, Tensor]:
        taken[0] += 1
        return original(self, state)

    monkeypatch.setattr(Loop, "step", step)
    recipe = apart()
    every = len([group for chain in chains(recipe, make_context(recipe, digits, IPC, 0, QUIET)) for group in chain])
    each = recipe.curriculum.length() if recipe.curriculum else 0
    assert each > 1
    # A clock of each group that counts its own steps.
    began: dict[int, int] = {}
    monkeypatch.setattr(
        "limbeck.engine.run.Run._seconds", lambda run: float(taken[0] - began.setdefault(id(run), taken[0]))
    )
    runs: list[Any] = []
    monkeypatch.setattr("limbeck.engine.groups.Run", lambda *a: (runs.append(Run(*a)), runs[-1])[1])
    distill(recipe, digits, ipc=IPC, cut_after=every, out=tmp_path, settings=QUIET)
    record = json.loads((tmp_path / "record.json").read_text())
    assert record["cut"] == {"after_seconds": every, "step": every, "of": every * each}
    assert (record["steps"], record["groups"], record["seconds"]) == (every, every, every)
    assert {line["group"] for line in log(tmp_path)} == set(range(every))
