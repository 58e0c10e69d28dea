from __future__ import annotations

import json
from pathlib import Path

import pytest

from limbeck.cli.main import main
from limbeck.storage.labels import open_store
from tests.cli.conftest import Command

TEACHER = ["--taught-by", "convnet2:width=4,norm=batch", "--taught-epochs", "2"]
HOW = ["--protocol", "limbeck_soft", "--length", "4", "--progress", "quiet", "--device", "cpu"]
STUDENT = ["--networks", "convnet1:width=4", "--repeats", "3"]


@pytest.fixture(scope="module")
def picked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random digits of the command line; must not be changed."""
    out = tmp_path_factory.mktemp("picked") / "run"
    words = ["distill", "random", "--ipc", "2", "--out", str(out), "--progress", "quiet", "--device", "cpu"]
    assert main([*words, "--storage", "uint8"]) == 0
    return out


def test_labels_are_stored_and_trained_on(limbeck: Command, picked: Path) -> None:
    done = limbeck("relabel", picked, "--out", "labels", *HOW, *TEACHER, "--compress", "int8", "topk:3", "--json")
    assert done.status == 0
    store = open_store("labels")
    assert done.json["bytes_labels"] == store.bytes == sum(path.stat().st_size for path in Path("labels").iterdir())
    assert done.json["bytes"] == 1280 and done.json["epochs"] == store.planned == 4
    assert done.json["compression"] == {"numbers": "int8", "top": 3}
    again = limbeck("relabel", picked, "--out", "labels", *HOW, *TEACHER, "--compress", "int8", "topk:3")
    assert again.status == 0 and "4 epochs of 20 images" in again.err and "(int8, top 3) beside 1.25 KiB" in again.err
    scores = limbeck("evaluate", picked, *HOW, *STUDENT, "--stored-labels", "labels", "--json").json
    assert (scores["label_kind"], scores["bytes_labels"]) == ("stored", store.bytes)
    assert scores["labels"]["digest"] == store.digest
    named = limbeck("evaluate", picked, *HOW, *STUDENT, "--stored-labels", "labels", *TEACHER, "--json")
    assert named.json["networks"] == scores["networks"]
    other = limbeck(
        "evaluate",
        picked,
        *HOW,
        *STUDENT,
        "--stored-labels",
        "labels",
        "--taught-by",
        "mlp:width=4",
        "--taught-epochs",
        "1",
    )
    assert other.status == 2 and "another teacher's" in other.sentence


def test_a_teacher_on_the_fly_and_hard_labels(limbeck: Command, picked: Path) -> None:
    taught = limbeck("evaluate", picked, *HOW, *STUDENT, *TEACHER, "--json").json
    hard = limbeck("evaluate", picked, *HOW, *STUDENT, "--labels", "hard", "--json").json
    assert (taught["label_kind"], hard["label_kind"], hard["bytes_labels"]) == ("teacher", "hard", 0)
    assert taught["bytes_labels"] == taught["labels"]["teacher"]["bytes"] > 0
    assert taught["protocol"]["soft"]["temperature"] == 4.0 and hard["protocol"]["soft"] is None
    assert taught["file"] != hard["file"]
    by_batch = limbeck("evaluate", picked, *HOW, *STUDENT, *TEACHER, "--taught-mode", "train", "--json").json
    assert by_batch["protocol"]["teacher_mode"] == "train" and by_batch["labels"] == taught["labels"]
    shown = limbeck("evaluate", picked, *HOW, *STUDENT, *TEACHER)
    assert "images 1.25 KiB, labels teacher," in " ".join(shown.out.split())


def test_teachers_are_networks_checkpoints_and_runs(limbeck: Command, picked: Path) -> None:
    words = ["teacher", TEACHER[1], "--epochs", "2", "--progress", "quiet", "--device", "cpu"]
    assert limbeck(*words, "--out", "known.safetensors").status == 0
    trained = limbeck("evaluate", picked, *HOW, *STUDENT, *TEACHER, "--json").json
    brought = limbeck("evaluate", picked, *HOW, *STUDENT, "--taught-by", "known.safetensors", "--json").json
    assert trained["labels"] == brought["labels"] and trained["networks"] == brought["networks"]
    done = limbeck("evaluate", picked, *HOW, *STUDENT, "--taught-by", picked)
    assert done.status == 2 and "recipe 'random' brings no teacher" in done.sentence
    content = Path("known.safetensors").read_bytes()
    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + size])
    del header["__metadata__"]
    stripped = json.dumps(header).encode()
    Path("bare.safetensors").write_bytes(len(stripped).to_bytes(8, "little") + stripped + content[8 + size :])
    done = limbeck("evaluate", picked, *HOW, *STUDENT, "--taught-by", "bare.safetensors")
    assert done.status == 2 and "name it with --taught-network" in done.sentence
    named = ["--taught-by", "bare.safetensors", "--taught-network", TEACHER[1]]
    assert limbeck("evaluate", picked, *HOW, *STUDENT, *named, "--json").json["labels"] == trained["labels"]


def test_compare_with_both_kinds_of_labels(limbeck: Command) -> None:
    words = ["compare", "random", "herding", "--no-baselines", "--ipc", "1", "--seeds", "1", *HOW, *STUDENT]
    words += ["--out", "c"]
    assert "name one with --taught-by" in limbeck(*words, "--labels", "soft").sentence
    assert not Path("c").exists()
    table = limbeck(*words, *TEACHER, "--labels", "hard", "soft", "--json").json
    order = [(row["method"], row["label_kind"]) for row in table["rows"]]
    assert order == [(name, kind) for name in ("random", "herding") for kind in ("hard", "teacher")]
    assert {row["bytes_labels"] for row in table["rows"]} == {0, table["teacher"]["bytes"]}
    page = Path("c/report.html").read_text(encoding="utf-8")
    for text in ("All soft labels were given by one teacher: convnet2:width=4,norm=batch", "random (soft labels)"):
        assert text in page
    done = limbeck(*words, *TEACHER, "--labels", "hard")
    assert done.status == 2 and "none are asked for" in done.sentence


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--protocol", "limbeck"], "take one with soft labels"),
        (["--compress", "fp12"], "unknown compression 'fp12'"),
        (["--epochs-kept", "99"], "4 epochs for this set, of which 1 to 4"),
        ([], "brings no teacher"),
        (["--taught-epochs", "3"], "name it with --taught-by"),
        (["--taught-by", "convnet_3"], "did you mean 'convnet3'"),
        (["--taught-by", "convnet3", "--taught-network", "mlp"], "--taught-network is for checkpoints"),
        (["--taught-by", "."], "is no folder of a run"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_input_is_one_sentence(words: list[str], message: str, limbeck: Command, picked: Path) -> None:
    done = limbeck("relabel", picked, "--out", "labels", *HOW, *words)
    assert done.status == 2 and message in done.sentence
    assert not Path("labels").exists()


def test_evaluate_refuses_teachers_without_effect(limbeck: Command, picked: Path) -> None:
    hard = ["--labels", "hard"]
    for words in ([*TEACHER, *hard], ["--stored-labels", "labels", *hard], [*TEACHER, "--protocol", "limbeck"]):
        done = limbeck("evaluate", picked, *HOW, *words)
        assert done.status == 2 and "asks no teacher" in done.sentence
    done = limbeck("evaluate", picked, *HOW, "--labels", "soft", "--protocol", "limbeck")
    assert "labels of the set alone" in done.sentence
    done = limbeck("evaluate", picked, *HOW, "--stored-labels", "labels")
    assert "holds no soft labels" in done.sentence
    done = limbeck("evaluate", picked, *HOW, "--curve", "--stored-labels", "labels")
    assert "not to its snapshots" in done.sentence
