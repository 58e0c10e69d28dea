from __future__ import annotations

import itertools
import pickle
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from limbeck.augmentations.dsa_augment import DSAAugment
from limbeck.core.context import Context
from limbeck.core.errors import InputError, RunError
from limbeck.core.executor import Executor
from limbeck.core.network import Weights
from limbeck.core.streams import Streams
from limbeck.execution.processes import Processes
from limbeck.storage.trajectories import MANIFEST, read_manifest, read_snapshot, trajectory_path
from limbeck.storage.weights import digest
from limbeck.training import experts as module
from limbeck.training import halfway
from limbeck.training.expert_training import ExpertTraining
from limbeck.training.experts import (
    Expert,
    Wanted,
    build_experts,
    cached_folder,
    expert_bytes,
    expert_seconds,
    mean_change,
    rebuild_expert,
    require_fitting,
    squared_change,
    train_experts,
)
from limbeck.training.settings import Training
from limbeck.training.supervised import fit

NETWORK = "convnet1:width=4"
TRAINING = Training(lr=0.02, momentum=0.9, weight_decay=1e-3, batch_size=16, augmentation=DSAAugment())
COURSE = ExpertTraining(training=TRAINING, epochs=4)
WANTED = Wanted(network=NETWORK, course=COURSE, count=3, epochs=(0, 1, 2, 4), half=False, seed=0)


def near(ours: Weights, theirs: Weights, tolerance: float = 1e-12) -> None:
    assert list(ours) == list(theirs)
    for name in ours:
        torch.testing.assert_close(ours[name], theirs[name], rtol=0, atol=tolerance, msg=name)


def same(ours: Expert, theirs: Expert) -> bool:
    return ours.facts == theirs.facts and all(
        torch.equal(ours.snapshots[epoch][name], tensor)
        for epoch, weights in theirs.snapshots.items()
        for name, tensor in weights.items()
    )


def files(folder: Path) -> dict[str, str]:
    return {path.name: digest(path) for path in folder.iterdir()}


def test_an_expert_is_a_network_in_training_seen_after_every_epoch(context_of: Callable[..., Context]) -> None:
    context, expert = context_of(), train_experts(context_of(), replace(WANTED, epochs=(0, 1, 2, 3, 4)))[1]
    network, streams = context.network(NETWORK), Streams(0)
    weights = network.initial(streams("expert", 1))
    seen = [{name: tensor.clone() for name, tensor in weights.items()}]
    right: list[int] = []

    def watch(epoch: int, rows: Tensor, guesses: Tensor) -> None:
        if epoch == 3:
            right.append(int((guesses == context.data.labels[rows]).sum()))

    for _ in fit(
        network,
        weights,
        lambda rows: context.spec.normalization.apply(context.data.images(rows)),
        context.data.labels,
        TRAINING,
        Streams(streams("expert training", 1).seed),
        context.spec.shape,
        lambda epoch: 0.02,
        4 * 3,
        watch=watch,
    ):
        seen.append({name: tensor.clone() for name, tensor in weights.items()})
    for epoch in range(5):
        near(expert.snapshots[epoch], seen[epoch])
    changes = [
        sum(float((seen[epoch + 1][name] - seen[epoch][name]).square().sum()) for name in weights) for epoch in range(4)
    ]
    assert expert.facts["changes"] == pytest.approx(changes, rel=1e-9)
    assert expert.facts["avg_var"] == pytest.approx(sum(changes) / 4, rel=1e-9)
    assert expert.facts["accuracy"] == pytest.approx(sum(right) / 36)


def test_snapshots_are_copies_that_differ(context_of: Callable[..., Context]) -> None:
    for course in (COURSE, replace(COURSE, together=2)):
        snapshots = train_experts(context_of(), replace(WANTED, course=course, count=1))[0].snapshots
        assert list(snapshots) == [0, 1, 2, 4]
        for name in ("blocks.0.conv.weight", "classifier.weight"):
            kept = [weights[name] for weights in snapshots.values()]
            assert len({tensor.untyped_storage().data_ptr() for tensor in kept}) == 4
            assert all(not torch.equal(one, other) for one, other in itertools.pairwise(kept))


def test_one_seed_makes_one_trajectory(context_of: Callable[..., Context]) -> None:
    first = train_experts(context_of(seed=1), WANTED)
    again = train_experts(context_of(seed=2), replace(WANTED, count=2))
    assert all(same(one, other) for one, other in zip(first, again, strict=False))
    assert not same(first[0], first[1])
    assert not same(first[0], train_experts(context_of(), replace(WANTED, count=1, seed=1))[0])


def test_changes_do_not_depend_on_what_is_kept_and_running_statistics_do_not_count(
    context_of: Callable[..., Context],
) -> None:
    wanted = replace(WANTED, network="convnet1:width=4,norm=batch", count=1)
    many, few = (train_experts(context_of(), replace(wanted, epochs=kept))[0] for kept in ((0, 1, 2, 3, 4), (4,)))
    assert many.facts == few.facts and list(few.snapshots) == [4]
    parameters = [name for name in many.snapshots[0] if "running" not in name and "tracked" not in name]
    first, second = ({name: many.snapshots[epoch][name] for name in parameters} for epoch in (0, 1))
    assert squared_change(first, second) == pytest.approx(many.facts["changes"][0])
    assert mean_change([1.0, 2.0, 6.0]) == 3


@pytest.mark.parametrize(
    "fields",
    [{}, {"rho": 0.1}, {"penalty": "sample", "clip": (0.5, 0.7), "drops": (2,)}],
    ids=["sgd", "gsam", "smooth"],
)
def test_experts_trained_together_are_those_trained_apart(
    context_of: Callable[..., Context], fields: dict[str, Any]
) -> None:
    wanted = replace(WANTED, course=replace(COURSE, **fields))
    apart = train_experts(context_of(), wanted)
    together = train_experts(context_of(), replace(wanted, course=replace(wanted.course, together=2)))
    assert len(apart) == len(together) == 3
    for one, other in zip(apart, together, strict=True):
        assert one.facts["accuracy"] == other.facts["accuracy"]
        assert one.facts["changes"] == pytest.approx(other.facts["changes"], rel=1e-8)
        for epoch in WANTED.epochs:
            near(one.snapshots[epoch], other.snapshots[epoch], 1e-10)


def test_the_optimizer_forgets_where_the_step_size_drops(context_of: Callable[..., Context]) -> None:
    course = replace(COURSE, drops=(2,), drop_factor=0.5)
    ends = [
        train_experts(context_of(), replace(WANTED, course=one, count=1))[0]
        for one in (course, replace(course, forget=False), COURSE)
    ]
    assert torch.equal(ends[0].snapshots[2]["classifier.weight"], ends[2].snapshots[2]["classifier.weight"])
    last = [end.snapshots[4]["classifier.weight"] for end in ends]
    assert not torch.equal(last[0], last[1]) and not torch.equal(last[1], last[2])


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
    monkeypatch.setattr(module, "SILENCE", 0.0)
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


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"course": replace(COURSE, rho=0.5)}, r"settings.rho is 0.0 there and 0.5 here"),
        ({"course": replace(COURSE, training=replace(TRAINING, lr=0.1))}, "settings.training.lr is 0.02 there and 0.1"),
        (
            {"course": replace(COURSE, training=replace(TRAINING, augmentation=None))},
            "settings.training.augmentation is .*dsa_augment.* there and not said here",
        ),
        ({"network": "convnet1:width=8"}, "network is convnet1:width=4 there and convnet1:width=8 here"),
        ({"half": True}, "dtype is float32 there and float16 here"),
        ({"epochs": (0, 1, 2, 3, 4)}, "epochs 0-2, 4 are kept there and 0-4 are read here"),
        ({"count": 4}, "count is 3 there and 4 here"),
    ],
)
def test_experts_that_do_not_fit_are_refused(
    context_of: Callable[..., Context], tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    context = context_of(dtype=torch.float32)
    build_experts(context, WANTED, tmp_path)
    before = files(tmp_path)
    assert len(require_fitting(context, WANTED, tmp_path)) == 3
    assert require_fitting(
        context, replace(WANTED, seed=5, epochs=(0, 4), count=2), tmp_path
    )  # any seed, enough epochs
    with pytest.raises(InputError, match=message):
        require_fitting(context, replace(WANTED, **changes), tmp_path)
    if "count" not in changes:
        with pytest.raises(InputError, match=message):
            build_experts(context, replace(WANTED, **changes), tmp_path)
    assert files(tmp_path) == before


def test_experts_of_other_data_and_of_another_dtype_are_refused(
    context_of: Callable[..., Context], portion: Callable[..., Any], tmp_path: Path
) -> None:
    build_experts(context_of(dtype=torch.float32), WANTED, tmp_path)
    data = portion()
    for spec, message in (
        (replace(data.spec, digest="x"), "data.digest is .* there and x here"),
        (
            replace(data.spec, normalization=replace(data.spec.normalization, mean=(0.5,))),
            r"normalization.mean is .* there and \[0.5\] here",
        ),
    ):
        other = portion()
        other.spec = spec
        with pytest.raises(InputError, match=message):
            require_fitting(context_of(other, dtype=torch.float32), WANTED, tmp_path)
    with pytest.raises(InputError, match="dtype is float32 there and float64 here"):
        require_fitting(context_of(), WANTED, tmp_path)
    with pytest.raises(InputError, match="seed is 0 there and 1 here"):
        build_experts(context_of(dtype=torch.float32), replace(WANTED, seed=1), tmp_path)
    with pytest.raises(InputError, match=r"has no manifest.json that can be read"):
        require_fitting(context_of(), WANTED, tmp_path / "nowhere")
    path = trajectory_path(tmp_path, 2)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(InputError, match=r"expert 2 in .* is damaged"):
        require_fitting(context_of(dtype=torch.float32), WANTED, tmp_path)
    path.unlink()
    with pytest.raises(InputError, match=r"expert 2 in .* is missing"):
        require_fitting(context_of(dtype=torch.float32), WANTED, tmp_path)


def test_folders_of_the_cache(context_of: Callable[..., Context], tmp_path: Path) -> None:
    context = context_of(dtype=torch.float32, cache=tmp_path)
    folder = cached_folder(context, WANTED)
    assert folder is not None and folder.parent == tmp_path / "experts"
    assert cached_folder(context_of(), WANTED) is None
    others = [
        replace(WANTED, seed=1),
        replace(WANTED, half=True),
        replace(WANTED, epochs=(0, 4)),
        replace(WANTED, course=replace(COURSE, rho=0.1)),
        replace(WANTED, course=replace(COURSE, together=2)),
        replace(WANTED, network="convnet1:width=8"),
    ]
    assert len({folder, *(cached_folder(context, one) for one in others)}) == 7
    assert cached_folder(context, replace(WANTED, count=50)) == folder
    assert cached_folder(replace(context, streams=Streams(5)), WANTED) == folder
    # Experts of which all is kept serve as well, when there are enough.
    every = replace(WANTED, epochs=(0, 1, 2, 3, 4), count=2)
    whole = cached_folder(context, every)
    assert whole is not None and whole != folder
    build_experts(context, every, whole)
    assert cached_folder(context, replace(WANTED, count=2)) == whole
    assert cached_folder(context, WANTED) == folder


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


def test_an_expert_that_diverges_says_so(context_of: Callable[..., Context], tmp_path: Path) -> None:
    wild = replace(COURSE, training=replace(TRAINING, lr=1e30, augmentation=None))
    with pytest.raises(RunError, match=r"training of expert 0 \(convnet1:width=4\) diverged in epoch"):
        build_experts(context_of(), replace(WANTED, course=wild), tmp_path)
