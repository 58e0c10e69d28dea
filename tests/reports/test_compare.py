from __future__ import annotations

import json
import signal
import statistics
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from limbeck.core.errors import InputError
from limbeck.core.recipe import Recipe
from limbeck.data import Data
from limbeck.engine.loop import Loop, LoopState
from limbeck.engine.settings import Settings
from limbeck.evaluation.diversity import DiversityProtocol, Reference, refer
from limbeck.evaluation.protocols import Protocol
from limbeck.formats.native import load
from limbeck.labelers.by_pool import ByPool
from limbeck.methods.dwa import dwa
from limbeck.methods.random import random
from limbeck.pools.fresh import Fresh
from limbeck.pools.pretrained import Pretrained
from limbeck.reports import compare as comparing
from limbeck.reports.compare import compare
from limbeck.reports.comparison import COMPARISON, Comparison, told_apart
from limbeck.reports.runs import read_run
from limbeck.reports.tables import SELECTED, comparison_table, spread
from limbeck.training.settings import Training
from limbeck.training.teacher import Teacher
from tests.engine.tiny import NETWORK, tiny_idc
from tests.evaluation.taught import TEACHER, by_teacher
from tests.evaluation.taught import protocol as soft_protocol

QUIET = Settings(device="cpu", progress="quiet")
PROTOCOL = Protocol(name="tiny", networks=(NETWORK,), repeats=2, budget="updates", length=3)
RECIPES = {"random": random(), "learnt": tiny_idc().with_(name="learnt")}


def run(data: Data, out: Path, **changes: Any) -> Comparison:
    arguments = {"ipcs": (1, 2), "seeds": (0, 1), "protocol": PROTOCOL, "full": True, "settings": QUIET}
    return compare(RECIPES, data, out=out, **{**arguments, **changes})


@pytest.fixture(scope="module")
def done(digits: Data, tmp_path_factory: pytest.TempPathFactory) -> tuple[Comparison, Path]:
    out = tmp_path_factory.mktemp("comparison")
    return run(digits, out), out


def test_rows_come_by_ipc_and_then_as_asked(done: tuple[Comparison, Path]) -> None:
    comparison, _ = done
    order = [(row.ipc, row.method) for row in comparison.rows]
    assert order == [(1, "random"), (1, "learnt"), (2, "random"), (2, "learnt"), (0, "full")]
    assert comparison.data == "digits"
    assert comparison.protocol == PROTOCOL


def test_sets_of_one_ipc_have_equal_bytes_also_on_the_disk(done: tuple[Comparison, Path]) -> None:
    comparison, out = done
    for row in comparison.rows[:-1]:
        assert row.bytes == 10 * row.ipc * 64
        for seed in row.seeds:
            stored = load(out / f"{row.method}-ipc{row.ipc}-seed{seed}")
            assert (stored.storage, stored.bytes, stored.seed) == ("uint8", row.bytes, seed)
            assert stored.stored.dtype == torch.uint8


def test_accuracies_are_those_of_every_network_of_every_seed(done: tuple[Comparison, Path]) -> None:
    comparison, out = done
    for row in comparison.rows[:-1]:
        read = []
        for seed in row.seeds:
            (file,) = (out / f"{row.method}-ipc{row.ipc}-seed{seed}").glob("evaluation-tiny-*.json")
            evaluation = json.loads(file.read_text())
            assert evaluation["seed"] == seed
            read += evaluation["networks"][0]["accuracies"]
        assert list(row.accuracies) == read
        assert len(read) == 4
        assert row.mean == pytest.approx(statistics.fmean(read))
        # Two networks of each seed: the deviation is that of the two seeds.
        assert row.std == pytest.approx(statistics.stdev([statistics.fmean(read[:2]), statistics.fmean(read[2:])]))
        assert row.training_images == 10 * row.ipc
        assert row.evaluation_seconds > 0


def test_the_row_of_all_real_images(done: tuple[Comparison, Path], digits: Data) -> None:
    comparison, out = done
    full = comparison.rows[-1]
    assert (full.method, full.ipc, full.seconds, full.seeds) == ("full", 0, 0.0, (0, 1))
    assert full.training_images == len(digits.train)
    assert full.bytes == len(digits.train) * 64
    assert len(full.accuracies) == 4
    assert len(list((out / "full").glob("evaluation-tiny-*.json"))) == 2


def test_the_file_holds_the_table(done: tuple[Comparison, Path]) -> None:
    comparison, out = done
    written = json.loads((out / COMPARISON).read_text())
    assert written == json.loads(json.dumps(comparison.as_plain()))
    assert set(written) == {"data", "protocol", "rows", "differences"}
    assert written["protocol"]["length"] == 3
    first = written["rows"][0]
    assert first["mean"] == pytest.approx(comparison.rows[0].mean)
    assert set(first) == {
        *("method", "ipc", "bytes", "training_images", "accuracies", "seconds", "evaluation_seconds", "seeds"),
        *("mean", "std", "bytes_labels", "label_kind", "selected_on_test", "coreset", "budget", "cut"),
        *("distilled_on", "trained_on"),
        *("last", "best", "test_evaluations", "selection"),
    }
    assert {(row["bytes_labels"], row["label_kind"]) for row in written["rows"]} == {(0, "hard")}


def test_repeating_does_no_work(done: tuple[Comparison, Path], digits: Data, monkeypatch: pytest.MonkeyPatch) -> None:
    comparison, out = done
    files = {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file() and path.name != COMPARISON}
    for name in ("Loop.step", "Loop.start"):
        monkeypatch.setattr(f"limbeck.engine.loop.{name}", None)
    monkeypatch.setattr("limbeck.evaluation.evaluate.train_and_judge", None)
    again = run(digits, out)
    assert again == comparison
    assert {path: path.stat().st_mtime_ns for path in files} == files
    assert {path for path in out.rglob("*") if path.is_file()} == {*files, out / COMPARISON}


def test_more_seeds_do_only_what_is_new(
    done: tuple[Comparison, Path], digits: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    comparison, _ = done
    one = run(digits, tmp_path, ipcs=(1,), seeds=(0,), full=False)
    assert one.rows[1].accuracies == comparison.rows[1].accuracies[:2]
    starts: list[int] = []
    start = Loop.start
    monkeypatch.setattr(
        Loop, "start", lambda self, pool: (starts.append(self.context.streams.seed), start(self, pool))[1]
    )
    both = run(digits, tmp_path, ipcs=(1,), full=False)
    assert starts == [1, 1]
    assert [row.accuracies for row in both.rows] == [row.accuracies for row in comparison.rows[:2]]
    assert one.rows[0].std == pytest.approx(statistics.stdev(one.rows[0].accuracies))


def test_another_protocol_does_not_overwrite_the_first(done: tuple[Comparison, Path], digits: Data) -> None:
    _, out = done
    run(digits, out, ipcs=(1,), seeds=(0,), full=False, protocol=replace(PROTOCOL, length=1))
    assert len(list((out / "random-ipc1-seed0").glob("evaluation-tiny-*.json"))) == 2
    run(digits, out)


def test_step_sizes_are_chosen_on_the_validation_part(digits: Data, tmp_path: Path) -> None:
    protocol = replace(PROTOCOL, learning_rates=(0.001, 0.01))
    run(digits, tmp_path, ipcs=(1,), seeds=(0,), protocol=protocol)
    (file,) = (tmp_path / "full").glob("*.json")
    assert json.loads(file.read_text())["networks"][0]["lr"] in (0.001, 0.01)


@pytest.mark.parametrize(
    ("recipes", "changes", "message"),
    [
        ({**RECIPES, "off": tiny_idc().with_(sampler=None)}, {}, "needs real batches"),
        ({**RECIPES, "wide": tiny_idc().with_(parametrization__space="normalized")}, {}, "space unit"),
        (RECIPES, {"ipcs": (1, 1000)}, "lower ipc"),
        (RECIPES, {"ipcs": (1, 1)}, "each named once"),
        (RECIPES, {"seeds": (0, 0)}, "each named once"),
        (RECIPES, {"seeds": ()}, "at least one"),
        (RECIPES, {"ipcs": ()}, "give one"),
        (RECIPES, {"budget": 640}, "give one"),
        (RECIPES, {"ipcs": (), "budget": 639}, r"with one image per class has 640 B, more than the budget of 639 B"),
        (RECIPES, {"ipcs": (), "budget": 10**9}, "holds more images per class than the smallest class"),
        ({}, {}, "at least one"),
    ],
)
def test_nothing_is_started_when_one_cannot_run(
    recipes: dict[str, Any], changes: dict[str, Any], message: str, digits: Data, tmp_path: Path
) -> None:
    arguments = {"ipcs": (1,), "seeds": (0,), "protocol": PROTOCOL, "settings": QUIET}
    with pytest.raises(InputError, match=message):
        compare(recipes, digits, out=tmp_path, **{**arguments, **changes})
    assert list(tmp_path.iterdir()) == []


def test_a_stopped_comparison_goes_on(done: tuple[Comparison, Path], digits: Data, tmp_path: Path) -> None:
    original, taken = Loop.step, 0

    def stopping(self: Loop, state: LoopState) -> tuple[LoopState, torch.Tensor]:
        nonlocal taken
        taken += 1
        if taken == 6:  # the last step of the first learnt set
            signal.raise_signal(signal.SIGINT)
        return original(self, state)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Loop, "step", stopping)
        run(digits, tmp_path, ipcs=(1,), full=False)
    assert taken == 6
    assert not (tmp_path / COMPARISON).exists()
    comparison = run(digits, tmp_path, ipcs=(1,), full=False)
    assert [row.accuracies for row in comparison.rows] == [row.accuracies for row in done[0].rows[:2]]


def test_progress_names_the_work(digits: Data, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = Settings(device="cpu", progress="plain")
    run(digits, tmp_path, ipcs=(1,), seeds=(3,), settings=settings)
    captured = capsys.readouterr()
    assert captured.out == ""
    lines = captured.err.splitlines()
    assert lines[:3] == ["random, IPC 1, seed 3", "learnt, IPC 1, seed 3", "all real images, seed 3"]
    assert lines[3].startswith("comparing: 3/3, ")


def test_snapshots_are_judged_too_but_not_those_of_a_coreset(digits: Data, tmp_path: Path) -> None:
    settings = replace(QUIET, snapshots=2)
    comparison = run(digits, tmp_path, ipcs=(1,), full=False, settings=settings)
    for seed in (0, 1):
        (file,) = (tmp_path / f"learnt-ipc1-seed{seed}").glob("curve-tiny-*.json")
        curve = json.loads(file.read_text())
        assert [point["step"] for point in curve["points"]] == [0, 3, 6]
        assert curve["seed"] == seed
        learnt = comparison.rows[1].accuracies[2 * seed : 2 * seed + 2]
        assert curve["points"][-1]["networks"][0]["accuracies"] == list(learnt)
        assert sorted(path.name[:5] for path in (tmp_path / f"random-ipc1-seed{seed}").glob("*curve*")) == []


def test_what_samples_is_watched_and_moving_images_are_measured(digits: Data, tmp_path: Path) -> None:
    run(digits, tmp_path, ipcs=(1,), seeds=(0,), full=False, settings=replace(QUIET, snapshots=2, watch=2))
    lines = (tmp_path / "learnt-ipc1-seed0" / "watch.jsonl").read_text().splitlines()
    looks = [json.loads(line)["step"] for line in lines]
    moved = json.loads((tmp_path / "learnt-ipc1-seed0" / "migration-seed0.json").read_text())
    assert looks == [3, 6] and moved["steps"] == [0, 3, 6] and len(moved["distances"]) == 2
    assert {path.parent.name for path in tmp_path.rglob("watch.jsonl")} == {"learnt-ipc1-seed0"}


def test_diversity_is_measured_by_one_teacher(digits: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained: list[int] = []

    def counted(*arguments: Any, **named: Any) -> Reference:
        trained.append(1)
        return refer(*arguments, **named)

    monkeypatch.setattr(comparing, "refer", counted)
    protocol = DiversityProtocol(network="convnet1:width=4", epochs=1, projection="none")
    run(digits, tmp_path, full=False, ipcs=(2,), diversity=protocol)
    run(digits, tmp_path, full=False, ipcs=(2,), diversity=protocol)
    assert trained == [1]
    found = [read_run(path.parent).diversities for path in sorted(tmp_path.glob("*/distilled.json"))]
    assert len(found) == 4 and all(len(each) == 1 and each[0]["seed"] == 0 for each in found)
    with pytest.raises(InputError, match="epochs >= 0"):
        run(digits, tmp_path / "other", diversity=replace(protocol, epochs=-1))
    assert not (tmp_path / "other").exists()


@dataclass(frozen=True, kw_only=True)
class FreshWithTeacher(Fresh):
    """Stands for a pool whose networks come from a teacher."""

    teacher: Teacher = TEACHER
    """Who labels."""


def bringing(name: str, teacher: Teacher = TEACHER) -> dict[str, Any]:
    pool = FreshWithTeacher(network=NETWORK, teacher=teacher)
    return {name: tiny_idc().with_(name=name, pool=pool)}


def soft(recipes: Any, data: Data, out: Path, **changes: Any) -> Comparison:
    arguments = {"ipcs": (1,), "seeds": (0, 1), "protocol": soft_protocol(), "settings": QUIET}
    return compare(recipes, data, out=out, **{**arguments, **changes})


def test_one_teacher_labels_all_rows_and_hard_labels_stand_beside_them(digits: Data, tmp_path: Path) -> None:
    recipes = {"random": random(), **bringing("taught"), **bringing("other", replace(TEACHER, epochs=7))}
    comparison = soft(recipes, digits, tmp_path, labels=("hard", "soft"), full=True)
    known = by_teacher().teacher
    order = [(row.method, row.label_kind, row.bytes_labels) for row in comparison.rows]
    assert order == [
        (name, kind, size)
        for name in ("random", "taught", "other", "full")
        for kind, size in (("hard", 0), ("teacher", known.bytes))
    ]
    assert (comparison.teacher, comparison.brought_by) == (known.as_plain(), "taught")
    assert comparison.protocol == soft_protocol()
    written = json.loads((tmp_path / COMPARISON).read_text())
    assert written["teacher"]["weights"] == known.digest and written["brought_by"] == "taught"
    for name in ("random-ipc1-seed1", "full"):
        found = [json.loads(path.read_text()) for path in (tmp_path / name).glob("evaluation-*.json")]
        assert {entry["label_kind"] for entry in found} == {"hard", "teacher"}
        assert {entry["protocol"]["soft"] is None for entry in found} == {True, False}
    shown = told_apart(comparison.rows)
    assert [row.method for row in shown][:2] == ["random (hard labels)", "random (soft labels)"]
    assert [row.method for row in shown][-2:] == ["full", "full"]
    assert told_apart(comparison.rows[::2]) == list(comparison.rows[::2])


def test_soft_comparisons_do_no_work_twice(digits: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipes = {"random": random()}
    first = soft(recipes, digits, tmp_path, teacher=by_teacher(), seeds=(0,))
    assert [row.label_kind for row in first.rows] == ["teacher"] and first.brought_by == ""
    monkeypatch.setattr("limbeck.evaluation.evaluate.train_and_judge", None)
    assert soft(recipes, digits, tmp_path, teacher=by_teacher(), seeds=(0,)) == first


def test_a_teacher_that_nobody_brings_or_needs_is_refused_before_any_work(digits: Data, tmp_path: Path) -> None:
    recipes = {"random": random()}
    with pytest.raises(InputError, match=r"no method here brings one; name one with --taught-by"):
        soft(recipes, digits, tmp_path)
    with pytest.raises(InputError, match="teaches by the labels of the set alone"):
        soft(recipes, digits, tmp_path, protocol=PROTOCOL, labels=("soft",))
    with pytest.raises(InputError, match="each once"):
        soft(recipes, digits, tmp_path, labels=("hard", "hard"))
    assert list(tmp_path.iterdir()) == []
    comparison = soft(recipes, digits, tmp_path, labels=("hard",), seeds=(0,))
    assert comparison.protocol == soft_protocol().hard() and comparison.teacher is None


def test_snapshots_are_judged_by_the_same_teacher(digits: Data, tmp_path: Path) -> None:
    settings = replace(QUIET, snapshots=1)
    named = {"labels": ("hard", "soft"), "teacher": by_teacher(), "settings": settings, "seeds": (0,)}
    soft({"learnt": RECIPES["learnt"]}, digits, tmp_path, **named)
    curves = [json.loads(path.read_text()) for path in (tmp_path / "learnt-ipc1-seed0").glob("curve-*.json")]
    assert sorted(curve["label_kind"] for curve in curves) == ["hard", "teacher"]
    assert {curve["bytes_labels"] for curve in curves} == {0, by_teacher().bytes}


def test_processes_serve_the_methods_that_have_groups(
    digits: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Images of normalized space that are clamped are kept in 8 bits like the others."""
    tiny = dwa("digits").with_(
        pool__teacher__network="convnet1:width=4,norm=batch", pool__teacher__weights="random", curriculum__steps=1
    )
    asked: dict[str, int] = {}
    original = comparing.distill

    def distill(recipe: Recipe, *arguments: Any, settings: Settings, **others: Any) -> Any:
        asked[recipe.name] = settings.processes
        return original(recipe, *arguments, settings=replace(settings, processes=1), **others)

    monkeypatch.setattr(comparing, "distill", distill)
    recipes = {"random": random(), "dwa": tiny, "learnt": tiny_idc(1, 1)}
    arguments: dict[str, Any] = {"ipcs": (1,), "seeds": (0,), "protocol": PROTOCOL}
    comparison = compare(recipes, digits, out=tmp_path / "a", settings=replace(QUIET, processes=3), **arguments)
    assert asked == {"random": 1, "dwa": 3, "idc": 1}
    assert {row.bytes for row in comparison.rows} == {640}
    assert load(tmp_path / "a" / "dwa-ipc1-seed0").storage == "uint8"
    with pytest.raises(InputError, match=r"none of these recipes has groups .*; leave --processes out"):
        compare(RECIPES, digits, out=tmp_path / "b", settings=replace(QUIET, processes=3), **arguments)
    with pytest.raises(InputError, match="which 8 bits per value cannot hold"):
        compare({"dwa": tiny.with_(optimizer__clamp=False)}, digits, out=tmp_path / "c", settings=QUIET, **arguments)
    assert not (tmp_path / "b").exists() and not (tmp_path / "c").exists()


def test_sets_without_a_learnt_step_size_are_refused_before_anything_runs(digits: Data, tmp_path: Path) -> None:
    needing = replace(PROTOCOL, name="needing", lr_of_set="required")
    with pytest.raises(InputError, match=r"protocol 'needing' trains with the step size .* 'random' learns none; name"):
        run(digits, tmp_path / "out", protocol=needing, full=False)
    with pytest.raises(InputError, match=r"all real images have none"):
        run(digits, tmp_path / "out", protocol=needing)
    assert not (tmp_path / "out").exists()


def test_soft_labels_of_a_set_are_named_and_counted(digits: Data, tmp_path: Path) -> None:
    labelled = random().with_(
        labeler=ByPool(), pool=Pretrained(network=NETWORK, training=Training(), epochs=1, count=2)
    )
    recipes = {"random": random(), "labelled": labelled}
    protocol = replace(PROTOCOL, checked_every=1)
    comparison = compare(recipes, digits, out=tmp_path, ipcs=(1,), seeds=(0,), protocol=protocol, settings=QUIET)
    assert [(row.label_kind, row.bytes_labels) for row in comparison.rows] == [("hard", 0), ("own", 10 * 10 * 4)]
    assert {row.bytes for row in comparison.rows} == {640}
    assert [row.method for row in told_apart(comparison.rows)] == ["random (hard labels)", "labelled (own soft labels)"]
    table = comparison_table(comparison)
    named = {str(column.header): list(map(str, column.cells)) for column in table.columns}
    assert named["labels"] == ["0 B", "own,\n400 B"]
    # One look after each of three epochs of one batch: the best is at least the last, and beside it.
    for row in comparison.rows:
        assert len(row.selected_on_test) == len(row.accuracies) == 2
        assert all(best >= last for best, last in zip(row.selected_on_test, row.accuracies, strict=True))
    assert named[SELECTED] == [spread(row.selected_on_test) for row in comparison.rows]


def labelled_random() -> Recipe:
    pool = Pretrained(network=NETWORK, training=Training(), epochs=1, count=1)
    return random().with_(labeler=ByPool(), pool=pool)


def test_a_budget_holds_images_and_labels(digits: Data, tmp_path: Path) -> None:
    """Own labels take 400 bytes for each image per class beside 640 of pixels, a teacher the same for any number."""
    recipes = {"random": random(), "labelled": labelled_random()}
    own = compare(recipes, digits, budget=2000, seeds=(0,), protocol=PROTOCOL, out=tmp_path / "own", settings=QUIET)
    assert [(row.ipc, row.bytes, row.bytes_labels) for row in own.rows] == [(3, 1920, 0), (1, 640, 400)]
    assert {row.budget for row in own.rows} == {2000}
    assert [row.coreset for row in own.rows] == ["random", "random"]
    assert "2.0 KiB: the largest IPC that fits" in str(comparison_table(own).title).replace("1.95", "2.0")
    teacher = by_teacher()
    arguments: dict[str, Any] = {"ipcs": (), "seeds": (0,), "teacher": teacher, "labels": ("hard", "soft")}
    both = soft({"random": random()}, digits, tmp_path / "both", budget=teacher.bytes + 2 * 640 + 5, **arguments)
    hard, taught = both.rows
    assert taught.ipc == 2 and taught.bytes + taught.bytes_labels <= teacher.bytes + 2 * 640 + 5
    assert hard.ipc == (teacher.bytes + 2 * 640 + 5) // 640 and hard.bytes_labels == 0
    with pytest.raises(InputError, match=r"with the weights of its teacher \(.*\), has .*; raise --budget, or take"):
        soft({"random": random()}, digits, tmp_path / "no", budget=teacher.bytes + 639, **arguments)


def test_the_bytes_of_a_teacher_are_known_before_it_is_trained(digits: Data, tmp_path: Path) -> None:
    size = by_teacher().bytes
    comparison = soft(bringing("taught"), digits, tmp_path, ipcs=(), budget=size + 640, seeds=(0,))
    assert [(row.ipc, row.bytes_labels) for row in comparison.rows] == [(1, size)]


def test_recipes_may_depend_on_the_ipc(digits: Data, tmp_path: Path) -> None:
    asked: list[int] = []

    def make(ipc: int) -> Recipe:
        asked.append(ipc)
        return random().with_(name=f"random {ipc}")

    run(digits, tmp_path, ipcs=(1, 2), seeds=(0,), full=False)
    comparison = compare(
        {"random": make}, digits, ipcs=(1, 2), seeds=(0,), protocol=PROTOCOL, out=tmp_path / "b", settings=QUIET
    )
    assert asked == [1, 2] and [row.coreset for row in comparison.rows] == ["random 1", "random 2"]


def test_runs_are_cut_and_not_done_again(digits: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that a step moves by a second: 4 of 6 steps, and the coreset as long as it takes."""
    taken, original = [0], Loop.step

    def step(self: Loop, state: LoopState) -> tuple[LoopState, torch.Tensor]:
        taken[0] += 1
        return original(self, state)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Loop, "step", step)
        patch.setattr("limbeck.engine.run.Run._seconds", lambda run: float(taken[0]))
        comparison = run(digits, tmp_path, ipcs=(1,), seeds=(0,), full=False, cut_after=3.5)
    assert [row.cut for row in comparison.rows] == [(), ((4, 6),)]
    assert comparison.rows[1].seconds == 4 and comparison.cut_after == 3.5
    record = json.loads((tmp_path / "learnt-ipc1-seed0" / "record.json").read_text())
    assert record["cut"]["iteration"] == 1
    assert json.loads((tmp_path / COMPARISON).read_text())["cut_after"] == 3.5
    monkeypatch.setattr(Loop, "step", None)
    assert run(digits, tmp_path, ipcs=(1,), seeds=(0,), full=False, cut_after=3.5) == comparison
    named = {str(column.header): list(map(str, column.cells)) for column in comparison_table(comparison).columns}
    assert named["steps taken"] == ["all", "67 %"]
    with pytest.raises(InputError, match="holds another run"):
        run(digits, tmp_path, ipcs=(1,), seeds=(0,), full=False)
