from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from limbeck.formats.native import load
from limbeck.storage.directory import write_set
from tests.cli.conftest import TINY, Command
from tests.engine.tiny import NETWORK

QUICK = ["--networks", NETWORK, "--length", "2", "--progress", "quiet", "--device", "cpu"]


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "run"))


def test_scores_as_json_are_those_of_the_file(limbeck: Command, run: Path) -> None:
    done = limbeck("evaluate", run, *QUICK, "--json")
    assert done.status == 0
    assert done.err == ""
    scores = done.json
    file = Path(scores.pop("file"))
    assert file.parent == run
    assert json.loads(file.read_text()) == scores
    assert scores["protocol"]["name"] == "limbeck"
    assert scores["protocol"]["length"] == 2
    assert scores["protocol"]["budget"] == "updates"
    assert len(scores["networks"][0]["accuracies"]) == 3
    assert scores["networks"][0]["network"] == NETWORK
    assert (scores["training_images"], scores["bytes"], scores["seed"]) == (10, 2560, 0)
    assert (scores["test_evaluations"], scores["selection"], scores["best"]) == (1, "none", None)
    assert scores["distil_seconds"] == json.loads((run / "record.json").read_text())["seconds"]
    assert len(scores["networks"][0]["details"]) == 3
    again = limbeck("evaluate", run, *QUICK, "--json").json
    assert (again["networks"], again["file"]) == (scores["networks"], str(file))
    other = limbeck("evaluate", run, *QUICK, "--seed", "1", "--json").json
    assert other["file"] != str(file)


def test_a_table_for_people(limbeck: Command, run: Path) -> None:
    done = limbeck("evaluate", run, *QUICK)
    assert done.status == 0
    assert "limbeck" in done.out
    assert "convnet2" in done.out
    assert done.err.startswith("written to ")
    assert "Brier score" not in done.out
    assert "Brier score" in limbeck("evaluate", run, *QUICK, "--per-class").out


def test_networks_side_by_side(limbeck: Command, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    apart, beside = (
        limbeck("evaluate", run, *QUICK, "--together", n, "--json").json["networks"][0] for n in ("auto", "2")
    )
    assert (apart["execution"]["together"], beside["execution"]["together"]) == (1, 2)
    assert beside["seeds"] == apart["seeds"]
    assert beside["accuracies"] == pytest.approx(apart["accuracies"], abs=0.01)
    monkeypatch.setattr("limbeck.evaluation.evaluate.stackable", lambda network, shape: False)
    assert "cannot be computed side by side" in limbeck("evaluate", run, *QUICK, "--together", "2").err


def test_the_protocol_of_the_papers(limbeck: Command, run: Path) -> None:
    scores = limbeck("evaluate", run, *QUICK, "--protocol", "idc", "--repeats", "1", "--json").json
    assert (scores["protocol"]["name"], scores["protocol"]["budget"]) == ("idc", "epochs")
    assert "flip" not in scores["protocol"]["training"]["augmentation"]["operations"]


def test_step_sizes_to_choose_from(limbeck: Command, run: Path) -> None:
    scores = limbeck("evaluate", run, *QUICK, "--learning-rates", "0.001", "0.02", "--json").json
    assert scores["networks"][0]["lr"] in (0.001, 0.02)
    done = limbeck("evaluate", run, *QUICK, "--learning-rates", "0.1", "--data", "digits", "--validation", "0")
    assert done.status == 2
    assert "--validation above 0" in done.sentence


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--repeats", "2"], "at least 3 networks"),
        (["--length", "0"], "a length of 1"),
        (["--networks", "convnetto"], "unknown network"),
        (["--validation", "0.5"], "name them with --data"),
        (["--data", "nowhere/at/all"], "there is no folder"),
        (["--data", "digits", "--image-size", "4"], "do not fit"),
    ],
)
def test_wrong_input_is_one_sentence(words: list[str], message: str, limbeck: Command, run: Path) -> None:
    before = sorted(path.name for path in run.iterdir())
    done = limbeck("evaluate", run, *QUICK[4:], *words)
    assert done.status == 2
    assert message in done.sentence
    assert sorted(path.name for path in run.iterdir()) == before


def test_an_edited_set_is_refused(limbeck: Command, run: Path) -> None:
    text = (run / "distilled.json").read_text()
    (run / "distilled.json").write_text(text.replace('"seed": 0', '"seed": 1'))
    done = limbeck("evaluate", run, *QUICK)
    assert done.status == 2
    assert "was edited or truncated" in done.sentence


def test_what_is_no_finished_run_is_refused(limbeck: Command, run: Path, tmp_path: Path) -> None:
    done = limbeck("evaluate", tmp_path / "nothing")
    assert done.status == 2
    assert "is no folder" in done.sentence
    (run / "distilled.json").unlink()
    done = limbeck("evaluate", run)
    assert done.status == 2
    assert "holds no finished distilled set" in done.sentence


def test_without_a_run_file_the_data_have_to_be_named(limbeck: Command, run: Path) -> None:
    (run / "run.yaml").unlink()
    done = limbeck("evaluate", run, *QUICK)
    assert done.status == 2
    assert "name them with --data" in done.sentence
    assert limbeck("evaluate", run, *QUICK, "--data", "digits", "--json").json["test_images"] > 0


def test_data_that_have_changed_are_refused(limbeck: Command, run: Path) -> None:
    text = (run / "run.yaml").read_text()
    (run / "run.yaml").write_text(text.replace("validation: 0.1", "validation: 0.4"))
    done = limbeck("evaluate", run, *QUICK)
    assert done.status == 2
    assert "its digest differs" in done.sentence


def test_data_handed_over_in_python_have_to_be_named(limbeck: Command, run: Path) -> None:
    text = (run / "run.yaml").read_text()
    (run / "run.yaml").write_text(text.replace("source: digits", "source: null"))
    done = limbeck("evaluate", run, *QUICK)
    assert done.status == 2
    assert "name test data with --data" in done.sentence


def test_a_gpu_that_is_not_there(limbeck: Command, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    done = limbeck("evaluate", run, "--device", "cuda")
    assert done.status == 2
    assert "sees no GPU" in done.sentence


def test_a_curve_over_the_snapshots(limbeck: Command, tmp_path: Path) -> None:
    assert limbeck("distill", "idc", *TINY, "--ipc", "1", "--snapshots", "2", "--out", "run").status == 0
    done = limbeck("evaluate", "run", *QUICK, "--curve", "--json")
    assert (done.status, done.err) == (0, "")
    curve = done.json
    file = Path(curve.pop("file"))
    assert json.loads(file.read_text()) == curve
    assert [(point["step"], point["iteration"]) for point in curve["points"]] == [(0, 0), (3, 1), (6, 2)]
    assert len(curve["points"][0]["networks"][0]["accuracies"]) == 3
    done = limbeck("evaluate", "run", *QUICK, "--curve")
    assert "inner step" in done.out
    assert done.err.startswith(f"written to {file}")
    scores = limbeck("evaluate", "run", *QUICK, "--json").json
    assert scores["mean"] == curve["points"][-1]["mean"]
    assert limbeck("report", "run").status == 0
    assert "Growth of accuracy" in Path("report.html").read_text(encoding="utf-8")


def test_accuracy_over_ipc_from_one_run(limbeck: Command, tmp_path: Path) -> None:
    words = ["--base", "idc", "--curriculum.sizes", "1", "1", "--curriculum.scorers", "1"]
    words += ["--curriculum.scorer-epochs", "1"]
    assert limbeck("distill", "dasm", *TINY, *words, "--ipc", "2", "--out", "run").status == 0
    done = limbeck("evaluate", "run", *QUICK, "--prefix", "--json")
    assert done.status == 0
    found = done.json
    assert json.loads(Path(found.pop("file")).read_text()) == found
    assert [point["ipc"] for point in found["points"]] == [1, 2]
    done = limbeck("evaluate", "run", *QUICK, "--prefix")
    assert "IPC" in done.out and "draw it with: limbeck report run" in done.err
    assert limbeck("report", "run", "--out", "report.html").status == 0
    assert '<section id="prefixes">' in Path("report.html").read_text()


def test_prefixes_need_segments(limbeck: Command, run: Path) -> None:
    assert "were learnt together" in limbeck("evaluate", run, *QUICK, "--prefix").sentence
    assert "in commands of their own" in limbeck("evaluate", run, *QUICK, "--prefix", "--curve").sentence


def test_a_curve_needs_snapshots(limbeck: Command, run: Path) -> None:
    done = limbeck("evaluate", run, *QUICK, "--curve")
    assert done.status == 2
    assert "has no snapshots; distil with --snapshots" in done.sentence


DIVERSE = ["--metrics", "diversity", "--teacher", "convnet1:width=4", "--teacher-epochs", "1", "--scatter", "pca"]
QUIET = ["--progress", "quiet", "--device", "cpu"]


def test_diversity_alone_and_beside_accuracy(limbeck: Command, run: Path) -> None:
    done = limbeck("evaluate", run, *DIVERSE, *QUIET, "--json")
    assert (done.status, done.err) == (0, "")
    found = done.json
    assert list(found) == ["diversity"]
    file = Path(found["diversity"].pop("file"))
    written = json.loads(file.read_text())
    assert [entry["label"] for entry in written.pop("scatter")] == [0, 1, 2]
    assert written == found["diversity"]
    assert (len(written["classes"]), written["images"]) == (10, [1] * 10)
    assert not list(run.glob("evaluation-*.json"))
    before = file.read_bytes()
    words = [*DIVERSE[2:], *QUICK, "--metrics", "accuracy", "diversity"]
    both = limbeck("evaluate", run, *words, "--json").json
    assert both["protocol"]["name"] == "limbeck"
    assert both["diversity"]["file"] == str(file) and file.read_bytes() == before
    done = limbeck("evaluate", run, *DIVERSE, *QUIET)
    assert "per pair" in done.out and f"written to {file}" in done.err
    assert limbeck("report", run).status == 0
    page = Path("report.html").read_text(encoding="utf-8")
    assert "Diversity" in page and "principal components" in page


def test_sets_beside_each_other_are_related(limbeck: Command, run: Path, tmp_path: Path) -> None:
    assert limbeck("distill", "random", "--ipc", "1", "--out", "picked", *QUIET).status == 0
    assert limbeck("distill", "random", "--ipc", "2", "--out", "twice", *QUIET).status == 0
    assert limbeck("distill", "random", "--ipc", "2", "--seed", "1", "--out", "other", *QUIET).status == 0
    shares = limbeck("evaluate", "twice", *DIVERSE, *QUIET, "--beside", "other", "--json").json["diversity"]["relative"]
    assert set(shares) == {"twice", "other"}
    assert 0 < min(shares.values()) < max(shares.values()) <= 1
    assert "relative" in limbeck("evaluate", "twice", *DIVERSE, *QUIET, "--beside", "other").out
    done = limbeck("evaluate", "twice", *DIVERSE, *QUIET, "--beside", "picked")
    assert done.status == 2 and "depends on the size of a set" in done.sentence


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--metrics", "diversity", "diversity"], "each once"),
        (["--metrics", "diversity", "--curve"], "--curve judges accuracy"),
        (["--metrics", "diversity", "--teacher", "convnetto"], "unknown network"),
        (["--metrics", "diversity", "--teacher-epochs", "-1"], "epochs >= 0"),
        (["--beside", "."], "holds no finished distilled set"),
    ],
)
def test_wrong_wishes_for_diversity(words: list[str], message: str, limbeck: Command, run: Path) -> None:
    done = limbeck("evaluate", run, *QUIET, *words)
    assert done.status == 2
    assert message in done.sentence
    done = limbeck("evaluate", run, *QUIET, "--beside", run)
    assert "add --metrics diversity" in done.sentence


def test_the_learnt_step_size_is_for_protocols_that_take_it(limbeck: Command, run: Path) -> None:
    refused = limbeck("evaluate", run, *QUICK, "--protocol", "mtt")
    assert refused.status == 2 and "name one (--lr)" in refused.sentence
    scores = limbeck("evaluate", run, *QUICK, "--protocol", "mtt", "--lr", "0.02", "--repeats", "1", "--json").json
    assert (scores["networks"][0]["lr"], scores["protocol"]["lr_of_set"]) == (0.02, "preferred")
    refused = limbeck("evaluate", run, *QUICK, "--lr", "0.02")
    assert refused.status == 2 and "has a step size of its own" in refused.sentence
    write_set(run, replace(load(run), learnt={"student_lr": torch.tensor(0.0123, dtype=torch.float64)}))
    scores = limbeck("evaluate", run, *QUICK, "--protocol", "ast_official", "--json").json
    assert scores["networks"][0]["lr"] == 0.0123
    assert scores["selected_on_test"] == scores["networks"][0]["selected_on_test"][0]
    done = limbeck("evaluate", run, *QUICK)
    assert "learnt a step size, 0.0123, which protocol 'limbeck' does not use" in done.err
    done = limbeck("evaluate", run, *QUICK, "--protocol", "ast_official")
    assert "selected on" in done.out and "learnt a step size" not in done.err


def test_migration_alone_asks_for_no_data(limbeck: Command, run: Path) -> None:
    refused = limbeck("evaluate", run, *QUIET, "--metrics", "migration")
    assert refused.status == 2 and "has no snapshots" in refused.sentence
    assert limbeck("distill", "idc", *TINY, "--ipc", "1", "--snapshots", "2", "--out", "kept").status == 0
    (Path("kept") / "run.yaml").unlink()
    found = limbeck("evaluate", "kept", *QUIET, "--metrics", "migration", "--seed", "3", "--json").json["migration"]
    assert found["steps"] == [0, 3, 6] and len(found["distances"]) == 2
    assert found["file"] == "kept/migration-seed3.json" and Path(found["file"]).is_file()
    done = limbeck("evaluate", "kept", *QUIET, "--metrics", "migration")
    assert done.status == 0 and "random convnet3" in done.out and "limbeck report kept" in done.err
