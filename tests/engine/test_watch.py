from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from limbeck.core.errors import InputError, Interrupted
from limbeck.core.recipe import Recipe
from limbeck.data import Data
from limbeck.engine import watch
from limbeck.engine.distill import distill, make_context
from limbeck.engine.loop import Loop, LoopState
from limbeck.engine.settings import Settings
from limbeck.engine.watch import WATCH, Looks, look, look_steps
from limbeck.methods.dasm import dasm
from limbeck.methods.dm import dm
from limbeck.methods.dwa import dwa
from limbeck.methods.idm import idm
from limbeck.methods.mtt import mtt
from limbeck.ops.diversity import mmd2_mixture
from limbeck.training.embedding import embed
from tests.engine.test_snapshots import interrupt_at
from tests.engine.tiny import NETWORK, tiny_dream, tiny_idc

QUIET = Settings(device="cpu", progress="quiet")
WATCHED = replace(QUIET, watch=3)


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / WATCH).read_text().splitlines()]


@pytest.fixture(scope="module")
def watched(digits: Data, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a finished run of DREAM that was watched; must not be changed."""
    out = tmp_path_factory.mktemp("watched") / "run"
    distill(tiny_dream(), digits, ipc=1, out=out, settings=WATCHED)
    return out


def test_looks_are_evenly_spread_up_to_the_last_step() -> None:
    assert look_steps(4, 100) == (25, 50, 75, 100)
    assert look_steps(3, 8) == (3, 6, 8)
    assert look_steps(1, 8) == (8,)
    assert look_steps(9, 3) == (1, 2, 3)
    assert look_steps(0, 8) == look_steps(3, 0) == ()


def test_a_look_is_at_the_batch_of_its_step(watched: Path, digits: Data) -> None:
    found = lines(watched)
    assert [(line["step"], line["iteration"], line["inner"]) for line in found] == [(2, 0, 1), (4, 1, 0), (6, 1, 2)]
    loop = Loop(tiny_dream(), make_context(tiny_dream(), digits, 1, 0, QUIET))
    state = loop.start()
    for line in found:
        before = state
        while state.ordinal < line["step"]:
            before = state
            state, _ = loop.step(state)
        view = loop.view(state)
        assert view is not None and before.ordinal == line["step"] - 1
        assert [entry["label"] for entry in line["classes"]] == list(range(10))
        for entry in line["classes"]:
            rows = state.parts["sampler"]["rows"][entry["label"]]
            members = digits.train.class_rows(entry["label"])
            chosen, every = (embed(view, loop.context.data, some) for some in (rows, members))
            assert entry["images"] == len(rows) == len(entry["norms"]) == len(entry["random_norms"]) == 4
            assert entry["mmd2"] == pytest.approx(float(mmd2_mixture(chosen, every)), rel=1e-4)
            # The random images are others, and so is what is said of them.
            assert entry["random_mmd2"] != entry["mmd2"] and entry["random_norms"] != entry["norms"]
            assert all(norm > 0 for norm in entry["norms"] + entry["random_norms"])


def test_many_classes_and_images_are_looked_at_in_part(digits: Data, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "_CLASSES", 4)
    monkeypatch.setattr(watch, "_PULLING", 3)
    monkeypatch.setattr(watch, "_SAMPLE", 20)
    seen: list[int] = []
    monkeypatch.setattr(watch, "mmd2_mixture", lambda x, y: seen.append(len(y)) or torch.tensor(-1e-9))
    loop = Loop(tiny_idc(), make_context(tiny_idc(), digits, 1, 0, QUIET))
    state, _ = loop.step(loop.start())
    classes = look(loop, state, 0)["classes"]
    assert [entry["label"] for entry in classes] == [0, 3, 6, 9]
    assert all(entry["images"] == 8 and len(entry["norms"]) == len(entry["random_norms"]) == 3 for entry in classes)
    assert set(seen) == {20} and all(entry["mmd2"] == 0.0 for entry in classes)


@pytest.mark.parametrize("recipe", [tiny_dream(), tiny_idc()], ids=["dream", "idc"])
def test_the_result_is_the_same_to_the_bit(recipe: Recipe, tmp_path: Path, digits: Data) -> None:
    results = []
    for settings in (QUIET, WATCHED):
        out = tmp_path / str(settings.watch)
        distill(recipe, digits, ipc=1, out=out, settings=settings)
        losses = [json.loads(line)["loss"] for line in (out / "log.jsonl").read_text().splitlines()]
        results.append([losses, *((out / name).read_bytes() for name in ("images.safetensors", "run.yaml"))])
    assert results[0] == results[1]
    assert not (tmp_path / "0" / WATCH).exists()


def small(recipe: Recipe) -> Recipe:
    return recipe.with_(pool__network=NETWORK, curriculum__iterations=2, sampler__batch_size=8)


@pytest.mark.parametrize("recipe", [small(dm("digits")), small(idm("digits"))], ids=["dm", "idm"])
def test_other_methods_are_not_moved_by_it_either(recipe: Recipe, tmp_path: Path, digits: Data) -> None:
    results = []
    for settings in (QUIET, WATCHED):
        out = tmp_path / str(settings.watch)
        results.append(distill(recipe, digits, ipc=1, out=out, settings=settings).stored)
    assert torch.equal(*results)
    assert lines(out)[-1]["step"] == json.loads((out / "record.json").read_text())["steps"]


@pytest.mark.parametrize("step", [1, 2, 4, 5])
def test_a_stopped_and_resumed_run_has_the_same(step: int, watched: Path, tmp_path: Path, digits: Data) -> None:
    with pytest.MonkeyPatch.context() as patch, pytest.raises(Interrupted):
        interrupt_at(step, patch)
        distill(tiny_dream(), digits, ipc=1, out=tmp_path / "run", settings=WATCHED)
    distill(tiny_dream(), digits, ipc=1, out=tmp_path / "run", settings=WATCHED)
    assert (tmp_path / "run" / WATCH).read_bytes() == (watched / WATCH).read_bytes()


def test_looks_after_the_last_checkpoint_are_taken_again(watched: Path, tmp_path: Path, digits: Data) -> None:
    """What a run that is killed leaves: the first checkpoint, and looks at later steps, the last half written."""
    out = tmp_path / "run"
    with pytest.MonkeyPatch.context() as patch, pytest.raises(Interrupted):
        interrupt_at(5, patch)
        distill(tiny_dream(), digits, ipc=1, out=out, settings=WATCHED)
    (out / "checkpoints" / "step-000000005.safetensors").unlink()
    (out / WATCH).write_text((out / WATCH).read_text()[:-9])
    distill(tiny_dream(), digits, ipc=1, out=out, settings=WATCHED)
    assert (out / WATCH).read_bytes() == (watched / WATCH).read_bytes()


def test_the_clock_of_the_run_stands_still(tmp_path: Path, digits: Data, monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(loop: Loop, state: LoopState, ordinal: int) -> dict[str, Any]:
        time.sleep(1.0)
        return {"classes": []}

    monkeypatch.setattr("limbeck.engine.run.look", slow)
    began = time.monotonic()
    distill(tiny_idc(), digits, ipc=1, out=tmp_path / "run", settings=WATCHED)
    wall = time.monotonic() - began
    assert json.loads((tmp_path / "run" / "record.json").read_text())["seconds"] < wall - 2.9


def test_steps_that_are_over_cannot_be_looked_at_any_more(tmp_path: Path, digits: Data, watched: Path) -> None:
    distill(tiny_idc(), digits, ipc=1, out=tmp_path / "run", settings=QUIET)
    with pytest.raises(InputError, match="is past step 2, after which nobody looked") as caught:
        distill(tiny_idc(), digits, ipc=1, out=tmp_path / "run", settings=WATCHED)
    assert "\n" not in str(caught.value)
    for settings in (QUIET, WATCHED, replace(QUIET, watch=1)):
        distill(tiny_dream(), digits, ipc=1, out=watched, settings=settings)


def test_a_look_that_is_due_after_several_steps_at_once_stands_for_each(tmp_path: Path) -> None:
    looks = Looks(tmp_path, (2, 4, 6))
    assert looks.due(1, 5) == (2, 4)
    looks.write((2, 4), {"classes": []})
    assert looks.due(0, 5) == () and looks.due(0, 6) == (6,)
    looks.require(5)
    with pytest.raises(InputError, match="past step 6"):
        looks.require(6)
    looks.rewind(3)
    assert looks.due(0, 5) == (4,)


@pytest.mark.parametrize(
    ("recipe", "words"),
    [
        (mtt("digits"), "'mtt' samples no real images"),
        (dwa("digits"), "'dwa' samples no real images"),
        (dasm("digits").with_(curriculum__sizes=(1, 1)), "group by group"),
    ],
    ids=["mtt", "dwa", "segments"],
)
def test_what_cannot_be_watched_is_refused(recipe: Recipe, words: str, tmp_path: Path, digits: Data) -> None:
    with pytest.raises(InputError, match=words) as caught:
        distill(recipe, digits, ipc=2, out=tmp_path / "run", settings=WATCHED)
    assert "\n" not in str(caught.value) and list(tmp_path.iterdir()) == []


def test_looks_need_a_folder_and_a_number(digits: Data) -> None:
    with pytest.raises(InputError, match=r"give one \(--out\)"):
        distill(tiny_idc(), digits, ipc=1, settings=WATCHED)
    with pytest.raises(InputError, match="--watch"):
        Settings(watch=-1)
