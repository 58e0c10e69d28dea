from __future__ import annotations

import hashlib
import json
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from limbeck.core.distilled import Distilled
from limbeck.core.errors import InputError
from limbeck.core.sound import Sound
from limbeck.data import Data
from limbeck.engine.distill import distill
from limbeck.engine.settings import Settings
from limbeck.formats.native import load
from limbeck.methods.random import random
from limbeck.storage.directory import IMAGES, SIDECAR, WHITENING, write_set
from tests.engine.tiny import tiny_dream

QUIET = Settings(device="cpu", progress="quiet")


@pytest.fixture(scope="module")
def original(digits: Data) -> Distilled:
    return distill(random(), digits, ipc=2, settings=QUIET)


@pytest.fixture
def folder(original: Distilled, tmp_path: Path) -> Path:
    write_set(tmp_path / "run", original)
    return tmp_path / "run"


def test_a_set_comes_back_as_it_was(folder: Path, original: Distilled) -> None:
    for where in (folder, str(folder)):
        again = load(where)
        assert torch.equal(again.stored, original.stored)
        assert again.spec == original.spec
        assert again.recipe == original.recipe
        assert (again.seed, again.storage, again.identity) == (original.seed, original.storage, original.identity)


def test_a_learnt_set_with_all_its_parts_comes_back(tmp_path: Path, digits: Data) -> None:
    made = distill(tiny_dream(), digits, ipc=1, out=tmp_path / "run", storage="uint8", settings=QUIET)
    again = load(tmp_path / "run")
    assert again.recipe == tiny_dream()
    assert torch.equal(again.stored, made.stored)
    images, labels = again.decoded()
    assert images.shape == (10, 1, 8, 8)
    assert labels.tolist() == list(range(10))


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))


DAMAGE: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "one bit of a pixel": (IMAGES, flip, "was edited or truncated"),
    "truncated pixels": (IMAGES, lambda path: path.write_bytes(path.read_bytes()[:-9]), "was edited or truncated"),
    "no pixels": (IMAGES, lambda path: path.unlink(), "images.safetensors is missing"),
    "an edited seed": (
        SIDECAR,
        lambda path: path.write_text(path.read_text().replace('"seed": 0', '"seed": 1')),
        "was edited or truncated",
    ),
    "a truncated description": (SIDECAR, lambda path: path.write_text(path.read_text()[:-9]), "is damaged"),
    "an empty description": (SIDECAR, lambda path: path.write_text(""), "is damaged"),
    "a description of another kind": (SIDECAR, lambda path: path.write_text("[]"), "not of format 1"),
    "a newer description": (SIDECAR, lambda path: path.write_text('{"format": 2}'), "install a newer limbeck"),
    "no description": (SIDECAR, lambda path: path.unlink(), "distilled.json is missing"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_is_found(damage: str, folder: Path) -> None:
    name, do, message = DAMAGE[damage]
    do(folder / name)
    with pytest.raises(InputError, match=message) as caught:
        load(folder)
    assert "\n" not in str(caught.value)


def test_what_is_no_folder_is_refused(folder: Path) -> None:
    for where in (folder / "nothing", folder / SIDECAR):
        with pytest.raises(InputError, match="is no folder"):
            load(where)


def signed(folder: Path, change: Callable[[dict[str, object]], object]) -> None:
    """Edit the description and give it a hash that fits."""
    description = json.loads((folder / SIDECAR).read_text())
    description.pop("sha256_description")
    change(description)
    text = json.dumps(description, sort_keys=True)
    description["sha256_description"] = hashlib.sha256(text.encode()).hexdigest()
    (folder / SIDECAR).write_text(json.dumps(description))


def test_a_part_that_nobody_brings_is_named(folder: Path) -> None:
    signed(folder, lambda description: description["recipe"]["initializer"].update(part="os.system"))  # type: ignore[index]
    with pytest.raises(InputError, match=r"unknown part of recipe\.initializer 'os\.system'"):
        load(folder)


def test_a_field_that_is_missing_is_named(folder: Path) -> None:
    signed(folder, lambda description: description.pop("seed"))
    with pytest.raises(InputError, match="lacks 'seed'"):
        load(folder)


class Bomb:
    exploded = False

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return exec, ("from tests.formats.test_native import Bomb; Bomb.exploded = True",)


def test_no_code_of_the_files_is_run(folder: Path) -> None:
    """A pickle in place of the pixels is not opened, even with a hash that fits."""
    bomb = pickle.dumps(Bomb())
    (folder / IMAGES).write_bytes(bomb)
    signed(folder, lambda description: description.update(sha256_images=hashlib.sha256(bomb).hexdigest()))
    with pytest.raises(InputError, match="no safetensors file"):
        load(folder)
    assert not Bomb.exploded


def test_pickle_and_torch_load_are_not_in_the_path(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "load", None)
    for name in ("load", "loads", "Unpickler"):
        monkeypatch.setattr(pickle, name, None)
    assert load(folder).ipc == 2


def test_what_a_set_sounds_like_comes_back(original: Distilled, tmp_path: Path) -> None:
    sound = Sound(sample_rate=8_000, low=-6.9, high=3.25)
    write_set(tmp_path / "run", replace(original, spec=replace(original.spec, sound=sound)))
    assert load(tmp_path / "run").spec.sound == sound
    assert "spectrograms of 2 s of sound" in (tmp_path / "run" / "README.md").read_text(encoding="utf-8")


def test_pictures_are_described_as_before_there_was_sound(folder: Path) -> None:
    assert "sound" not in json.loads((folder / SIDECAR).read_text(encoding="utf-8"))["data"]
    assert "sound" not in (folder / "README.md").read_text(encoding="utf-8")


def test_a_whitened_set_comes_back_to_the_bit(tmp_path: Path, whitened: Data) -> None:
    recipe = random().with_(parametrization__space="normalized")
    made = distill(recipe, whitened, ipc=2, out=tmp_path, settings=QUIET)
    again = load(tmp_path)
    assert torch.equal(again.stored, made.stored) and again.spec == made.spec == whitened.spec
    one, other = again.spec.normalization.whitening, whitened.spec.normalization.whitening
    assert one is not None and other is not None and torch.equal(one.matrix(), other.matrix())
    for ours, theirs in zip(again.decoded(), made.decoded(), strict=True):
        assert torch.equal(ours, theirs)
    seen, _ = again.dataset(normalize=True)[3]
    torch.testing.assert_close(seen, again.stored.flatten(0, 1)[3], rtol=0, atol=1e-5)


@pytest.mark.parametrize("damage", ["missing", "edited"])
def test_a_whitened_set_without_its_whitening_is_refused(damage: str, tmp_path: Path, whitened: Data) -> None:
    distill(random(), whitened, ipc=1, out=tmp_path, settings=QUIET)
    path = tmp_path / WHITENING
    path.unlink() if damage == "missing" else flip(path)
    with pytest.raises(InputError, match=f"{WHITENING} (is missing|was edited or truncated)"):
        load(tmp_path)


def test_what_was_learnt_beside_the_pixels_comes_back(tmp_path: Path, original: Distilled) -> None:
    classes, ipc = original.stored.shape[:2]
    chances = torch.rand(classes, ipc, classes, generator=torch.Generator().manual_seed(0)).softmax(-1)
    learnt = {"student_lr": torch.tensor(0.0123, dtype=torch.float64), "labels": chances}
    write_set(tmp_path / "set", replace(original, learnt=learnt))
    again = load(tmp_path / "set")
    assert again.student_lr == 0.0123
    assert again.soft_labels is not None and torch.equal(again.soft_labels, chances.flatten(0, 1))
