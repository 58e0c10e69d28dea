from __future__ import annotations

import json
import random
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

from limbeck import registry
from limbeck.core.batch import Block, View
from limbeck.core.contracts import Peers
from limbeck.core.distilled import Distilled
from limbeck.core.errors import InputError, Interrupted, RunError
from limbeck.core.execution import can_compile
from limbeck.core.recipe import Recipe
from limbeck.data import Data, from_arrays
from limbeck.engine import checkpoint
from limbeck.engine.distill import distill
from limbeck.engine.loop import Loop, LoopState
from limbeck.engine.run_file import read_run_file
from limbeck.engine.settings import Settings
from limbeck.formats.native import load
from limbeck.methods.random import random as random_selection
from limbeck.networks import build
from limbeck.objectives.gradient import GradientMatching
from limbeck.storage.lock import alone
from tests.engine.killable import Killable, killable
from tests.engine.tiny import FLAGS, tiny_dream, tiny_idc

QUIET = Settings(device="cpu", progress="quiet")
EVERY_STEP = Settings(device="cpu", progress="quiet", checkpoint_minutes=0)
RESULT = ["README.md", "distilled.json", "images.safetensors", "preview.png", "real.png", "record.json", "run.yaml"]
BYTES = ("images.safetensors", "distilled.json", "preview.png", "README.md", "run.yaml")


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def contents(folder: Path, files: tuple[str, ...] = BYTES) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in files}


def log(folder: Path) -> list[tuple[int, float]]:
    entries = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [(entry["step"], entry["loss"]) for entry in entries]


@pytest.fixture(scope="module")
def uninterrupted(digits: Data, tmp_path_factory: pytest.TempPathFactory) -> Callable[[Recipe], Path]:
    """Folder of a finished run of a recipe with seed 0 and IPC 1; must not be changed."""
    known: dict[str, Path] = {}

    def finished(recipe: Recipe) -> Path:
        if recipe.name not in known:
            known[recipe.name] = tmp_path_factory.mktemp(recipe.name)
            distill(recipe, digits, ipc=1, out=known[recipe.name], settings=QUIET)
        return known[recipe.name]

    return finished


def stop_at(step: int, act: Callable[[], None], monkeypatch: pytest.MonkeyPatch) -> None:
    """Do something once, in the middle of a step of the next run."""
    taken, original = 0, Loop.step

    def counted(self: Loop, state: LoopState) -> tuple[LoopState, Tensor]:
        nonlocal taken
        taken += 1
        if taken == step:
            act()
        return original(self, state)

    monkeypatch.setattr(Loop, "step", counted)


# What comes out.


@pytest.mark.parametrize("recipe", [tiny_idc(), tiny_dream()], ids=lambda recipe: recipe.name)
def test_a_finished_folder(recipe: Recipe, uninterrupted: Callable[[Recipe], Path], digits: Data) -> None:
    folder = uninterrupted(recipe)
    assert names(folder) == sorted([*RESULT, "log.jsonl"])
    assert [step for step, _ in log(folder)] == [1, 2, 3, 4, 5, 6]
    record = json.loads((folder / "record.json").read_text())
    assert record["method"] == recipe.name
    assert record["steps"] == 6
    assert record["final_loss"] == log(folder)[-1][1]
    assert 0 < record["seconds"] < 600
    run = read_run_file(folder, registry.parts())
    assert (run.recipe, run.ipc, run.seed, run.data.digest) == (recipe, 1, 0, digits.spec.digest)


def test_a_baseline_has_no_log(tmp_path: Path, digits: Data) -> None:
    out = distill(random_selection(), digits, ipc=2, out=tmp_path / "run", settings=EVERY_STEP)
    assert names(tmp_path / "run") == RESULT
    assert torch.equal(load(tmp_path / "run").stored, out.stored)


def test_what_is_returned_is_what_is_loaded(uninterrupted: Callable[[Recipe], Path], digits: Data) -> None:
    folder = uninterrupted(tiny_idc())
    returned = distill(tiny_idc(), digits, ipc=1, settings=QUIET)
    loaded = load(folder)
    assert torch.equal(returned.stored, loaded.stored)
    assert (returned.spec, returned.recipe, returned.seed) == (loaded.spec, loaded.recipe, loaded.seed)
    assert returned.stored.dtype == torch.float32


def test_uint8_is_returned_as_it_is_written(tmp_path: Path, digits: Data) -> None:
    first = distill(tiny_idc(), digits, ipc=1, out=tmp_path / "run", storage="uint8", settings=QUIET)
    assert first.stored.dtype == torch.uint8
    assert first.bytes == 10 * 64
    for again in (load(tmp_path / "run"), distill(tiny_idc(), digits, ipc=1, out=tmp_path / "run", storage="uint8")):
        assert torch.equal(again.stored, first.stored)
        assert again.storage == "uint8"


@pytest.mark.parametrize("recipe", [tiny_idc(), tiny_dream()], ids=lambda recipe: recipe.name)
def test_the_same_seed_writes_the_same_bytes(
    recipe: Recipe, tmp_path: Path, uninterrupted: Callable[[Recipe], Path], digits: Data
) -> None:
    torch.manual_seed(123)
    distill(recipe, digits, ipc=1, out=tmp_path / "b", settings=EVERY_STEP)
    assert contents(tmp_path / "b") == contents(uninterrupted(recipe))


def test_another_seed_gives_other_images(uninterrupted: Callable[[Recipe], Path], digits: Data) -> None:
    other = distill(tiny_idc(), digits, ipc=1, seed=1, settings=QUIET)
    assert not torch.equal(other.stored, load(uninterrupted(tiny_idc())).stored)


def test_images_are_learnt_and_stay_in_range(digits: Data) -> None:
    one = distill(tiny_idc(1, 1), digits, ipc=1, settings=QUIET).stored
    many = distill(tiny_idc(), digits, ipc=1, settings=QUIET).stored
    assert not torch.equal(one, many)


def test_float64_is_close_to_float32(digits: Data) -> None:
    single = distill(tiny_idc(), digits, ipc=1, settings=QUIET).stored
    double = distill(tiny_idc(), digits, ipc=1, settings=Settings(device="cpu", dtype="float64", progress="quiet"))
    assert double.stored.dtype == torch.float32
    assert torch.allclose(single, double.stored, atol=1e-3)
    assert not torch.equal(single, double.stored)


# Folders.


def test_a_finished_run_is_read_back_at_once(
    tmp_path: Path, digits: Data, monkeypatch: pytest.MonkeyPatch, uninterrupted: Callable[[Recipe], Path]
) -> None:
    folder = uninterrupted(tiny_idc())
    before = contents(folder)
    monkeypatch.setattr(Loop, "start", None)
    monkeypatch.setattr(Loop, "step", None)
    again = distill(tiny_idc(), digits, ipc=1, out=folder, settings=QUIET)
    assert torch.equal(again.stored, load(folder).stored)
    assert contents(folder) == before


def test_checkpoints_left_by_a_run_killed_at_the_very_end_are_removed(tmp_path: Path, digits: Data) -> None:
    out = tmp_path / "run"
    distill(tiny_idc(1, 1), digits, ipc=1, out=out, settings=QUIET)
    (out / "checkpoints").mkdir()
    (out / "checkpoints" / "step-000000000.safetensors").write_bytes(b"")
    (out / ".tmp-00-README.md").write_bytes(b"half")
    distill(tiny_idc(1, 1), digits, ipc=1, out=out, settings=QUIET)
    assert names(out) == sorted([*RESULT, "log.jsonl"])


def test_another_run_in_the_folder_is_refused(uninterrupted: Callable[[Recipe], Path], digits: Data) -> None:
    folder = uninterrupted(tiny_idc())
    before = contents(folder, (*BYTES, "record.json", "log.jsonl"))
    with pytest.raises(InputError, match="holds another run"):
        distill(tiny_idc(), digits, ipc=1, seed=5, out=folder, settings=QUIET)
    with pytest.raises(InputError, match=r"recipe\.optimizer\.lr"):
        distill(tiny_idc().with_(optimizer__lr=1.0), digits, ipc=1, out=folder, settings=QUIET)
    assert contents(folder, (*BYTES, "record.json", "log.jsonl")) == before


def test_a_folder_in_which_another_process_is_at_work_is_refused(tmp_path: Path, digits: Data) -> None:
    out = tmp_path / "run"
    out.mkdir()
    with alone(out), pytest.raises(InputError, match="another process is at work in"):
        distill(tiny_idc(), digits, ipc=1, out=out, settings=QUIET)
    assert not (out / "checkpoints").exists()
    distill(tiny_idc(), digits, ipc=1, out=out, settings=QUIET)
    assert names(out) == sorted([*RESULT, "log.jsonl"])


def wrong(digits: Data) -> dict[str, tuple[Recipe, dict[str, Any], str]]:
    idc = tiny_idc()
    return {
        "IPC of a class": (idc, {"ipc": 1000}, "lower ipc"),
        "IPC zero": (idc, {"ipc": 0}, "at least 1"),
        "IPC negative": (idc, {"ipc": -1}, "at least 1"),
        "network": (idc.with_(pool__network="convnet9000"), {}, "unknown network"),
        "no sampler": (idc.with_(sampler=None), {}, "needs real batches"),
        "useless sampler": (random_selection().with_(sampler=idc.sampler), {}, "would have no effect"),
        "no labels": (idc.with_(labeler=None), {"storage": "uint8"}, "labeler"),
        "no parametrization": (idc.with_(parametrization=None), {"storage": "uint8"}, "parametrization"),
        "batch size": (idc.with_(sampler__batch_size=0), {}, "batch size"),
        "steps": (idc.with_(curriculum__steps=0), {}, "must be >= 1"),
        "not finite": (idc.with_(optimizer__lr=float("nan")), {}, "lr|finite"),
        "uint8": (idc.with_(parametrization__space="normalized"), {"storage": "uint8"}, "uint8 storage"),
    }


@pytest.mark.parametrize("case", list(wrong(None)))  # type: ignore[arg-type]
def test_wrong_input_makes_no_folder(case: str, tmp_path: Path, digits: Data) -> None:
    recipe, arguments, message = wrong(digits)[case]
    with pytest.raises(InputError, match=message) as caught:
        distill(recipe, digits, out=tmp_path / "run", settings=QUIET, **{"ipc": 1, **arguments})
    assert "\n" not in str(caught.value)
    assert names(tmp_path) == []


def test_a_gpu_that_is_not_there_makes_no_folder(tmp_path: Path, digits: Data, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(InputError, match="sees no GPU"):
        distill(tiny_idc(), digits, ipc=1, out=tmp_path / "run", settings=Settings(device="cuda"))
    assert names(tmp_path) == []


def test_data_without_a_name_can_be_distilled(tmp_path: Path) -> None:
    images = torch.rand(24, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    data = from_arrays((images, torch.arange(24) % 3), name="mine", validation=0)
    result = distill(tiny_idc(1, 2), data, ipc=1, out=tmp_path / "run", settings=QUIET)
    assert result.stored.shape == (3, 1, 3, 8, 8)
    run = read_run_file(tmp_path / "run", registry.parts())
    assert (run.data.source, run.data.options, run.data.name) == (None, None, "mine")


# Stopping and resuming.


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(("recipe", "step"), [(tiny_idc(), 2), (tiny_idc(), 4), (tiny_dream(), 5)])
def test_a_stopped_run_resumes_to_the_same_bytes(
    recipe: Recipe,
    step: int,
    number: signal.Signals,
    tmp_path: Path,
    digits: Data,
    uninterrupted: Callable[[Recipe], Path],
) -> None:
    out = tmp_path / "run"
    with pytest.MonkeyPatch.context() as patch:
        stop_at(step, lambda: signal.raise_signal(number), patch)
        with pytest.raises(Interrupted) as caught:
            distill(recipe, digits, ipc=1, out=out, settings=QUIET)
    sentence = f"stopped by {number.name} at step {step} of 6; the same command resumes at step {step}."
    assert str(caught.value) == sentence
    assert names(out / "checkpoints")[-1] == f"step-{step:09d}.safetensors"
    assert not (out / "distilled.json").exists()
    with pytest.MonkeyPatch.context() as patch:
        resumed: list[int] = []
        original = Loop.step
        patch.setattr(Loop, "step", lambda self, state: (resumed.append(state.ordinal), original(self, state))[1])
        distill(recipe, digits, ipc=1, out=out, settings=QUIET)
    assert resumed == list(range(step, 6))
    assert contents(out) == contents(uninterrupted(recipe))
    assert log(out) == log(uninterrupted(recipe))
    assert names(out) == sorted([*RESULT, "log.jsonl"])


@pytest.mark.skipif(not can_compile(torch.device("cpu")), reason="there is no C++ compiler")
def test_a_compiled_run_repeats_and_resumes_to_the_bit(tmp_path: Path, digits: Data) -> None:
    settings = replace(QUIET, compile="on")
    whole = distill(tiny_dream(), digits, ipc=1, settings=settings).stored
    again = distill(tiny_dream(), digits, ipc=1, settings=settings).stored
    with pytest.MonkeyPatch.context() as patch:
        stop_at(4, lambda: signal.raise_signal(signal.SIGTERM), patch)
        with pytest.raises(Interrupted):
            distill(tiny_dream(), digits, ipc=1, out=tmp_path / "run", settings=settings)
    build.cache_clear()  # as in a new process, which compiles for itself
    torch.compiler.reset()
    resumed = distill(tiny_dream(), digits, ipc=1, out=tmp_path / "run", settings=settings).stored
    assert torch.equal(again, whole) and torch.equal(resumed, whole)
    eager = distill(tiny_dream(), digits, ipc=1, settings=QUIET).stored
    torch.testing.assert_close(whole, eager, rtol=1e-3, atol=1e-3)
    record = json.loads((tmp_path / "run" / "record.json").read_text())
    assert record["execution"]["compile"] is True
    torch.compiler.reset()


def test_a_signal_during_the_last_step_still_stops_what_follows(
    tmp_path: Path, digits: Data, uninterrupted: Callable[[Recipe], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    stop_at(6, lambda: signal.raise_signal(signal.SIGINT), monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        distill(tiny_idc(), digits, ipc=1, out=tmp_path / "run", settings=QUIET)
    assert contents(tmp_path / "run") == contents(uninterrupted(tiny_idc()))


def test_a_run_in_memory_stops_too(digits: Data, monkeypatch: pytest.MonkeyPatch) -> None:
    stop_at(2, lambda: signal.raise_signal(signal.SIGINT), monkeypatch)
    with pytest.raises(Interrupted, match=r"^stopped by SIGINT at step 2 of 6\.$"):
        distill(tiny_idc(), digits, ipc=1, settings=QUIET)


def test_log_lines_of_a_resumed_run_are_those_of_an_uninterrupted_one_when_they_hold_several_steps(
    tmp_path: Path, digits: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("limbeck.engine.run._LOG_LINES", 2)
    distill(tiny_idc(), digits, ipc=1, out=tmp_path / "a", settings=QUIET)
    assert [step for step, _ in log(tmp_path / "a")] == [3, 6]
    for step in (2, 2):
        with pytest.MonkeyPatch.context() as patch, pytest.raises(Interrupted):
            stop_at(step, lambda: signal.raise_signal(signal.SIGINT), patch)
            distill(tiny_idc(), digits, ipc=1, out=tmp_path / "b", settings=QUIET)
    distill(tiny_idc(), digits, ipc=1, out=tmp_path / "b", settings=QUIET)
    assert log(tmp_path / "b") == log(tmp_path / "a")
    assert contents(tmp_path / "b") == contents(tmp_path / "a")


def test_a_damaged_newest_checkpoint_falls_back(
    tmp_path: Path, digits: Data, uninterrupted: Callable[[Recipe], Path]
) -> None:
    out = tmp_path / "run"
    with pytest.MonkeyPatch.context() as patch, pytest.raises(Interrupted):
        stop_at(5, lambda: signal.raise_signal(signal.SIGTERM), patch)
        distill(tiny_idc(), digits, ipc=1, out=out, settings=EVERY_STEP)
    assert names(out / "checkpoints") == ["step-000000004.safetensors", "step-000000005.safetensors"]
    newest = out / "checkpoints" / "step-000000005.safetensors"
    newest.write_bytes(newest.read_bytes()[:100])
    distill(tiny_idc(), digits, ipc=1, out=out, settings=QUIET)
    assert contents(out) == contents(uninterrupted(tiny_idc()))
    assert log(out) == log(uninterrupted(tiny_idc()))


@pytest.fixture(scope="module")
def children(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Killable, Path]]:
    errors = tmp_path_factory.mktemp("children") / "errors.txt"
    with killable(errors) as server:
        yield server, errors


def command(out: Path) -> list[str]:
    settings = ["--checkpoint-minutes", "0", "--device", "cpu", "--progress", "quiet", "--out", str(out)]
    return ["distill", "idc", *FLAGS, "--ipc", "1", *settings]


def test_a_run_killed_again_and_again_gives_the_same_bytes(
    tmp_path: Path, children: tuple[Killable, Path], uninterrupted: Callable[[Recipe], Path]
) -> None:
    server, _ = children
    reference, out = uninterrupted(tiny_idc()), tmp_path / "run"
    moments, kills, status = random.Random(0), 0, -1
    while status != 0:
        # Later trials wait longer, so that a slow machine gets to the end.
        status = server.run(command(out), signal.SIGKILL, after=moments.uniform(0.0, 0.1 + 0.05 * kills))
        assert status in (0, -signal.SIGKILL)
        kills += status != 0
        assert kills < 200
    assert kills >= 2
    assert contents(out, ("images.safetensors", "preview.png")) == contents(
        reference, ("images.safetensors", "preview.png")
    )
    assert log(out) == log(reference)
    ours, theirs = (described(folder) for folder in (out, reference))
    assert ours == theirs
    assert not [name for name in names(out) if ".tmp-" in name or "checkpoints" in name]


def described(folder: Path) -> dict[str, Any]:
    """The description of a set without what the source tree's state decides."""
    description: dict[str, Any] = json.loads((folder / "distilled.json").read_text())
    for name in ("identity", "sha256_description"):
        description.pop(name)
    return description


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_command_ends_with_status_1_and_a_sentence(
    number: signal.Signals,
    tmp_path: Path,
    children: tuple[Killable, Path],
    uninterrupted: Callable[[Recipe], Path],
) -> None:
    server, errors = children
    reference, out = uninterrupted(tiny_idc()), tmp_path / "run"
    before = errors.stat().st_size
    assert server.run(command(out), number, once_there=out / "log.jsonl") == 1
    said = errors.read_text()[before:]
    assert "Traceback" not in said
    errors_said = [line for line in said.splitlines() if line.startswith("limbeck: ")]
    assert len(errors_said) == 1
    assert errors_said[0].startswith(f"limbeck: stopped by {number.name} at step ")
    assert server.run(command(out)) == 0
    assert contents(out, ("images.safetensors",)) == contents(reference, ("images.safetensors",))
    assert log(out) == log(reference)


# Numbers that are none.


@dataclass(frozen=True, kw_only=True)
class Spoilt(GradientMatching):
    """Gradient matching that breaks at some of its calls, counted over all runs of a test."""

    calls: ClassVar[list[int]] = []
    broken: ClassVar[set[int]] = set()
    spoils: ClassVar[str] = "loss"

    def gradients(self, view: View, block: Block, peers: Peers) -> tuple[Tensor, Tensor]:
        losses, gradients = super().gradients(view, block, peers)
        self.calls.append(len(self.calls) + 1)
        if self.calls[-1] in self.broken:
            if self.spoils == "weights":
                next(iter(view.weights.values())).data.fill_(float("nan"))
            else:
                (losses if self.spoils == "loss" else gradients)[3] = float("nan")
        return losses, gradients


@pytest.fixture
def spoilt(monkeypatch: pytest.MonkeyPatch) -> Callable[[set[int], str], Recipe]:
    def make(broken: set[int], spoils: str) -> Recipe:
        monkeypatch.setattr(Spoilt, "calls", [])
        monkeypatch.setattr(Spoilt, "broken", broken)
        monkeypatch.setattr(Spoilt, "spoils", spoils)
        return tiny_idc().with_(objective=Spoilt())

    return make


@pytest.fixture
def saved(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Ordinals of all checkpoints of a test, none of which may hold a number that is none."""
    ordinals: list[int] = []
    original = checkpoint.Checkpoints.save

    def check(node: Any) -> None:
        if isinstance(node, Tensor):
            assert torch.isfinite(node).all()
        elif isinstance(node, dict):
            for child in node.values():
                check(child)

    def save(self: checkpoint.Checkpoints, ordinal: int, tree: dict[str, Any]) -> None:
        check(tree)
        ordinals.append(ordinal)
        original(self, ordinal, tree)

    monkeypatch.setattr(checkpoint.Checkpoints, "save", save)
    return ordinals


@pytest.mark.parametrize("spoils", ["loss", "gradients", "weights"])
@pytest.mark.parametrize("lines", [500, 1])
@pytest.mark.parametrize("settings", [EVERY_STEP, QUIET], ids=["every step", "first only"])
def test_a_passing_nan_is_rolled_back_once(
    spoils: str,
    lines: int,
    settings: Settings,
    tmp_path: Path,
    digits: Data,
    spoilt: Callable[[set[int], str], Recipe],
    saved: list[int],
    monkeypatch: pytest.MonkeyPatch,
    uninterrupted: Callable[[Recipe], Path],
) -> None:
    monkeypatch.setattr("limbeck.engine.run._LOG_LINES", lines)
    result = distill(spoilt({5}, spoils), digits, ipc=1, out=tmp_path / "run", settings=settings)
    assert torch.equal(result.stored, load(uninterrupted(tiny_idc())).stored)
    # From the checkpoint before step 5, or from the first one; a broken network shows only one step later.
    late = 1 if spoils == "weights" and lines == 500 else 0
    done = 6 if lines == 1 else 5 + late
    assert len(Spoilt.calls) == done + (2 if settings is EVERY_STEP else 6)
    if lines == 500:
        assert log(tmp_path / "run") == log(uninterrupted(tiny_idc()))
    assert names(tmp_path / "run") == sorted([*RESULT, "log.jsonl"])
    assert saved[0] == 0


@pytest.mark.parametrize("spoils", ["loss", "gradients"])
def test_a_lasting_nan_ends_the_run(
    spoils: str,
    tmp_path: Path,
    digits: Data,
    spoilt: Callable[[set[int], str], Recipe],
    saved: list[int],
) -> None:
    recipe = spoilt(set(range(3, 100)), spoils)
    with pytest.raises(RunError) as caught:
        distill(recipe, digits, ipc=1, out=tmp_path / "run", settings=EVERY_STEP)
    assert "by step 3, again, after going back to the last checkpoint; lower the step size" in str(caught.value)
    assert not isinstance(caught.value, InputError)
    assert saved == [0, 1, 2]
    assert len(Spoilt.calls) == 4
    assert not (tmp_path / "run" / "distilled.json").exists()
    # Repaired, the same folder goes on from the last sound step.
    Spoilt.broken.clear()
    result = distill(recipe, digits, ipc=1, out=tmp_path / "run", settings=EVERY_STEP)
    assert len(Spoilt.calls) == 8
    assert torch.isfinite(result.stored).all()


def test_a_nan_without_a_folder_ends_the_run(digits: Data, spoilt: Callable[[set[int], str], Recipe]) -> None:
    with pytest.raises(RunError, match=r"the loss is nan by step 2, and nothing to go back to; lower the step size"):
        distill(spoilt({2}, "loss"), digits, ipc=1, settings=QUIET)


def test_a_stopped_run_that_is_not_finite_says_where_it_resumes(
    tmp_path: Path,
    digits: Data,
    spoilt: Callable[[set[int], str], Recipe],
    saved: list[int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("limbeck.engine.run._LOG_LINES", 1)
    stop_at(4, lambda: signal.raise_signal(signal.SIGINT), monkeypatch)
    with pytest.raises(Interrupted, match="at step 4 of 6; the same command resumes at step 2"):
        distill(spoilt({3}, "gradients"), digits, ipc=1, out=tmp_path / "run", settings=EVERY_STEP)
    assert saved == [0, 1, 2]


# Progress.


def test_progress_names_the_run_and_where_it_resumed(
    tmp_path: Path, digits: Data, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = Settings(device="cpu", progress="plain")
    with pytest.MonkeyPatch.context() as patch, pytest.raises(Interrupted):
        stop_at(3, lambda: signal.raise_signal(signal.SIGINT), patch)
        distill(tiny_idc(), digits, ipc=1, out=tmp_path / "run", settings=plain)
    capsys.readouterr()
    result: Distilled = distill(tiny_idc(), digits, ipc=1, out=tmp_path / "run", settings=plain)
    captured = capsys.readouterr()
    lines = captured.err.splitlines()
    assert captured.out == ""
    assert lines[0] == "resumed at step 3"
    assert lines[-1].startswith("idc: 6/6, ")
    distill(tiny_idc(), digits, ipc=1, out=tmp_path / "run", settings=plain)
    assert capsys.readouterr().err == f"{tmp_path / 'run'} is finished already\n"
    assert result.ipc == 1


def test_a_cut_run_says_so_and_is_not_done_again(tmp_path: Path, digits: Data, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("limbeck.engine.run.Run._seconds", lambda run: float(run._limit is not None) * 9)
        zero = distill(tiny_idc(), digits, ipc=1, cut_after=5, out=tmp_path / "zero", settings=QUIET)
    record = json.loads((tmp_path / "zero" / "record.json").read_text())
    assert record["cut"] == {"after_seconds": 5, "step": 0, "of": 6, "iteration": 0}
    assert (record["steps"], record["final_loss"], zero.identity["step"]) == (0, None, 0)
    assert load(tmp_path / "zero").identity["step"] == 0
    taken, original = [0], Loop.step

    def step(self: Loop, state: LoopState) -> tuple[LoopState, Tensor]:
        taken[0] += 1
        return original(self, state)

    monkeypatch.setattr(Loop, "step", step)
    monkeypatch.setattr("limbeck.engine.run.Run._seconds", lambda run: float(taken[0]))
    arguments: dict[str, Any] = {"ipc": 1, "out": tmp_path / "cut", "settings": replace(QUIET, snapshots=3)}
    cut = distill(tiny_idc(), digits, cut_after=4, **arguments)
    record = json.loads((tmp_path / "cut" / "record.json").read_text())
    assert record["cut"] == {"after_seconds": 4, "step": 4, "of": 6, "iteration": 1} and record["steps"] == 4
    assert read_run_file(tmp_path / "cut", registry.parts()).cut_after == 4
    assert len(list((tmp_path / "cut" / "snapshots").iterdir())) == 3
    # The same call reads it back; another one is another run.
    assert torch.equal(distill(tiny_idc(), digits, cut_after=4, **arguments).stored, cut.stored) and taken == [4]
    with pytest.raises(InputError, match="holds another run"):
        distill(tiny_idc(), digits, **arguments)


def test_seconds_that_cannot_be(digits: Data, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="after more than 0 seconds"):
        distill(tiny_idc(), digits, ipc=1, cut_after=0, out=tmp_path / "a", settings=QUIET)
    with pytest.raises(InputError, match="takes no steps that could be cut"):
        distill(random_selection(), digits, ipc=1, cut_after=3, out=tmp_path / "a", settings=QUIET)
    assert not (tmp_path / "a").exists()
