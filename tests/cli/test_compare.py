from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import TINY, Command
from tests.engine.tiny import NETWORK

QUICK = [*TINY, "--networks", NETWORK, "--length", "2", "--ipc", "1", "--seeds", "1", "--no-baselines"]


def test_methods_and_baselines_in_one_table(limbeck: Command, tmp_path: Path) -> None:
    done = limbeck("compare", "random", "idc", *QUICK, "--out", "c", "--full", "--json")
    assert done.status == 0
    assert done.err == ""
    table = done.json
    assert Path(table.pop("report")) == Path("c/report.html")
    assert json.loads(Path("c/comparison.json").read_text()) == table
    assert [row["method"] for row in table["rows"]] == ["random", "idc", "full"]
    assert table["rows"][0]["bytes"] == table["rows"][1]["bytes"] == 640
    assert table["protocol"]["name"] == "limbeck"
    assert len(table["rows"][1]["accuracies"]) == 3
    assert "<html" in Path("c/report.html").read_text()
    assert sorted(path.name for path in Path("c").iterdir()) == [
        *("comparison.json", "full", "idc-ipc1-seed0", "random-ipc1-seed0", "report-files", "report.html"),
    ]
    again = limbeck("compare", "random", "idc", *QUICK, "--out", "c", "--full")
    assert again.status == 0
    assert "random" in again.out
    assert again.err.splitlines()[-1] == f"report: {Path('c/report.html')}"
    assert json.loads(Path("c/comparison.json").read_text()) == table


def test_a_set_with_two_kinds_of_labels_is_shown_once(limbeck: Command) -> None:
    soft = ["--protocol", "limbeck_soft", "--labels", "hard", "soft"]
    teacher = ["--taught-by", "convnet1:width=4,norm=batch", "--taught-epochs", "1"]
    done = limbeck("compare", "idc", *QUICK, *soft, *teacher, "--out", "c", "--json")
    assert done.status == 0
    assert [row["label_kind"] for row in done.json["rows"]] == ["hard", "teacher"]
    assert "Every network (2 evaluations)" in Path("c/report.html").read_text()


def test_changes_apply_to_methods_and_not_to_baselines(limbeck: Command) -> None:
    done = limbeck("compare", "random", "idc", *QUICK, "--optimizer.lr", "0.5", "--json")
    assert done.status == 0
    written = Path("runs/compare-digits/idc-ipc1-seed0/run.yaml").read_text()
    assert "lr: 0.5" in written
    assert "optimizer: null" in Path("runs/compare-digits/random-ipc1-seed0/run.yaml").read_text()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "name at least one method"),
        (["random", "random"], "named twice"),
        (["random", "herdin"], "unknown method 'herdin'; did you mean 'herding'"),
        (["random", "--ipc", "1", "1"], "different numbers"),
        (["random", "--ipc", "0"], "at least 1"),
        (["random", "--ipc"], "one or several"),
        (["random", "--ipc", "1", "--budget", "64KiB"], "give one of them"),
        (["random", "--budget", "64 K"], "no number of bytes"),
        (["random", "--budget", "639"], "more than the budget of 639 B; raise --budget"),
        (["idc", "--cut-after", "0"], "more than 0 seconds"),
        (["random", "--ipc", "1", "1000"], "lower ipc"),
        (["random", "--seeds", "0"], "--seeds must be at least 1"),
        (["random", "--repeats", "2"], "at least 3 networks"),
        (["random", "--length", "0"], "a length of 1"),
        (["random", "--with", "sampler=random"], "change no baseline"),
        (["random", "--sampler.batch-size", "3"], "change no baseline"),
        (["idc", "--with", "sampler=none"], "needs real batches"),
        (["idc", "--parametrization.space", "normalized"], "normalized space"),
        (["idc", "--preset", "digit"], "unknown preset"),
        (["random", "--data", "nowhere/at/all"], "there is no folder"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_input_is_one_sentence_and_starts_nothing(
    words: list[str], message: str, limbeck: Command, tmp_path: Path
) -> None:
    done = limbeck("compare", *words, "--no-baselines", "--progress", "quiet")
    assert done.status == 2
    assert message in done.sentence
    assert list(tmp_path.iterdir()) == []


def test_each_ipc_has_its_own_settings(limbeck: Command) -> None:
    refused = limbeck("compare", "dc", "--ipc", "1", "--data", "digits", "--preset", "cifar10", "--no-baselines")
    assert refused.status == 2 and "--parametrization.space unit" in refused.sentence
    tiny = ["--pool.network", NETWORK, "--curriculum.iterations", "1", "--networks", NETWORK, "--length", "2"]
    wanted = [
        "--ipc",
        "1",
        "2",
        "--seeds",
        "1",
        "--preset",
        "cifar10",
        "--parametrization.space",
        "unit",
        "--no-baselines",
    ]
    done = limbeck("compare", "dc", *tiny, *wanted, "--progress", "quiet", "--json")
    assert done.status == 0
    for ipc in (1, 2):
        assert f"steps: {ipc}\n" in Path(f"runs/compare-digits/dc-ipc{ipc}-seed0/run.yaml").read_text()


def test_a_preset_that_a_baseline_does_not_have_is_for_the_methods(limbeck: Command) -> None:
    assert limbeck("compare", "random", "idc", *QUICK, "--out", "c", "--json").status == 0
    done = limbeck("compare", "random", "--preset", "digits", "--seeds", "0")
    assert "--seeds" in done.sentence


def test_a_protocol_that_depends_on_the_set_is_not_mixed(limbeck: Command, tmp_path: Path) -> None:
    words = [
        "compare",
        "random",
        "--ipc",
        "1",
        "2",
        "--protocol",
        "idc_imagenet",
        "--no-baselines",
        "--progress",
        "quiet",
    ]
    done = limbeck(*words)
    assert done.status == 2
    assert "3000 epochs on 1 decoded images per class and for 2000 on 2; set one --length" in done.sentence
    assert list(tmp_path.iterdir()) == []
    # With one length the sets are judged alike; these are grey, which the protocol's augmentation is not made for.
    assert "made for three channels" in limbeck(*words, "--length", "2").sentence
    assert "did you mean 'convnet3'" in limbeck("compare", "random", "--networks", "convnet_3").sentence
    assert list(tmp_path.iterdir()) == []


def test_diversity_in_the_page(limbeck: Command) -> None:
    words = ["--metrics", "accuracy", "diversity", "--teacher", "convnet1:width=4", "--teacher-epochs", "1"]
    done = limbeck("compare", "random", "idc", *QUICK, *words, "--scatter", "none", "--out", "c")
    assert done.status == 0
    page = Path("c/report.html").read_text(encoding="utf-8")
    assert "Diversity" in page and "convnet1:width=4 in evaluation mode" in page
    assert len(list(Path("c").glob("*/diversity-*.json"))) == 2
    done = limbeck("compare", "idc", *QUICK, "--metrics", "diversity")
    assert "always measures accuracy" in done.sentence


def test_a_step_size_for_sets_that_have_learnt_none(limbeck: Command) -> None:
    refused = limbeck("compare", "random", "idc", *QUICK, "--protocol", "mtt", "--out", "c")
    assert refused.status == 2 and "'random' learns none; name one for sets without (--lr)" in refused.sentence
    assert not list(Path("c").glob("*"))
    done = limbeck(
        "compare", "random", "idc", *QUICK, "--protocol", "ast_official", "--lr", "0.02", "--out", "c", "--json"
    )
    assert all(len(row["selected_on_test"]) == len(row["accuracies"]) == 3 for row in done.json["rows"])
    assert "selected on test data" in Path("c/report.html").read_text()
    (file,) = Path("c/random-ipc1-seed0").glob("evaluation-ast_official-*.json")
    assert json.loads(file.read_text())["networks"][0]["lr"] == 0.02


def test_baselines_stand_in_every_table_and_differences_below(limbeck: Command) -> None:
    quick = [word for word in QUICK if word != "--no-baselines"]
    done = limbeck("compare", "idc", "herding", *quick, "--out", "c", "--json")
    assert [row["method"] for row in done.json["rows"]] == ["random", "kcenter", "forgetting", "idc", "herding"]
    assert {(entry["method"], entry["n"]) for entry in done.json["differences"] if entry["other"] == "random"} == {
        *(("kcenter", 1), ("forgetting", 1), ("idc", 1), ("herding", 1)),
    }
    assert "one seed, so no confidence interval" in Path("c/report.html").read_text()
    again = limbeck("compare", "idc", "herding", *quick, "--out", "c")
    assert "differences in percentage points" in again.out


def test_a_budget_in_bytes(limbeck: Command) -> None:
    words = [*TINY, "--networks", NETWORK, "--length", "2", "--seeds", "1", "--no-baselines"]
    done = limbeck("compare", "random", "idc", *words, "--budget", "2KiB", "--out", "c", "--json")
    assert [(row["ipc"], row["bytes"], row["budget"]) for row in done.json["rows"]] == [(3, 1920, 2048)] * 2
    assert "2.00 KiB: the largest IPC that fits" in Path("c/report.html").read_text()


def test_methods_with_own_labels_have_baselines_that_carry_some(limbeck: Command) -> None:
    swaps = ["--with", "labeler=by_pool", "--with", "pool=pretrained", "--pool.network", NETWORK, "--pool.epochs", "1"]
    words = [*swaps, "--networks", NETWORK, "--length", "2", "--ipc", "1", "--seeds", "1", "--progress", "quiet"]
    done = limbeck("compare", "dm", *words, "--out", "c", "--json")
    kinds = {row["method"]: row["label_kind"] for row in done.json["rows"]}
    assert kinds["dm"] == "own"
    names = ("random", "herding", "kcenter", "forgetting")
    assert {kinds[name] for name in names} == {"hard"} and {kinds[f"{name}-labelled"] for name in names} == {"own"}
    beaten = {entry["other"] for entry in done.json["differences"] if entry["method"] == "dm"}
    assert "random-labelled" in beaten and not beaten & set(names)


def test_distilling_is_cut(limbeck: Command) -> None:
    done = limbeck("compare", "idc", *QUICK, "--cut-after", "1e-9", "--out", "c", "--json")
    (row,) = done.json["rows"]
    assert row["cut"] == [[0, 6]] and done.json["cut_after"] == 1e-9
    assert "cut at 0 % of the steps" in Path("c/report.html").read_text()


def test_distilled_on_one_network_and_trained_on_another(limbeck: Command) -> None:
    other = "convnet1:width=4"
    words = [*QUICK[: QUICK.index("--networks")], "--length", "2", "--ipc", "1", "--seeds", "1", "--no-baselines"]
    words += ["--networks", NETWORK, "mlp", "--distill-networks", NETWORK, other, "--out", "c"]
    done = limbeck("compare", "random", "idc", *words, "--json")
    found = [(row["method"], row["distilled_on"]) for row in done.json["rows"]]
    assert found == [("random", ""), ("idc@convnet2-width=4", NETWORK), ("idc@convnet1-width=4", other)]
    assert f"network: {other}" in Path("c/idc@convnet1-width=4-ipc1-seed0/run.yaml").read_text()
    lines = Path("c/matrix.csv").read_text().splitlines()
    assert lines[0].startswith("method,ipc,label_kind,distilled_on,trained_on,mean")
    assert len(lines) == 1 + 3 * 2 and lines[6].startswith(f"idc,1,hard,{other},mlp,")
    page = Path("c/report.html").read_text()
    assert 'id="matrix"' in page and "Step sizes: convnet2:width=4 0.01, mlp 0.01" in page
    refused = limbeck("compare", "dwa", "--distill-networks", NETWORK, "--no-baselines")
    assert "does not name the network that looks" in refused.sentence
    assert "each named once" in limbeck("compare", "idc", "--distill-networks", "mlp", "mlp").sentence


def test_sampling_in_the_page(limbeck: Command) -> None:
    words = ["compare", "random", "idc", *QUICK, "--out", "c"]
    assert limbeck(*words, "--watch", "2", "--snapshots", "2").status == 0
    page = Path("c/report.html").read_text(encoding="utf-8")
    assert 'id="sampling"' in page and "Feature migration" in page
    # A coreset samples nothing and moves nowhere.
    assert [path.parent.name for path in Path("c").glob("*/watch.jsonl")] == ["idc-ipc1-seed0"]
    assert [path.parent.name for path in Path("c").glob("*/migration-*.json")] == ["idc-ipc1-seed0"]
