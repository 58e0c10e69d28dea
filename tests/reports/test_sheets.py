from __future__ import annotations

import base64
import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import limbeck as lb
from limbeck.data.splits import Data
from limbeck.initializers.real import Mixed
from limbeck.methods.random import random
from limbeck.parametrizations.partition import Partition
from limbeck.parametrizations.plain import Plain
from limbeck.reports.entries import Entry
from limbeck.reports.sheets import SMALL, images_section, sheet
from limbeck.storage.examples import write_examples

QUIET = lb.Settings(progress="quiet")


def pixels(uri: str) -> np.ndarray[Any, Any]:
    """The picture in a data URI."""
    content = base64.b64decode(uri.partition(",")[2])
    return np.asarray(Image.open(io.BytesIO(content)).convert("L")).astype(int)


def test_a_set_has_a_strip_for_each_class(digits: Data) -> None:
    found = sheet(lb.distill(random(), digits, ipc=3, seed=4, settings=QUIET), SMALL, ["9 %"], width=1000)
    assert [strip["name"] for strip in found["strips"]] == [str(label) for label in range(10)]
    assert [note.replace("\u00a0", " ") for note in found["notes"]] == ["seed 4", "7.50 KiB", "9 %"]
    assert not found["played"] and found["width"] > found["strips"][0]["width"]
    assert all(strip["uri"].startswith("data:image/png;base64,") for strip in found["strips"])


def test_what_is_cut_or_packed_is_said(digits: Data) -> None:
    recipe = random().with_(parametrization=Partition(factor=2), initializer=Mixed())
    found = sheet(lb.distill(recipe, digits, ipc=30, settings=QUIET), SMALL, [], width=1000)
    notes = " ".join(found["notes"]).replace("\u00a0", " ")
    assert "first 10 of 30 images per class" in notes and "each stored image holds 4 training images" in notes


def test_whitened_images_are_shown_as_they_look(whitened: Data) -> None:
    unit = lb.distill(random(), whitened, ipc=2, settings=QUIET)
    stored = whitened.spec.normalization.apply(unit.stored)
    seen = replace(unit, stored=stored, recipe=unit.recipe.with_(parametrization__space="normalized"))
    shown, expected = (pixels(sheet(one, SMALL, [], width=1000)["strips"][3]["uri"]) for one in (seen, unit))
    assert shown.shape == expected.shape and abs(shown - expected).max() <= 2
    assert expected.std() > 50


def test_black_and_white_are_said_where_they_are_not_those_of_real_images(digits: Data) -> None:
    recipe = random().with_(parametrization=Plain(space="normalized"))
    found = lb.distill(recipe, digits, ipc=2, settings=QUIET)
    assert "black" not in " ".join(sheet(found, SMALL, [], width=1000)["notes"])
    values = 4 * digits.spec.normalization.invert(found.stored) - 2
    wild = replace(found, stored=digits.spec.normalization.apply(values))
    (note,) = [note for note in sheet(wild, SMALL, [], width=1000)["notes"] if "black" in note]
    assert note == "drawn from -2 (black) to 2 (white); real images go from 0 to 1"


def test_real_images_stand_beside_the_learnt_ones_as_large_and_as_many(
    entry: Callable[..., Entry], digits: Data, tmp_path: Path
) -> None:
    made = entry(ipc=4)
    colours = {"idc": "#0072B2", "full": "#3d4852"}
    (bare,) = images_section([made], colours, ())["groups"]
    assert [shown["label"] for shown in bare["learnt"]] == ["idc"] and not bare["beside"]
    write_examples(tmp_path, digits.train)
    (group,) = images_section([replace(made, run=replace(made.run, folder=tmp_path))], colours, ())["groups"]
    learnt, real = group["learnt"]
    assert group["beside"] and real["label"] == "real training images"
    assert [strip["name"] for strip in real["strips"]] == [strip["name"] for strip in learnt["strips"]]
    assert all(ours["width"] == theirs["width"] for ours, theirs in zip(real["strips"], learnt["strips"], strict=True))
    assert all(
        ours["height"] == theirs["height"] for ours, theirs in zip(real["strips"], learnt["strips"], strict=True)
    )
    first = digits.train.images(digits.train.class_rows(7)[:1])[0, 0]
    block, gap = 2 * 48 // 8, 4
    drawn = pixels(real["strips"][7]["uri"])[gap + 5 :: block, gap + 5 :: block][:8, :8]
    assert (drawn == (first * 255).round().int().numpy()).all()
