from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from limbeck.cli import experts as module
from limbeck.core.recipe import Recipe
from limbeck.data import LoadOptions, load
from limbeck.engine.distill import make_context
from limbeck.engine.settings import Settings
from limbeck.methods.dm import dm
from limbeck.pools.experts import Experts
from limbeck.storage.weights import digest
from limbeck.training.expert_training import ExpertTraining
from limbeck.training.settings import Training
from tests.cli.conftest import Command

COURSE = ExpertTraining(training=Training(lr=0.05, momentum=0.9, batch_size=64), epochs=4)
POOL = Experts(network="convnet1:width=4", count=3, course=COURSE, span=1, starts=2)
WORDS = ("experts", "mtt", "--ipc", "1", "--device", "cpu")
QUIET = (*WORDS, "--progress", "quiet")


def recipe() -> Recipe:
    return dm("small").with_(pool=POOL)


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "choose_recipe", lambda *arguments: recipe())


def files(folder: Path) -> dict[str, str]:
    return {path.name: digest(path) for path in folder.iterdir()}


def test_experts_are_trained_judged_and_kept(limbeck: Command, tmp_path: Path) -> None:
    done = limbeck(*QUIET, "--count", "2", "--out", "set", "--json")
    assert done.status == 0
    found = done.json
    assert {name: found[name] for name in ("method", "data", "network", "folder", "epochs", "kept")} == {
        "method": "dm",
        "data": "digits",
        "network": "convnet1:width=4",
        "folder": "set",
        "epochs": 4,
        "kept": [0, 1, 2, 4],
    }
    assert sorted(files(tmp_path / "set")) == ["0000.safetensors", "0001.safetensors", "manifest.json"]
    assert found["bytes"] == sum(path.stat().st_size for path in (tmp_path / "set").glob("*.safetensors"))
    assert 0.5 < found["predicted_bytes"] / found["bytes"] <= 1
    for number, expert in enumerate(found["experts"]):
        assert expert["number"] == number and len(expert["changes"]) == 4 and expert["test"] is None
        assert 0.2 < expert["validation"] <= 1 and 0.2 < expert["accuracy"] <= 1
        assert expert["avg_var"] == pytest.approx(sum(expert["changes"]) / 4)


def test_what_it_will_take_is_said_before_and_what_it_took_afterwards(limbeck: Command, tmp_path: Path) -> None:
    done = limbeck(*WORDS, "--progress", "plain", "--out", "set", "--test")
    assert done.status == 0
    lines = done.err.splitlines()
    assert lines[0].startswith("training 3 experts (convnet1:width=4, 4 epochs), about ") and " MB in set (" in lines[0]
    assert any(line.startswith("3 of 3 experts done (accuracy ") for line in lines)
    assert "kept in set" in lines and lines[-1] == "a run takes them with --pool.store set --pool.count 3"
    for words in ("training accuracy", "validation accuracy", "test accuracy", "AvgVar", "MB predicted"):
        assert words in done.out
    again = limbeck(*WORDS, "--progress", "plain", "--out", "set")
    assert again.status == 0 and "training" not in again.err


def test_a_run_finds_them_in_the_cache_and_takes_them_from_a_folder(limbeck: Command, tmp_path: Path) -> None:
    assert limbeck(*QUIET, "--network-cache", "cache").status == 0
    assert limbeck(*QUIET, "--out", "set", "--half", "--all-epochs").status == 0
    data, said = load("digits", LoadOptions()), list[str]()
    settings = Settings(device="cpu", progress="quiet", network_cache=tmp_path / "cache")
    for pool in (POOL, Experts(**{**vars(POOL), "store": str(tmp_path / "set"), "half": True, "starts": 4})):
        context = make_context(recipe().with_(pool=pool), data, 1, 5, settings, say=said.append)
        pool.draw(pool.init(context), context, 0)
    assert said == []


def test_several_processes_make_the_same_bytes(limbeck: Command, tmp_path: Path) -> None:
    assert limbeck(*QUIET, "--out", "one").status == 0
    assert limbeck(*QUIET, "--out", "two", "--processes", "2").status == 0
    assert files(tmp_path / "one") == files(tmp_path / "two")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--pool.store", "set"), "the recipe takes its experts from set"),
        (("--network-cache", "False"), "experts are to be kept nowhere"),
        (("--count", "0"), "needs count, span and starts >= 1"),
        (("--out", "other"), "settings.training.lr is 0.05 there and 0.01 here"),
        (("--with", "pool=fresh"), "method 'mtt' has no experts"),
    ],
)
def test_wrong_words_are_refused(limbeck: Command, words: tuple[str, ...], sentence: str) -> None:
    if "other" in words:
        assert limbeck(*QUIET, "--out", "other", "--count", "1").status == 0
        words = (*words, "--pool.course.training.lr", "0.01")
    done = limbeck(*QUIET, *words)
    assert done.status == 2 and sentence in done.sentence


SCRIPT = """
from limbeck.training import halfway
halfway.KEEPING = 0.0
from limbeck.cli.main import main
from tests.cli import test_experts
test_experts.module.choose_recipe = lambda *arguments: test_experts.recipe()
main({words!r})
"""


def test_a_killed_command_resumes_to_the_same_bytes(limbeck: Command, tmp_path: Path) -> None:
    words = [*QUIET, "--pool.course.epochs", "20"]
    assert limbeck(*words, "--out", "whole").status == 0
    code = SCRIPT.format(words=[*words, "--out", "cut"])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[2]), *sys.path])}
    environment["OMP_NUM_THREADS"] = "1"
    running = subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, env=environment)
    deadline = time.monotonic() + 60
    while not (tmp_path / "cut" / "0001.unfinished").exists() and time.monotonic() < deadline:
        assert running.poll() is None
        time.sleep(0.005)
    running.send_signal(signal.SIGKILL)
    running.wait()
    left = {path.suffix for path in (tmp_path / "cut").iterdir() if not path.name.startswith(".")}
    assert ".unfinished" in left and not (tmp_path / "cut" / "0002.safetensors").exists()
    assert limbeck(*words, "--out", "cut").status == 0
    ours = {name: one for name, one in files(tmp_path / "cut").items() if not name.startswith(".")}
    assert ours == files(tmp_path / "whole")
