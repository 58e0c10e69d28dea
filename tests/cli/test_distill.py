from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import pytest
import torch
import yaml

from benchmarks.memory.made_up import write_jpegs
from limbeck.engine.loop import Loop, LoopState
from limbeck.formats.native import load
from tests.cli.conftest import TINY, Command
from tests.engine.tiny import tiny_idc

IMAGES = "images.safetensors"


def test_a_run_has_the_recipe_of_its_flags(finished: Path) -> None:
    assert load(finished).recipe == tiny_idc()
    assert load(finished).ipc == 1


def test_json_is_alone_on_standard_output(limbeck: Command, finished: Path, tmp_path: Path) -> None:
    done = limbeck("distill", "idc", *TINY, "--ipc", "1", "--out", tmp_path / "run", "--json")
    assert done.status == 0
    assert done.json == {
        "out": str(tmp_path / "run"),
        "method": "idc",
        "data": "digits",
        "ipc": 1,
        "seed": 0,
        "storage": "float32",
        "bytes": 2560,
        "bytes_labels": 0,
        "preview": str(tmp_path / "run" / "preview.png"),
    }
    assert done.err == ""
    assert (tmp_path / "run" / IMAGES).read_bytes() == (finished / IMAGES).read_bytes()


def test_without_json_everything_goes_to_standard_error(limbeck: Command, tmp_path: Path) -> None:
    done = limbeck("distill", "random", "--ipc", "1", "--progress", "quiet", "--storage", "uint8")
    assert done.status == 0
    assert done.out == ""
    folder = Path("runs/random-digits-ipc1-seed0")
    assert done.err.splitlines() == [
        f"{folder}: 1 stored images for each of 10 classes, 640 bytes",
        f"look at {folder / 'preview.png'}; next: limbeck evaluate {folder}",
    ]
    assert (tmp_path / folder / "distilled.json").is_file()


def test_progress_as_json_lines_leaves_standard_output_alone(limbeck: Command) -> None:
    words = [word for word in TINY if word not in ("--progress", "quiet")]
    done = limbeck("distill", "idc", *words, "--progress", "jsonl", "--ipc", "1", "--json")
    assert done.json["ipc"] == 1
    assert '"done": 6' in done.err


def test_streamed_data_and_some_classes_from_flags_and_from_the_run_file(limbeck: Command, tmp_path: Path) -> None:
    write_jpegs(tmp_path / "pets" / "train", 4, 6, (20, 18))
    words = ["--data", "pets", "--image-size", "16", "--ipc", "2", "--progress", "quiet"]
    some = ["--classes", "n00000003", "n00000001"]
    runs = {"on": ["--stream", "on", "--workers", "2"], "off": ["--stream", "off"]}
    for name, flags in runs.items():
        assert limbeck("distill", "random", *words, *some, *flags, "--out", name).status == 0
    assert (tmp_path / "on" / IMAGES).read_bytes() == (tmp_path / "off" / IMAGES).read_bytes()
    options = yaml.safe_load((tmp_path / "on" / "run.yaml").read_text())["data"]["options"]
    assert (options["stream"], options["workers"], options["classes"]) == ("on", 2, ["n00000003", "n00000001"])
    assert load(tmp_path / "on").spec.class_names == ("n00000001", "n00000003")
    assert limbeck("distill", "on", "--out", "again", "--progress", "quiet").status == 0
    for name in (IMAGES, "run.yaml", "distilled.json"):
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "on" / name).read_bytes()
    done = limbeck("distill", "random", *words, "--classes", "imagenette", "--out", "none", "--json")
    assert done.status == 2 and "'pets' has no class 'n01440764' (tench) of the subset imagenette" in done.sentence


@pytest.mark.parametrize("given", ["run.yaml", ""])
def test_a_run_file_repeats_the_run(given: str, limbeck: Command, finished: Path, tmp_path: Path) -> None:
    done = limbeck("distill", finished / given, "--out", tmp_path / "b", "--progress", "quiet")
    assert done.status == 0
    for name in (IMAGES, "run.yaml", "distilled.json", "preview.png"):
        assert (tmp_path / "b" / name).read_bytes() == (finished / name).read_bytes()


def test_a_run_file_with_changes(limbeck: Command, finished: Path, tmp_path: Path) -> None:
    words = ["--out", tmp_path / "b", "--progress", "quiet", "--seed", "5", "--ipc", "2", "--optimizer.lr", "0.5"]
    done = limbeck("distill", finished, *words, "--storage", "uint8")
    assert done.status == 0
    made = load(tmp_path / "b")
    assert (made.seed, made.ipc, made.storage) == (5, 2, "uint8")
    assert made.recipe == tiny_idc().with_(optimizer__lr=0.5)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--preset", "digits"], "leave --preset and --base out"),
        (["--base", "idc"], "leave --preset and --base out"),
        (["--validation", "0.5"], "data are loaded as the run file says"),
        (["--dtype", "float64"], "leave --dtype out"),
    ],
)
def test_flags_without_effect_beside_a_run_file_are_refused(
    words: list[str], message: str, limbeck: Command, finished: Path, tmp_path: Path
) -> None:
    done = limbeck("distill", finished, "--out", tmp_path / "b", *words)
    assert done.status == 2
    assert message in done.sentence
    assert not (tmp_path / "b").exists()


def test_a_run_file_on_other_data_loads_them_as_asked(limbeck: Command, finished: Path, tmp_path: Path) -> None:
    words = ["--out", tmp_path / "b", "--data", "digits", "--validation", "0.5", "--progress", "quiet"]
    assert limbeck("distill", finished, *words).status == 0
    written = yaml.safe_load((tmp_path / "b" / "run.yaml").read_text())
    assert written["data"]["options"]["validation"] == 0.5


def test_data_that_have_changed_are_refused(limbeck: Command, finished: Path, tmp_path: Path) -> None:
    text = (finished / "run.yaml").read_text()
    digest = yaml.safe_load(text)["data"]["digest"]
    (tmp_path / "run.yaml").write_text(text.replace(digest, "ab" * 16))
    done = limbeck("distill", "run.yaml", "--out", "b")
    assert done.status == 2
    assert "its digest differs" in done.sentence


def test_data_handed_over_in_python_have_to_be_named(limbeck: Command, finished: Path, tmp_path: Path) -> None:
    text = (finished / "run.yaml").read_text()
    (tmp_path / "run.yaml").write_text(text.replace("source: digits", "source: null"))
    done = limbeck("distill", "run.yaml", "--out", "b")
    assert done.status == 2
    assert "name them with --data" in done.sentence


BROKEN = {
    "tabs": (lambda text: text.replace("  name", "\tname"), "is no YAML file"),
    "a wrong type": (lambda text: text.replace("ipc: 1", "ipc: one"), "run.yaml.ipc must be a whole number"),
    "an unknown field": (lambda text: text + "colour: red\n", "unknown field of run.yaml 'colour'"),
    "an unknown part": (
        lambda text: text.replace("part: sgd", "part: sdg"),
        "unknown part of run.yaml.recipe.optimizer",
    ),
    "a missing field": (lambda text: text.replace("\nseed: 0\n", "\n"), "run.yaml.seed is missing"),
    "a newer format": (lambda text: text.replace("format: 1", "format: 9"), "this version reads format 1"),
    "nothing": (lambda text: "", "is no run file"),
    "a negative IPC": (lambda text: text.replace("ipc: 1", "ipc: -1"), "at least 1"),
}


@pytest.mark.parametrize("how", BROKEN)
def test_a_broken_run_file_is_one_sentence(how: str, limbeck: Command, finished: Path, tmp_path: Path) -> None:
    change, message = BROKEN[how]
    (tmp_path / "run.yaml").write_text(change((finished / "run.yaml").read_text()))
    done = limbeck("distill", "run.yaml", "--out", "b")
    assert done.status == 2
    assert message in done.sentence
    assert not (tmp_path / "b").exists()


def test_a_missing_run_file_is_named(limbeck: Command) -> None:
    done = limbeck("distill", "runs/a/run.yaml")
    assert done.status == 2
    assert done.sentence == "there is no run file runs/a/run.yaml; give a run.yaml or the folder of a run."


HOSTILE = [
    (["idc", "--ipc", "0"], "at least 1, not 0"),
    (["idc", "--ipc", "-1"], "at least 1, not -1"),
    (["idc", "--ipc", "1000"], "lower ipc (--ipc) to 78"),
    (["idc", "--with", "sampler"], "--with takes slot=part, not 'sampler'"),
    (["idc", "--with"], "--with needs slot=part behind it"),
    (["idc", "--with", "sampler=none"], "needs real batches"),
    (["idc", "--with", "labeler=none"], "labeler"),
    (["idc", "--with", "parametrization=none", "--storage", "uint8"], "parametrization"),
    (["idc", "--sampler.batch-siz", "8"], "did you mean 'batch_size'?"),
    (["idc", "--pool.network", "convnetto"], "unknown network 'convnetto'"),
    (["idc", "--pool.network", "convnet9"], "convnet9"),
    (["idc", "--optimizer.lr", "nan"], "lr"),
    (["idc", "--curriculum.steps", "0"], "must be >= 1"),
    (["idc", "--data", "nowhere/at/all"], "there is no folder 'nowhere/at/all'"),
    (["idc", "--data", "digit"], "unknown data set 'digit'; did you mean 'digits'?"),
    (["idc", "--data", "digits", "--download"], "has no effect"),
    (["idc", "--validation", "1.5"], "validation must lie in [0, 1)"),
    (["idc", "--preset", "digit"], "unknown preset of idc 'digit'; did you mean 'digits'?"),
    (["dreem"], "unknown method 'dreem'; did you mean 'dream'?"),
    (["dream", "--base", "herding"], "is a baseline"),
    (["random", "--with", "pool=pretrained"], "would have no effect"),
    (["idc", "--parametrization.space", "normalized", "--storage", "uint8"], "uint8 storage"),
    (["idc", "--out", "file"], "file is a file; give a folder as --out."),
    (["idc", "--out", "file/below"], "file/below cannot be written (Not a directory)"),
    (["idc", "--out", "full"], "full is not empty and holds no run"),
]


@pytest.mark.parametrize(("words", "message"), HOSTILE, ids=[" ".join(words) for words, _ in HOSTILE])
def test_wrong_input_is_one_sentence_and_makes_nothing(
    words: list[str], message: str, limbeck: Command, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").write_text("mine")
    out = [] if "--out" in words else ["--out", "run"]
    done = limbeck("distill", *words, *out, "--json")
    assert done.status == 2
    assert message in done.sentence
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file", "full", "thesis.tex"]


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["--sampler.batch-size", "8", "idc"],
        ["idc", "--ipc", "ten"],
        ["idc", "--ipcs", "10"],
        ["idc", "--sampler.batch-size", "many"],
        ["idc", "--sampler.batch-size"],
        ["idc", "--device", "tpu"],
        ["idc", "--progress", "loud"],
        ["idc", "--class-block", "0"],
        ["idc", "--checkpoint-minutes", "-1"],
        ["idc", "kcenter"],
    ],
    ids=" ".join,
)
def test_wrong_flags_end_with_status_2_and_no_traceback(words: list[str], limbeck: Command, tmp_path: Path) -> None:
    done = limbeck("distill", *words)
    assert done.status == 2
    assert done.out == ""
    assert "Traceback" not in done.err
    assert done.err.strip()
    assert list(tmp_path.iterdir()) == []


def test_a_method_that_a_field_has_swallowed_is_asked_for(limbeck: Command) -> None:
    assert "METHOD" in limbeck("distill", "--sampler.batch-size", "8", "idc").err


def test_a_gpu_that_is_not_there(limbeck: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    done = limbeck("distill", "random", "--device", "cuda")
    assert done.status == 2
    assert done.sentence == "device 'cuda' was asked for, but PyTorch sees no GPU here; use --device cpu."


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="permissions do not bind this user")
def test_an_out_that_cannot_be_written(limbeck: Command, tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir(mode=0o500)
    done = limbeck("distill", "random", "--ipc", "1", "--out", "locked/run")
    assert done.status == 2
    assert "cannot be written (Permission denied)" in done.sentence


def test_another_run_in_the_folder(limbeck: Command, finished: Path, tmp_path: Path) -> None:
    shutil.copytree(finished, tmp_path / "run")
    before = {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()}
    done = limbeck("distill", "idc", *TINY, "--ipc", "1", "--seed", "1", "--out", "run")
    assert done.status == 2
    assert "run holds another run (its seed is 0, now 1 is asked for)" in done.sentence
    assert {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()} == before


def test_negative_seeds_are_seeds(limbeck: Command) -> None:
    done = limbeck("distill", "random", "--ipc", "1", "--seed", "-1", "--progress", "quiet", "--json")
    assert done.json["seed"] == -1


def test_ctrl_c_is_a_sentence_and_the_same_command_resumes(limbeck: Command, finished: Path, tmp_path: Path) -> None:
    words = ["distill", "idc", *TINY, "--ipc", "1", "--out", "run"]
    original, taken = Loop.step, 0

    def stopping(self: Loop, state: LoopState) -> tuple[LoopState, torch.Tensor]:
        nonlocal taken
        taken += 1
        if taken == 3:
            signal.raise_signal(signal.SIGINT)
        return original(self, state)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Loop, "step", stopping)
        done = limbeck(*words)
    assert done.status == 1
    assert done.sentence == "stopped by SIGINT at step 3 of 6; the same command resumes at step 3."
    assert limbeck(*words).status == 0
    assert (tmp_path / "run" / IMAGES).read_bytes() == (finished / IMAGES).read_bytes()
