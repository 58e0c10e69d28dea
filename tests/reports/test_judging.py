from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from limbeck.core.errors import InputError
from limbeck.data import Data, LoadOptions, load
from limbeck.engine.distill import distill
from limbeck.engine.settings import Settings
from limbeck.evaluation.diversity import DiversityProtocol, Reference, refer
from limbeck.evaluation.evaluate import evaluate
from limbeck.evaluation.protocols import Protocol
from limbeck.formats import native
from limbeck.methods.dasm import dasm
from limbeck.reports import judging
from limbeck.reports.judging import judge, judge_diversity, judge_prefixes, judge_snapshots
from limbeck.reports.runs import read_run
from tests.engine.tiny import NETWORK, tiny_idc

PROTOCOL = Protocol(name="tiny", networks=(NETWORK, "mlp:width=8"), repeats=2, budget="updates", length=3)
QUIET = Settings(device="cpu", progress="quiet", snapshots=2)


@pytest.fixture(scope="module")
def finished(digits: Data, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("finished") / "run"
    distill(tiny_idc(), digits, ipc=1, seed=2, out=out, storage="uint8", settings=QUIET)
    return out


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "run"))


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One entry for every evaluation that is really done."""
    calls: list[int] = []

    def counted(*arguments: Any, **named: Any) -> Any:
        calls.append(named["seed"])
        return evaluate(*arguments, **named)

    monkeypatch.setattr(judging, "evaluate", counted)
    return calls


def test_a_curve_is_what_separate_evaluations_say(run: Path, digits: Data) -> None:
    advanced: list[tuple[int, int]] = []
    path = judge_snapshots(run, digits, PROTOCOL, seed=5, done=lambda *counts: advanced.append(counts))
    curve = json.loads(path.read_text())
    assert path.parent == run and path.name.startswith("curve-tiny-")
    assert [(point["step"], point["iteration"]) for point in curve["points"]] == [(0, 0), (3, 1), (6, 2)]
    folders = [run / "snapshots" / "step-000000000", run / "snapshots" / "step-000000003", run]
    for point, folder in zip(curve["points"], folders, strict=True):
        scores = evaluate(native.load(folder), digits.require_test(), PROTOCOL, seed=5, validation=digits.validation)
        assert [entry["network"] for entry in point["networks"]] == list(PROTOCOL.networks)
        read = [tuple(entry["accuracies"]) for entry in point["networks"]]
        assert read == [entry.accuracies for entry in scores.networks]
        assert (point["mean"], point["std"]) == (scores.mean, scores.std)
        assert (run / point["file"]).parent == folder
    record = json.loads((run / "record.json").read_text())
    seconds = [point["seconds"] for point in curve["points"]]
    assert seconds == sorted(seconds)
    assert seconds[-1] == record["seconds"]
    assert (curve["seed"], curve["test_images"], curve["bytes"]) == (5, 901, 640)
    assert advanced == [(number, 12) for number in range(1, 13)]
    advanced.clear()
    judge_snapshots(run, digits, PROTOCOL, seed=5, done=lambda *counts: advanced.append(counts))
    assert advanced == [(4, 12), (8, 12), (12, 12)]
    assert read_run(run).curves == (curve,)


def test_prefixes_are_judged_as_sets_of_their_own(digits: Data, tmp_path: Path, trained: list[int]) -> None:
    recipe = dasm("digits", base=tiny_idc()).with_(
        curriculum__sizes=(1, 1, 1), curriculum__scorers=1, curriculum__scorer_epochs=1
    )
    whole = distill(recipe, digits, ipc=3, out=tmp_path / "run", settings=replace(QUIET, snapshots=0))
    advanced: list[tuple[int, int]] = []
    path = judge_prefixes(tmp_path / "run", digits, PROTOCOL, seed=5, done=lambda *counts: advanced.append(counts))
    found = json.loads(path.read_text())
    assert path.parent == tmp_path / "run" and path.name.startswith("prefixes-tiny-")
    assert [(point["ipc"], point["training_images"], point["bytes"]) for point in found["points"]] == [
        (ipc, 10 * ipc, 10 * ipc * 64 * 4) for ipc in (1, 2, 3)
    ]
    assert advanced == [(number, 12) for number in range(1, 13)] and len(trained) == 3
    for point, ipc in zip(found["points"], (1, 2, 3), strict=True):
        scores = evaluate(whole.prefix(ipc), digits.require_test(), PROTOCOL, seed=5, validation=digits.validation)
        assert [tuple(entry["accuracies"]) for entry in point["networks"]] == [
            one.accuracies for one in scores.networks
        ]
        assert (tmp_path / "run" / point["file"]).is_file()
    # What is there is not judged again, and the whole set was judged as any set is.
    before = path.read_bytes()
    assert judge_prefixes(tmp_path / "run", digits, PROTOCOL, seed=5) == path and path.read_bytes() == before
    assert len(trained) == 3
    judge(tmp_path / "run", whole, digits, PROTOCOL, seed=5)
    assert len(trained) == 3
    assert read_run(tmp_path / "run").prefixes == (found,)


def test_only_segments_have_prefixes(run: Path, digits: Data) -> None:
    with pytest.raises(InputError, match="were learnt together, so that no prefix of them is a set"):
        judge_prefixes(run, digits, PROTOCOL)


def test_it_continues_where_it_stopped(run: Path, digits: Data, trained: list[int]) -> None:
    def stop(done: int, total: int) -> None:
        if done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        judge_snapshots(run, digits, PROTOCOL, done=stop)
    assert len(trained) == 2
    assert not list(run.glob("curve-*"))
    first = judge_snapshots(run, digits, PROTOCOL)
    assert len(trained) == 4
    before = first.read_bytes()
    assert judge_snapshots(run, digits, PROTOCOL) == first
    assert len(trained) == 4
    assert first.read_bytes() == before


def test_the_result_is_not_judged_twice(run: Path, digits: Data, trained: list[int]) -> None:
    path = judge(run, native.load(run), digits, PROTOCOL, seed=1)
    curve = json.loads(judge_snapshots(run, digits, PROTOCOL, seed=1).read_text())
    assert len(trained) == 3
    assert curve["points"][-1]["file"] == path.name
    assert curve["points"][-1]["mean"] == json.loads(path.read_text())["mean"]


def test_other_settings_have_files_of_their_own(run: Path, digits: Data, trained: list[int]) -> None:
    other_data = load("digits", LoadOptions(validation=0.3))
    assert other_data.spec.digest != digits.spec.digest
    files = {
        judge_snapshots(run, digits, PROTOCOL),
        judge_snapshots(run, digits, PROTOCOL, seed=1),
        judge_snapshots(run, digits, replace(PROTOCOL, length=2)),
        judge_snapshots(run, other_data, PROTOCOL),
    }
    assert len(files) == 4
    assert len(trained) == 12
    assert len(list(run.rglob("evaluation-*.json"))) == 12
    named = [json.loads(path.read_text()).get("data") for path in files]
    assert sorted(map(str, named)) == ["None", "None", "None", "digits"]


def test_what_is_missing_is_named(run: Path, digits: Data) -> None:
    record = run / "record.json"
    record.rename(run / "away.json")
    with pytest.raises(InputError, match=r"record\.json is missing"):
        judge_snapshots(run, digits, PROTOCOL)
    (run / "away.json").rename(record)
    (run / "snapshots" / "step-000000003" / "images.safetensors").write_bytes(b"")
    with pytest.raises(InputError, match=r"step-000000003.images\.safetensors was edited or truncated"):
        judge_snapshots(run, digits, PROTOCOL)
    shutil.rmtree(run / "snapshots")
    with pytest.raises(InputError, match=r"has no snapshots; distil with --snapshots") as caught:
        judge_snapshots(run, digits, PROTOCOL)
    assert "\n" not in str(caught.value)


def test_diversity_is_measured_once(run: Path, digits: Data) -> None:
    protocol = DiversityProtocol(network="convnet1:width=4", epochs=1, projection="none")
    asked: list[int] = []

    def reference() -> Reference:
        asked.append(1)
        return refer(digits.train, protocol)

    first = judge_diversity(run, native.load(run), digits, protocol, reference)
    before = first.read_bytes()
    assert judge_diversity(run, native.load(run), digits, protocol, reference) == first
    assert (len(asked), first.read_bytes()) == (1, before)
    assert read_run(run).diversities == (json.loads(before),)
    with pytest.raises(AssertionError, match="made otherwise"):
        judge_diversity(run, native.load(run), digits, replace(protocol, epochs=2), reference)
    protocol = replace(protocol, epochs=2)
    assert judge_diversity(run, native.load(run), digits, protocol, reference) != first
