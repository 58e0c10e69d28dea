from __future__ import annotations

import json
import random
import signal
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from limbeck.core.errors import InputError, Interrupted
from limbeck.data import Data
from limbeck.data import load as load_data
from limbeck.engine import snapshots
from limbeck.engine.distill import distill, make_context
from limbeck.engine.loop import Loop, LoopState
from limbeck.engine.settings import Settings
from limbeck.engine.snapshots import Snapshots, due_steps, iterations_done, read_snapshots
from limbeck.formats.native import load
from limbeck.methods.random import random as random_selection
from limbeck.storage.directory import WHITENING, write_set
from tests.engine.killable import killable
from tests.engine.tiny import FLAGS, tiny_dream, tiny_idc

QUIET = Settings(device="cpu", progress="quiet")
THREE = replace(QUIET, snapshots=3)
SET = ("images.safetensors", "distilled.json", "preview.png", "README.md")


@pytest.fixture(scope="module")
def uninterrupted(digits: Data, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a finished run with snapshots; must not be changed."""
    out = tmp_path_factory.mktemp("uninterrupted") / "run"
    distill(tiny_idc(), digits, ipc=1, out=out, settings=THREE)
    return out


def pixels(folder: Path) -> dict[str, bytes]:
    files = sorted((folder / "snapshots").rglob("images.safetensors"))
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def interrupt_at(step: int, patch: pytest.MonkeyPatch) -> None:
    taken, original = 0, Loop.step

    def counted(self: Loop, state: LoopState) -> tuple[LoopState, Tensor]:
        nonlocal taken
        taken += 1
        if taken == step:
            signal.raise_signal(signal.SIGINT)
        return original(self, state)

    patch.setattr(Loop, "step", counted)


def test_they_are_evenly_spread_from_the_start_and_leave_out_the_end() -> None:
    assert due_steps(4, 100) == (0, 25, 50, 75)
    assert due_steps(3, 8) == (0, 2, 5)
    assert due_steps(1, 8) == (0,)
    assert due_steps(0, 8) == ()
    assert due_steps(9, 3) == (0, 1, 2)
    assert due_steps(3, 0) == ()


def test_iterations_are_counted_when_they_are_complete() -> None:
    assert [iterations_done(tiny_idc(2, 3), step) for step in range(7)] == [0, 0, 0, 1, 1, 1, 2]
    assert iterations_done(random_selection(), 0) == 0


def test_each_is_the_set_at_its_step(uninterrupted: Path, digits: Data) -> None:
    found = read_snapshots(uninterrupted)
    assert [(one.step, one.iteration) for one in found] == [(0, 0), (2, 0), (4, 1)]
    assert [one.folder.name for one in found] == ["step-000000000", "step-000000002", "step-000000004"]
    loop = Loop(tiny_idc(), make_context(tiny_idc(), digits, 1, 0, QUIET))
    state = loop.start()
    for one in found:
        while state.ordinal < one.step:
            state, _ = loop.step(state)
        kept = load(one.folder)
        assert torch.equal(kept.stored, state.stored)
        assert kept.identity["step"] == one.step
        assert (kept.recipe, kept.seed, kept.spec) == (tiny_idc(), 0, digits.spec)
    assert sorted(path.name for path in found[0].folder.iterdir()) == sorted([*SET, "snapshot.json"])


def test_seconds_are_those_of_the_run(uninterrupted: Path) -> None:
    seconds = [one.seconds for one in read_snapshots(uninterrupted)]
    assert 0 < seconds[0] < seconds[1] < seconds[2]
    assert seconds[-1] < json.loads((uninterrupted / "record.json").read_text())["seconds"]


def test_the_clock_of_the_run_stands_still_while_they_are_written(
    tmp_path: Path, digits: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = snapshots.write_set

    def slow(*arguments: object) -> None:
        time.sleep(1.0)
        original(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(snapshots, "write_set", slow)
    began = time.monotonic()
    distill(tiny_idc(), digits, ipc=1, out=tmp_path / "run", settings=THREE)
    wall = time.monotonic() - began
    assert json.loads((tmp_path / "run" / "record.json").read_text())["seconds"] < wall - 2.9


def test_the_result_is_the_same_to_the_bit(uninterrupted: Path, tmp_path: Path, digits: Data) -> None:
    for recipe, storage in ((tiny_idc(), "float32"), (tiny_dream(), "uint8")):
        results = []
        for settings in (QUIET, THREE):
            out = tmp_path / f"{recipe.name}-{settings.snapshots}"
            distill(recipe, digits, ipc=1, out=out, storage=storage, settings=settings)
            results.append([(out / name).read_bytes() for name in (*SET, "run.yaml")])
        assert results[0] == results[1]
        assert not (tmp_path / f"{recipe.name}-0" / "snapshots").exists()
    kept = load(tmp_path / "dream-3" / "snapshots" / "step-000000002")
    assert kept.storage == "uint8"
    assert kept.stored.dtype == torch.uint8


@pytest.mark.parametrize("step", [1, 2, 4, 5])
def test_a_stopped_and_resumed_run_has_the_same_and_rewrites_none(
    step: int, uninterrupted: Path, tmp_path: Path, digits: Data
) -> None:
    out = tmp_path / "run"
    with pytest.MonkeyPatch.context() as patch, pytest.raises(Interrupted):
        interrupt_at(step, patch)
        distill(tiny_idc(), digits, ipc=1, out=out, settings=THREE)
    before = {path: path.stat().st_mtime_ns for path in (out / "snapshots").rglob("*")}
    distill(tiny_idc(), digits, ipc=1, out=out, settings=THREE)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert pixels(out) == pixels(uninterrupted)


def test_one_taken_after_the_last_checkpoint_is_kept(uninterrupted: Path, tmp_path: Path, digits: Data) -> None:
    """What a run that is killed leaves: the first checkpoint, and snapshots of later steps."""
    out = tmp_path / "run"
    with pytest.MonkeyPatch.context() as patch, pytest.raises(Interrupted):
        interrupt_at(5, patch)
        distill(tiny_idc(), digits, ipc=1, out=out, settings=THREE)
    (out / "checkpoints" / "step-000000005.safetensors").unlink()
    before = (out / "snapshots" / "step-000000004" / "snapshot.json").read_bytes()
    leftover = out / "snapshots" / ".tmp-00-step-000000004"
    leftover.mkdir()
    (leftover / "half").write_bytes(b"")
    distill(tiny_idc(), digits, ipc=1, out=out, settings=THREE)
    assert (out / "snapshots" / "step-000000004" / "snapshot.json").read_bytes() == before
    assert pixels(out) == pixels(uninterrupted)
    assert not leftover.exists()


def test_a_run_killed_again_and_again_has_the_same(uninterrupted: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    command = ["distill", "idc", *FLAGS, "--ipc", "1", "--snapshots", "3", "--checkpoint-minutes", "0"]
    moments, kills, status = random.Random(0), 0, -1
    with killable(tmp_path / "errors.txt") as server:
        while status != 0:
            after = moments.uniform(0.0, 0.1 + 0.05 * kills)
            arguments = [*command, "--device", "cpu", "--progress", "quiet", "--out", str(out)]
            status = server.run(arguments, signal.SIGKILL, after=after)
            assert status in (0, -signal.SIGKILL)
            kills += status != 0
            assert kills < 200
    assert kills >= 2
    assert pixels(out) == pixels(uninterrupted)
    assert [one.step for one in read_snapshots(out)] == [0, 2, 4]
    assert not list(out.rglob(".tmp-*"))


def test_without_a_folder_there_is_no_place_for_them(digits: Data) -> None:
    with pytest.raises(InputError, match=r"give one \(--out\)") as caught:
        distill(tiny_idc(), digits, ipc=1, settings=THREE)
    assert "\n" not in str(caught.value)


def test_a_recipe_without_steps_has_none(tmp_path: Path, digits: Data) -> None:
    with pytest.raises(InputError, match="'random' takes no steps"):
        distill(random_selection(), digits, ipc=1, out=tmp_path / "run", settings=THREE)
    assert list(tmp_path.iterdir()) == []


def test_less_than_none_is_refused() -> None:
    with pytest.raises(InputError, match="--snapshots"):
        Settings(snapshots=-1)


def test_steps_that_are_over_cannot_be_taken_any_more(tmp_path: Path, digits: Data, uninterrupted: Path) -> None:
    finished, stopped = tmp_path / "finished", tmp_path / "stopped"
    distill(tiny_idc(), digits, ipc=1, out=finished, settings=QUIET)
    with pytest.raises(InputError, match="is past step 0, of which it has no snapshot"):
        distill(tiny_idc(), digits, ipc=1, out=finished, settings=THREE)
    with pytest.MonkeyPatch.context() as patch, pytest.raises(Interrupted):
        interrupt_at(3, patch)
        distill(tiny_idc(), digits, ipc=1, out=stopped, settings=replace(QUIET, snapshots=1))
    with pytest.raises(InputError, match="is past step 2, of which"):
        distill(tiny_idc(), digits, ipc=1, out=stopped, settings=THREE)
    # With fewer, or none, there is nothing to miss.
    for settings in (QUIET, replace(QUIET, snapshots=1), THREE):
        distill(tiny_idc(), digits, ipc=1, out=uninterrupted, settings=settings)


def test_images_that_are_no_numbers_are_not_kept(
    uninterrupted: Path, tmp_path: Path, digits: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, broken = Loop.step, [4]

    def step(self: Loop, state: LoopState) -> tuple[LoopState, Tensor]:
        after, losses = original(self, state)
        if broken and after.ordinal == broken[0]:
            broken.clear()
            after.stored = after.stored * float("nan")
        return after, losses

    monkeypatch.setattr(Loop, "step", step)
    monkeypatch.setattr("limbeck.engine.run._LOG_LINES", 1)
    distill(tiny_idc(), digits, ipc=1, out=tmp_path / "run", settings=THREE)
    assert broken == []
    assert pixels(tmp_path / "run") == pixels(uninterrupted)


def test_none_are_found_where_none_are(tmp_path: Path) -> None:
    assert read_snapshots(tmp_path) == ()


@pytest.mark.parametrize("text", ["", "[]", '{"step": 1}', None])
def test_a_damaged_one_is_named(text: str | None, uninterrupted: Path, tmp_path: Path) -> None:
    Snapshots(tmp_path, (2,)).write(load(uninterrupted), 2, 1.0)
    path = tmp_path / "snapshots" / "step-000000002" / "snapshot.json"
    assert read_snapshots(tmp_path)[0].seconds == 1.0
    path.unlink()
    if text is not None:
        path.write_text(text)
    with pytest.raises(InputError, match=r"snapshot\.json is missing or damaged"):
        read_snapshots(tmp_path)


def test_the_whitening_of_all_snapshots_is_on_the_disk_once(whitened: Data, tmp_path: Path) -> None:
    distill(tiny_idc(), whitened, ipc=1, out=tmp_path / "run", settings=THREE)
    folders = [tmp_path / "run", *(snapshot.folder for snapshot in read_snapshots(tmp_path / "run"))]
    assert len(folders) == 4 and len({(folder / WHITENING).stat().st_ino for folder in folders}) == 1
    assert all(load(folder).spec == whitened.spec for folder in folders)
    # Another content is a file of its own, and the first one stays what it was.
    other = load_data("digits", normalization="zca", split_seed=1)
    write_set(tmp_path / "else", distill(random_selection(), other, ipc=1, settings=QUIET), tmp_path / "run")
    assert load(tmp_path / "else").spec == other.spec and load(tmp_path / "run").spec == whitened.spec
