from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from limbeck.cli import teacher as module
from limbeck.core.batch import Moment, View
from limbeck.core.context import Context
from limbeck.core.contracts import Pool, State, SyntheticImages
from limbeck.core.network import FunctionalNetwork
from limbeck.core.recipe import Recipe
from limbeck.data import LoadOptions, load
from limbeck.engine.distill import make_context
from limbeck.engine.settings import Settings
from limbeck.methods.dm import dm
from limbeck.storage.weights import class_names_in, digest
from limbeck.training.settings import Training
from limbeck.training.teacher import Teacher
from tests.cli.conftest import Command

NETWORK = "convnet1:width=4,norm=batch"
FLAGS = ("--epochs", "3", "--device", "cpu", "--progress", "quiet")


@dataclass(frozen=True, kw_only=True)
class Taught(Pool):
    """A pool with a teacher."""

    teacher: Teacher = field(
        default_factory=lambda: Teacher(network=NETWORK, epochs=1, training=Training(lr=0.05, batch_size=128))
    )
    """Who knows the data."""

    def check(self, context: Context) -> None:
        self.teacher.check(context, "pool 'taught'")

    def init(self, context: Context) -> State:
        return {"weights": self.teacher.load(context)}

    def draw(self, state: State, context: Context, iteration: int) -> State:
        return state

    def view(self, state: State, context: Context) -> View:
        return View(self.architecture(context), state["weights"], train=False)

    def architecture(self, context: Context) -> FunctionalNetwork:
        return self.teacher.architecture(context)

    def advance(self, state: State, context: Context, moment: Moment, synthetic: SyntheticImages) -> State:
        return state


def recipe() -> Recipe:
    return dm("small").with_(pool=Taught())


def test_a_network_is_trained_judged_and_written(limbeck: Command, tmp_path: Path) -> None:
    done = limbeck("teacher", NETWORK, *FLAGS, "--out", "net.safetensors", "--network-cache", "cache", "--json")
    assert done.status == 0
    found = done.json
    assert {name: found[name] for name in ("network", "data", "weights", "epochs", "test", "out")} == {
        "network": NETWORK,
        "data": "digits",
        "weights": "trained",
        "epochs": 3,
        "test": None,
        "out": "net.safetensors",
    }
    assert 0.2 < found["validation"] <= 1 and found["seconds"] > 0
    assert class_names_in(tmp_path / "net.safetensors") == tuple(map(str, range(10)))
    again = limbeck("teacher", NETWORK, *FLAGS, "--out", "again.safetensors", "--network-cache", "cache", "--test")
    assert again.status == 0 and "% of the validation images and" in again.err
    assert "a run takes it with teacher.weights again.safetensors" in again.err
    assert digest(tmp_path / "net.safetensors") == digest(tmp_path / "again.safetensors")
    assert len(list(Path("cache").glob("*/*"))) == 1


def test_what_was_written_is_a_teacher_again(limbeck: Command, tmp_path: Path) -> None:
    assert limbeck("teacher", NETWORK, *FLAGS, "--out", "net.safetensors").status == 0
    settings, data = Settings(device="cpu", progress="quiet"), load("digits", LoadOptions())
    said: list[str] = []
    brought = recipe().with_(pool__teacher__weights=str(tmp_path / "net.safetensors"))
    context = make_context(brought, data, 1, 0, settings, say=said.append)
    assert brought.pool is not None and said == []
    weights = brought.pool.init(context)["weights"]
    stored = load_file(tmp_path / "net.safetensors")
    assert weights.keys() == stored.keys() and all(torch.equal(weights[name], stored[name]) for name in stored)


def test_the_teacher_of_a_method_is_found_by_its_run(
    limbeck: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "choose_recipe", lambda *arguments: recipe())
    words = ("teacher", "dm", "--ipc", "1", "--network-cache", "cache", "--device", "cpu", "--json")
    done = limbeck(*words, "--progress", "quiet")
    assert done.status == 0 and done.json["epochs"] == 1
    said: list[str] = []
    settings = Settings(device="cpu", progress="quiet", network_cache=tmp_path / "cache")
    context = make_context(recipe(), load("digits", LoadOptions()), 1, 5, settings, say=said.append)
    Taught().init(context)
    assert [line.split(" and ")[0] for line in said] == ["network 1 of 1 was trained before"]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("idc",), "method 'idc' has no teacher; name a network instead"),
        ((NETWORK, "--preset", "cifar10"), "is no method, so that there is no recipe to change"),
        ((NETWORK, "--pool.count", "3"), "is no method, so that there is no recipe to change"),
        (("idc", "--epochs", "3"), "the recipe of 'idc' says for how many epochs"),
        (("convnettt",), "unknown"),
        ((NETWORK, "--out", "net.pth"), "networks are written to files .safetensors"),
        ((NETWORK, "--out", "there.safetensors"), "is there already; remove it"),
    ],
)
def test_wrong_words_are_refused(limbeck: Command, tmp_path: Path, words: tuple[str, ...], sentence: str) -> None:
    (tmp_path / "there.safetensors").write_bytes(b"")
    done = limbeck("teacher", *words)
    assert done.status == 2 and sentence in done.sentence


def test_without_validation_images_nothing_is_judged(limbeck: Command) -> None:
    done = limbeck("teacher", NETWORK, *FLAGS, "--validation", "0", "--network-cache", "cache")
    assert done.status == 0 and "not judged (no validation images)" in done.err
