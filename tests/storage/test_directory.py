from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from limbeck.core.distilled import Distilled
from limbeck.core.errors import InputError
from limbeck.core.plain import encode
from limbeck.core.streams import Stream
from limbeck.data import Data
from limbeck.data.images import ImageSet
from limbeck.methods.dream import dream
from limbeck.methods.random import random
from limbeck.parametrizations.plain import Plain
from limbeck.storage.directory import (
    FORMAT,
    IMAGES,
    SIDECAR,
    WHITENING,
    read_learnt,
    read_set,
    read_whitening,
    write_set,
)


@pytest.fixture
def distilled(portion: Callable[..., ImageSet]) -> Distilled:
    data = portion(3, 4)
    stored = Stream(0).uniform(3, 2, *data.spec.shape).float() * 1.2 - 0.1
    return Distilled(stored, data.spec, dream("digits"), seed=7, identity={"versions": {"torch": "2.0"}})


@pytest.fixture
def folder(tmp_path: Path, distilled: Distilled) -> Path:
    write_set(tmp_path / "a" / "set", distilled)
    return tmp_path / "a" / "set"


def refused(folder: Path) -> str:
    with pytest.raises(InputError) as caught:
        read_set(folder)
    message = str(caught.value)
    assert "\n" not in message and message.endswith(".")
    return message


def test_round_trip(folder: Path, distilled: Distilled) -> None:
    stored, description = read_set(folder)
    # Values outside [0, 1] are kept.
    assert torch.equal(stored, distilled.stored)
    assert stored.dtype == torch.float32 and stored.min() < 0
    assert description["format"] == FORMAT
    assert description["method"] == "dream"
    assert description["recipe"] == encode(distilled.recipe)
    assert description["data"]["class_names"] == ["0", "1", "2"]
    assert description["data"]["shape"] == [1, 8, 8]
    assert description["data"]["digest"] == distilled.spec.digest
    assert description["data"]["normalization"]["mean"] == list(distilled.spec.normalization.mean)
    assert (description["ipc"], description["seed"], description["storage"]) == (2, 7, "float32")
    assert description["bytes"] == 3 * 2 * 64 * 4
    assert description["space"] == "unit"
    assert description["identity"] == distilled.identity


def test_uint8_is_kept_exactly(tmp_path: Path, distilled: Distilled) -> None:
    small = distilled.stored_as("uint8")
    write_set(tmp_path / "set", small)
    stored, description = read_set(tmp_path / "set")
    assert torch.equal(stored, small.stored)
    assert description["bytes"] == 3 * 2 * 64
    assert (tmp_path / "set" / IMAGES).stat().st_size < 3 * 2 * 64 + 200


def test_normalized_space_is_written_down(tmp_path: Path, distilled: Distilled) -> None:
    recipe = random().with_(parametrization=Plain(space="normalized"))
    write_set(tmp_path / "set", replace(distilled, recipe=recipe))
    stored, description = read_set(tmp_path / "set")
    assert torch.equal(stored, distilled.stored)
    assert description["space"] == "normalized"
    assert description["to_unit_space"] == "x * std + mean, per channel"


def test_the_same_set_is_the_same_bytes(tmp_path: Path, folder: Path, distilled: Distilled) -> None:
    again = tmp_path / "again"
    write_set(again, distilled)
    names = sorted(path.name for path in folder.iterdir())
    assert names == sorted([IMAGES, SIDECAR, "README.md", "preview.png"])
    for name in names:
        assert (again / name).read_bytes() == (folder / name).read_bytes()


def test_other_files_are_left_alone(folder: Path, distilled: Distilled) -> None:
    (folder / "notes.txt").write_text("mine")
    write_set(folder, replace(distilled, stored=distilled.stored / 2))
    assert (folder / "notes.txt").read_text() == "mine"
    assert torch.equal(read_set(folder)[0], distilled.stored / 2)


def test_the_card_says_what_it_is(folder: Path, distilled: Distilled) -> None:
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert card.startswith("# digits, distilled by dream\n")
    assert "**These images are synthetic.** 2 stored images per class" in card
    assert "| training images per class after decoding | 2 |" in card
    assert "| classes | 3 (0, 1, 2) |" in card
    assert str(distilled.recipe) in card


def test_a_truncated_file_of_images_is_refused(folder: Path) -> None:
    file = folder / IMAGES
    file.write_bytes(file.read_bytes()[:-1])
    assert refused(folder) == f"{file} was edited or truncated (hash differs); restore it from a copy."


@pytest.mark.parametrize("position", [8, 40, -1])
def test_a_flipped_bit_of_the_images_is_refused(folder: Path, position: int) -> None:
    file = folder / IMAGES
    content = bytearray(file.read_bytes())
    content[position] ^= 1
    file.write_bytes(bytes(content))
    assert f"{IMAGES} was edited or truncated" in refused(folder)


@pytest.mark.parametrize(("old", "new"), [('"seed": 7', '"seed": 8'), ('"ipc": 2', '"ipc": 2, "extra": 1')])
def test_an_edited_description_is_refused(folder: Path, old: str, new: str) -> None:
    file = folder / SIDECAR
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new), encoding="utf-8")
    assert refused(folder) == f"{file} was edited or truncated (hash differs); restore it from a copy."


def test_a_reformatted_description_is_as_good(folder: Path, distilled: Distilled) -> None:
    file = folder / SIDECAR
    file.write_text(json.dumps(json.loads(file.read_text(encoding="utf-8")), sort_keys=True), encoding="utf-8")
    assert torch.equal(read_set(folder)[0], distilled.stored)


@pytest.mark.parametrize("content", [b"{", b"", b"\xff\xfe"])
def test_a_description_that_is_no_json_is_refused(folder: Path, content: bytes) -> None:
    (folder / SIDECAR).write_bytes(content)
    assert f"{SIDECAR} is damaged" in refused(folder)


@pytest.mark.parametrize("content", ["[]", "{}", '{"format": 2}'])
def test_another_format_is_refused(folder: Path, content: str) -> None:
    (folder / SIDECAR).write_text(content)
    assert f"{SIDECAR} is not of format 1, the only one this version reads" in refused(folder)


@pytest.mark.parametrize("name", [IMAGES, SIDECAR])
def test_a_missing_file_is_refused(folder: Path, name: str) -> None:
    (folder / name).unlink()
    assert f"holds no finished distilled set ({name} is missing)" in refused(folder)


def test_no_folder_is_refused(tmp_path: Path) -> None:
    assert refused(tmp_path / "none").endswith("is no folder; give the --out folder of a finished run.")


@pytest.fixture
def seen_whitened(whitened: Data) -> Distilled:
    recipe = random().with_(parametrization=Plain(space="normalized"))
    stored = whitened.spec.normalization.apply(Stream(0).uniform(10, 2, *whitened.spec.shape).float() * 1.2 - 0.1)
    return Distilled(stored, whitened.spec, recipe, seed=7)


def test_whitening_travels_with_the_set(tmp_path: Path, seen_whitened: Distilled) -> None:
    folder, one = tmp_path / "set", seen_whitened.spec.normalization.whitening
    write_set(folder, seen_whitened)
    stored, description = read_set(folder)
    assert torch.equal(stored, seen_whitened.stored)
    about = description["whitening"]
    assert (about["kind"], about["file"], about["values"], about["eps"]) == ("zca", WHITENING, 64, 0.1)
    assert description["data"]["normalization"] == {"mean": [0.0], "std": [1.0], "source": "zca"}
    assert read_whitening(folder, description) == one
    # As the words say, by the file alone.
    tensors = load_file(folder / WHITENING)
    basis, variances = tensors["basis"].double(), tensors["variances"].double()
    assert description["to_unit_space"].startswith("x V + mean, with x the values of an image in the order C, H, W")
    inverse = (basis * (variances + tensors["eps"]) ** 0.5) @ basis.T
    shown = (stored.flatten(2).double() @ inverse + tensors["mean"]).view(stored.shape)
    torch.testing.assert_close(shown.float(), seen_whitened.spec.normalization.invert(stored), rtol=0, atol=1e-6)
    card = (folder / "README.md").read_text(encoding="utf-8")
    seen = f"ZCA whitening with eps 0.1, fitted to the real training images (`{WHITENING}`)"
    assert f"| normalization for networks | {seen} |" in card
    assert "images taken back." in card


def test_the_same_whitened_set_is_the_same_bytes(tmp_path: Path, seen_whitened: Distilled) -> None:
    for name in ("a", "b"):
        write_set(tmp_path / name, seen_whitened)
    for file in (tmp_path / "a").iterdir():
        assert file.read_bytes() == (tmp_path / "b" / file.name).read_bytes()


def test_a_set_that_is_not_whitened_has_no_such_file(folder: Path) -> None:
    _, description = read_set(folder)
    assert description["whitening"] is None and read_whitening(folder, description) is None
    assert not (folder / WHITENING).exists()
    assert "hiten" not in (folder / "README.md").read_text(encoding="utf-8")


def test_whitening_that_is_missing_or_edited_is_refused(tmp_path: Path, seen_whitened: Distilled) -> None:
    write_set(tmp_path, seen_whitened)
    _, description = read_set(tmp_path)
    (tmp_path / WHITENING).write_bytes((tmp_path / WHITENING).read_bytes()[:-1] + b"x")
    with pytest.raises(InputError, match=r"whitening.safetensors was edited or truncated"):
        read_whitening(tmp_path, description)
    (tmp_path / WHITENING).unlink()
    with pytest.raises(InputError, match=r"whitening.safetensors is missing, without which the set cannot be used"):
        read_whitening(tmp_path, description)


def test_whitened_values_in_unit_space_are_those_of_pictures(tmp_path: Path, whitened: Data) -> None:
    made = Distilled(Stream(0).uniform(10, 1, 1, 8, 8).float(), whitened.spec, random(), seed=0)
    write_set(tmp_path / "floats", made)
    assert read_set(tmp_path / "floats")[1]["to_unit_space"] == "x"
    write_set(tmp_path / "bytes", made.stored_as("uint8"))
    stored, description = read_set(tmp_path / "bytes")
    assert torch.equal(stored, made.stored_as("uint8").stored) and description["to_unit_space"] == "x / 255"
    assert read_whitening(tmp_path / "bytes", description) == whitened.spec.normalization.whitening


def test_what_was_learnt_beside_the_pixels_comes_back(tmp_path: Path, distilled: Distilled) -> None:
    chances = Stream(1).uniform(3, 2, 3).softmax(-1)
    learnt = {"student_lr": torch.tensor(0.1 + 1e-16, dtype=torch.float64), "labels": chances.double()}
    for storage in ("float32", "uint8"):
        carrying = replace(distilled.stored_as(storage), learnt=learnt)  # type: ignore[arg-type]
        folder = tmp_path / storage
        write_set(folder, carrying)
        stored, description = read_set(folder)
        assert torch.equal(stored, carrying.stored)
        assert description["student_lr"] == carrying.student_lr
        assert description["bytes_labels"] == carrying.label_bytes == 3 * 2 * 3 * 4
        assert description["labels"].startswith("soft: ") and f"learnt.labels of {IMAGES}" in description["labels"]
        back = read_learnt(folder)
        assert set(back) == {"student_lr", "labels"}
        assert torch.equal(back["student_lr"], learnt["student_lr"]) and back["student_lr"].dtype == torch.float64
        assert torch.equal(back["labels"], learnt["labels"].float())
        card = (folder / "README.md").read_text(encoding="utf-8")
        rows = card[card.index("| classes |") : card.index("| seed |")].splitlines()
        assert all(row.startswith("| ") and row.endswith(" |") for row in rows)
        assert "| label bytes | 72 |" in rows and any("| learnt step size of networks | 0.1 (" in row for row in rows)
        assert "Labels are probabilities" in card


def test_a_set_without_anything_learnt_says_nothing_of_it(folder: Path) -> None:
    _, description = read_set(folder)
    assert read_learnt(folder) == {}
    assert not {"student_lr", "bytes_labels"} & set(description)
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert "label bytes" not in card and "step size" not in card.partition("```")[0] and "probabilities" not in card


def test_a_flipped_bit_of_a_label_is_refused(tmp_path: Path, distilled: Distilled) -> None:
    write_set(tmp_path / "set", replace(distilled, learnt={"labels": torch.full((3, 2, 3), 1 / 3)}))
    file = tmp_path / "set" / IMAGES
    content = file.read_bytes()
    third = content.index(torch.full((3,), 1 / 3).numpy().tobytes())
    file.write_bytes(content[:third] + bytes([content[third] ^ 1]) + content[third + 1 :])
    assert f"{IMAGES} was edited or truncated" in refused(tmp_path / "set")
