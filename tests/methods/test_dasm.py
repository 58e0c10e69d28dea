from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from limbeck.core.errors import InputError
from limbeck.core.recipe import Recipe
from limbeck.curricula.segment_experts import SegmentExperts
from limbeck.curricula.segments import DifficultySegments
from limbeck.data import Data
from limbeck.engine.distill import distill
from limbeck.engine.settings import Settings
from limbeck.methods.ast import ast
from limbeck.methods.cafe import cafe
from limbeck.methods.dasm import PRESETS, dasm
from limbeck.methods.dc import dc
from limbeck.methods.dm import dm
from limbeck.methods.dream import dream
from limbeck.methods.dsa import dsa
from limbeck.methods.dsdm import dsdm
from limbeck.methods.dwa import dwa
from limbeck.methods.idc import idc
from limbeck.methods.idm import idm
from limbeck.methods.m3d import m3d
from limbeck.methods.mtt import mtt
from limbeck.methods.random import random
from limbeck.methods.sre2l import sre2l
from limbeck.training.supervised import Training

QUIET = Settings(device="cpu", progress="quiet")


def fields(recipe: Recipe) -> Any:
    """The recipe, for reading the fields of its parts."""
    return recipe


@pytest.mark.parametrize("preset", PRESETS)
def test_all_but_the_curriculum_is_the_base_s(preset: str) -> None:
    base, recipe = idc(preset), fields(dasm(preset))
    assert (recipe.name, recipe.base) == ("dasm", "idc")
    rest = recipe.with_(name="idc", base="", curriculum=base.curriculum, references=base.references)
    assert rest == base
    curriculum = recipe.curriculum
    assert isinstance(curriculum, DifficultySegments)
    assert (curriculum.iterations, curriculum.steps) == (
        fields(base).curriculum.iterations,
        fields(base).curriculum.steps,
    )
    # Networks that score are trained as IDC's are.
    assert curriculum.training == fields(base).pool.training


def test_the_defaults_of_the_design() -> None:
    curriculum = fields(dasm()).curriculum
    assert (curriculum.sizes, curriculum.width, curriculum.outliers, curriculum.mixing) == ((), 0.4, 0.05, 0.25)
    assert (curriculum.scorers, curriculum.scorer_epochs, curriculum.previous) == (3, 300, 0.5)
    assert (curriculum.order, curriculum.scoring, curriculum.first) == ("easy_to_hard", "previous", "all")
    assert (curriculum.least, curriculum.batches) == (200, 2)


def test_segments_of_imagenet_are_decoded_as_the_whole() -> None:
    """IDC packs within a bound there, from 20 images per class on, which depends on how many there are."""
    recipe = fields(dasm("imagenet10", ipc=50))
    assert recipe.parametrization.kind == fields(idc("imagenet10", ipc=10)).parametrization.kind != "bound"
    assert recipe.parametrization.parts(50) == sum(map(recipe.parametrization.parts, recipe.curriculum.segments(50)))


@pytest.mark.parametrize(
    ("preset", "epochs", "least"),
    [("tiny-imagenet", 150, 200), ("imagenet10", 150, 200), ("small", 60, 1), ("digits", 200, 1), ("svhn", 300, 200)],
)
def test_what_presets_change(preset: str, epochs: int, least: int) -> None:
    curriculum = fields(dasm(preset)).curriculum
    assert (curriculum.scorer_epochs, curriculum.least) == (epochs, least)
    assert curriculum.batches == (0 if preset == "digits" else 2)


@pytest.mark.parametrize("base", [dream("svhn"), dm("svhn"), dsdm("svhn")], ids=lambda base: base.name)
def test_it_plugs_into_other_recipes(base: Recipe) -> None:
    recipe = fields(dasm("svhn", base=base))
    recipe.check()
    assert recipe.base == base.name and recipe.sampler == base.sampler and recipe.optimizer == base.optimizer
    assert recipe.curriculum.iterations == fields(base).curriculum.iterations
    assert recipe.references == ("dasmdraft", *base.references)
    seen = Training(batch_size=256, augmentation=base.augmentation)
    assert recipe.curriculum.training == (seen if base.name == "dm" else fields(base).pool.training)


@pytest.mark.parametrize("base", [mtt("cifar10", ipc=50), ast("cifar10", ipc=50)], ids=lambda base: base.name)
def test_it_plugs_into_recipes_that_imitate_experts(base: Recipe) -> None:
    recipe = fields(dasm(base=base))
    recipe.check()
    assert recipe.with_(name=base.name, base="", curriculum=base.curriculum, references=base.references) == base
    curriculum = recipe.curriculum
    assert curriculum.scope == "union" and curriculum.experts == SegmentExperts(mode="own")
    assert (curriculum.iterations, curriculum.steps) == (5000, 1)
    assert (curriculum.experts.count, curriculum.experts.epochs, curriculum.experts.starts) == (20, 20, 11)
    assert fields(dasm("small", base=base)).curriculum.experts.epochs == 8


@pytest.mark.parametrize("base", [sre2l("cifar100"), dwa("cifar100"), random()], ids=lambda b: b.name)
def test_bases_with_neither_real_batches_nor_experts_are_refused(base: Recipe) -> None:
    with pytest.raises(InputError, match=f"'{base.name}' does not learn all its images together from either"):
        dasm(base=base)


def test_unknown_presets_are_refused() -> None:
    with pytest.raises(InputError, match="unknown preset of dasm 'digts'; did you mean 'digits'"):
        dasm("digts")


SHORT = {"curriculum__iterations": 2, "curriculum__steps": 3}
BASES: dict[str, Recipe] = {
    "idc": idc("digits").with_(**SHORT, pool__samples=16),
    "dream": dream("digits").with_(**SHORT, pool__samples=16),
    "dc": dc("digits").with_(**SHORT),
    "dsa": dsa("digits").with_(**SHORT),
    "cafe": cafe("digits").with_(**SHORT),
    "dm": dm("digits").with_(curriculum__iterations=4),
    "mtt": mtt("digits").with_(
        curriculum__iterations=3, pool__count=1, pool__course__epochs=3, pool__starts=2, objective__student_steps=2
    ),
    "m3d": m3d("digits").with_(curriculum__iterations=4),
    "idm": idm("digits").with_(curriculum__iterations=4),
    "dsdm": dsdm("digits").with_(curriculum__iterations=4, pool__epochs=1, pool__count=2),
}
OPTIONS = {
    "curriculum__scope": "union",
    "curriculum__rescore_every": 1,
    "curriculum__window_rule": "frontier",
    "curriculum__score": "margin",
    "curriculum__verify": True,
}


@pytest.mark.parametrize("name", BASES)
@pytest.mark.parametrize("changes", [{}, {"curriculum__sizes": (2,), **OPTIONS}], ids=["below 10 images", "options"])
def test_with_one_segment_it_is_the_base_to_the_bit(
    name: str, changes: dict[str, Any], portion: Callable[..., Any]
) -> None:
    """Acceptance: K = 1, whatever the options."""
    train = portion(3, 20)
    data = Data(train=train, validation=None, test=None, spec=train.spec)
    base = BASES[name].with_(pool__network="convnet1:width=4")
    recipe = dasm("digits", base=base).with_(**changes)
    found = distill(recipe, data, ipc=2, settings=QUIET).stored
    assert torch.equal(found, distill(base, data, ipc=2, settings=QUIET).stored)


def test_from_easy_to_hard(digits: Data, tmp_path: Path) -> None:
    """Acceptance: pools become harder and differ; what was learnt has become easier."""
    base = idc("digits").with_(
        curriculum__iterations=6, curriculum__steps=5, pool__network="convnet2:width=16", pool__samples=64
    )
    recipe = dasm("digits", base=base).with_(
        curriculum__sizes=(2, 2, 2, 2),
        curriculum__scorer_epochs=100,
        curriculum__training__lr=0.05,
        curriculum__verify=True,
    )
    distill(recipe, digits, ipc=8, out=tmp_path / "run", settings=QUIET)
    told = json.loads((tmp_path / "run" / "record.json").read_text())["segments"]
    # By the networks of each segment: they differ, and those that know more find everything easier.
    harder = [entry["difficulty"] / entry["difficulty_of_all"] for entry in told[1:]]
    assert harder == sorted(harder) and harder[0] < 0.7 and harder[-1] > 1
    assert all(entry["overlap"] < 0.6 for entry in told[1:])
    # What became of the pools: by the networks of the next segment, and with verify after the last one as well.
    assert "pool_easier" not in told[0] and all(entry["pool_easier"] > 0.55 for entry in told[1:])
