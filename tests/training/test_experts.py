from __future__ import annotations

import pickle
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from limbeck.core.context import Context
from limbeck.core.errors import InputError
from limbeck.core.executor import Executor
from limbeck.execution.processes import Processes
from limbeck.storage.trajectories import MANIFEST, read_manifest, read_snapshot, trajectory_path
from limbeck.storage.weights import digest
from limbeck.training import expert_groups, halfway
from limbeck.training import experts as module
from limbeck.training.expert_groups import expert_seconds
from limbeck.training.experts import build_experts, expert_bytes, rebuild_expert, train_experts
from tests.training.few_experts import COURSE, NETWORK, WANTED, files, near


@pytest.mark.parametrize("half", [False, True])
def test_a_folder_holds_files_and_a_manifest(context_of: Callable[..., Context], tmp_path: Path, half: bool) -> None:
    context, wanted = context_of(dtype=torch.float32), replace(WANTED, half=half)
    entries = build_experts(context, wanted, tmp_path / "set")
    assert sorted(files(tmp_path / "set")) == ["0000.safetensors", "0001.safetensors", "0002.safetensors", MANIFEST]
    manifest = read_manifest(tmp_path / "set")
    assert manifest is not None and manifest["experts"] == entries
    assert {name: manifest[name] for name in ("network", "seed", "dtype", "epochs")} == {
        "network": NETWORK,
        "seed": 0,
        "dtype": "float16" if half else "float32",
        "epochs": [0, 1, 2, 4],
    }
    assert manifest["settings"]["training"]["lr"] == 0.02 and manifest["data"]["digest"] == context.spec.digest
    trained = train_experts(context, wanted)
    for expert, entry in zip(trained, entries, strict=True):
        path = trajectory_path(tmp_path / "set", entry["number"])
        assert {name: entry[name] for name in expert.facts} == expert.facts
        assert entry["digest"] == digest(path) and entry["bytes"] == path.stat().st_size
        size = expert_bytes(context.network(NETWORK), 4, half)
        assert size < entry["bytes"] < size + 6000
        for epoch, weights in expert.snapshots.items():
            found = read_snapshot(path, epoch, context.network(NETWORK))
            for name, tensor in weights.items():
                assert tensor.dtype == (torch.float16 if half else torch.float32)
                assert torch.equal(found[name], tensor.float())
    full = train_experts(context, replace(wanted, half=False))[0].snapshots[4]
    near({name: tensor.float() for name, tensor in trained[0].snapshots[4].items()}, full, 5e-4 if half else 0.0)


class Elsewhere(Executor):
    """Sends function and task through pickle, last task first."""

    def map(self, function: Callable[[Any], Any], tasks: Sequence[Any]) -> Iterator[Any]:
        found = [pickle.loads(pickle.dumps(function))(pickle.loads(pickle.dumps(task))) for task in reversed(tasks)]
        return iter(found[::-1])


@pytest.mark.parametrize("executor", [Elsewhere(), Processes(2)], ids=["elsewhere", "processes"])
def test_other_processes_make_the_same_bytes(
    context_of: Callable[..., Context], tmp_path: Path, executor: Executor
) -> None:
    build_experts(context_of(dtype=torch.float32), WANTED, tmp_path / "one")
    build_experts(context_of(dtype=torch.float32, executor=executor), WANTED, tmp_path / "other")
    assert files(tmp_path / "one") == files(tmp_path / "other")


class _Cut(Exception):
    pass


def cut_at(words: str, said: list[str]) -> Callable[[str], None]:
    def say(message: str) -> None:
        said.append(message)
        if words in message:
            raise _Cut

    return say


@pytest.mark.parametrize("together", [1, 2])
def test_a_stopped_training_goes_on_to_the_same_bytes(
    context_of: Callable[..., Context], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, together: int
) -> None:
    wanted = replace(WANTED, course=replace(COURSE, together=together, drops=(3,)))
    build_experts(context_of(dtype=torch.float32), wanted, tmp_path / "whole")
    monkeypatch.setattr(expert_groups, "SILENCE", 0.0)
    monkeypatch.setattr(halfway, "KEEPING", 0.0)
    first = "expert 1 of 3" if together == 1 else "experts 1 to 2 of 3"
    folder, said = tmp_path / "cut", []
    for words in (f"{first}: 2 of 4", f"{first}: 4 of 4", "of 3 experts done", ": 3 of 4 epochs"):
        with pytest.raises(_Cut):
            build_experts(context_of(dtype=torch.float32, say=cut_at(words, said)), wanted, folder)
    assert any("from epoch 1 of 4 on" in line for line in said)
    again: list[str] = []
    build_experts(context_of(dtype=torch.float32, say=again.append), wanted, folder)
    assert files(folder) == files(tmp_path / "whole")
    assert not any(line.startswith(f"training {first}") for line in again)
    build_experts(context_of(dtype=torch.float32, say=lambda message: pytest.fail(message)), wanted, folder)


@pytest.mark.parametrize("damage", ["gone", "cut", "manifest", "manifest gone"])
def test_what_is_damaged_is_made_again(context_of: Callable[..., Context], tmp_path: Path, damage: str) -> None:
    folder, context = tmp_path / "set", context_of(dtype=torch.float32)
    build_experts(context, WANTED, folder)
    before, path = files(folder), trajectory_path(folder, 1)
    if damage == "gone":
        path.unlink()
    elif damage == "cut":
        path.write_bytes(path.read_bytes()[:-7])
    elif damage == "manifest":
        (folder / MANIFEST).write_text("{")
    else:
        (folder / MANIFEST).unlink()
    said: list[str] = []
    build_experts(replace(context, say=said.append), WANTED, folder)
    assert files(folder) == before
    assert [line for line in said if line.startswith("training expert ")] == (
        ["training expert 2 of 3"] if damage in ("gone", "cut") else []
    )


def test_an_expert_of_another_content_is_trained_again(context_of: Callable[..., Context], tmp_path: Path) -> None:
    folder, context = tmp_path / "set", context_of(dtype=torch.float32)
    build_experts(context, WANTED, folder)
    before = files(folder)
    shutil.copy(trajectory_path(folder, 0), trajectory_path(folder, 1))
    rebuild_expert(context, WANTED, folder, 1)
    assert files(folder) == before


def test_a_folder_grows(context_of: Callable[..., Context], tmp_path: Path) -> None:
    context = context_of(dtype=torch.float32)
    build_experts(context, replace(WANTED, count=1), tmp_path / "set")
    assert len(build_experts(context, replace(WANTED, count=2), tmp_path / "set")) == 2
    assert len(build_experts(context, replace(WANTED, count=1), tmp_path / "set")) == 1
    assert len(read_manifest(tmp_path / "set")["experts"]) == 2  # type: ignore[index]
    build_experts(context, WANTED, tmp_path / "other")
    build_experts(context, WANTED, tmp_path / "set")
    assert files(tmp_path / "set") == files(tmp_path / "other")


def test_what_it_takes_is_said_before_and_on_the_way(
    context_of: Callable[..., Context], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    context = context_of(dtype=torch.float32, say=said.append)
    build_experts(context, WANTED, tmp_path / "set")
    size = 3 * expert_bytes(context.network(NETWORK), 4, False)
    assert said[0].startswith("training 3 experts (convnet1:width=4, 4 epochs), about ")
    assert f"; {size / 1e6:.1f} MB in {tmp_path / 'set'} (" in said[0]
    done = [line for line in said if "experts done" in line]
    assert [line.split(" (")[0] for line in done] == [f"{number} of 3 experts done" for number in (1, 2, 3)]
    assert done[2].endswith(", about 0 s left")
    assert 0 < expert_seconds(context, WANTED) < 60
    monkeypatch.setattr(module, "free_bytes", lambda folder: 10)
    with pytest.raises(InputError, match=r"3 experts take 0.00 GB and 0.00 GB are free"):
        build_experts(context, WANTED, tmp_path / "full")
    assert not (tmp_path / "full").exists()
