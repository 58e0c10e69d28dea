"""Methods on top of one another run from Python and from the command line, to the same set."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import limbeck as lb
from limbeck.cli.main import main
from limbeck.core.recipe import Recipe
from limbeck.data import load
from limbeck.engine.settings import Settings
from limbeck.methods.ast import ast
from limbeck.methods.dasm import dasm
from limbeck.methods.dream import dream
from limbeck.methods.dsdm import dsdm
from limbeck.methods.mtt import mtt

NETWORK = "convnet1:width=4"
SEGMENTS: dict[str, Any] = {
    f"curriculum__{name}": value
    for name, value in {"sizes": (1, 1), "least": 1, "scorers": 1, "scorer_epochs": 1}.items()
}
SEGMENT_WORDS = ["--curriculum.sizes", "1", "1", "--curriculum.least", "1"]
SEGMENT_WORDS += ["--curriculum.scorers", "1", "--curriculum.scorer-epochs", "1"]
SHORT: dict[str, Any] = {"curriculum__iterations": 2, "pool__network": NETWORK}
SHORT_WORDS = ["--curriculum.iterations", "2", "--pool.network", NETWORK]
TRAINED: dict[str, Any] = {"pool__count": 1, "pool__epochs": 1}
TRAINED_WORDS = ["--pool.count", "1", "--pool.epochs", "1"]
COURSE: dict[str, Any] = {"pool__count": 1, "pool__starts": 1, "pool__course__epochs": 2}
COURSE_WORDS = ["--pool.count", "1", "--pool.starts", "1", "--pool.course.epochs", "2"]
OWN: dict[str, Any] = {
    f"curriculum__experts__{name}": value for name, value in (("count", 1), ("epochs", 2), ("starts", 1))
}
OWN_WORDS = ["--curriculum.experts.count", "1", "--curriculum.experts.epochs", "2", "--curriculum.experts.starts", "1"]
STUDENT, STUDENT_WORDS = {"objective__student_steps": 2}, ["--objective.student-steps", "2"]
STACKS: dict[str, tuple[Callable[[], Recipe], dict[str, Any], list[str]]] = {
    "dream on dsdm": (lambda: dream("digits", base=dsdm("digits")), TRAINED, TRAINED_WORDS),
    "dream on ast": (
        lambda: dream("digits", base=ast("digits", ipc=2)),
        {**COURSE, **STUDENT},
        [*COURSE_WORDS, *STUDENT_WORDS],
    ),
    "dasm on dream": (
        lambda: dasm("digits", base=dream("digits", ipc=2)),
        {**SEGMENTS, "curriculum__steps": 1, "pool__samples": 16},
        [*SEGMENT_WORDS, "--curriculum.steps", "1", "--pool.samples", "16"],
    ),
    "dasm on dsdm": (
        lambda: dasm("digits", base=dsdm("digits")),
        {**SEGMENTS, **TRAINED},
        [*SEGMENT_WORDS, *TRAINED_WORDS],
    ),
    "dasm on mtt": (
        lambda: dasm("digits", base=mtt("digits", ipc=2)),
        {**SEGMENTS, **COURSE, **OWN, **STUDENT},
        [*SEGMENT_WORDS, *COURSE_WORDS, *OWN_WORDS, *STUDENT_WORDS],
    ),
    "dasm on ast": (
        lambda: dasm("digits", base=ast("digits", ipc=2)),
        {**SEGMENTS, **COURSE, **OWN, **STUDENT},
        [*SEGMENT_WORDS, *COURSE_WORDS, *OWN_WORDS, *STUDENT_WORDS],
    ),
}


@pytest.mark.parametrize("name", STACKS)
def test_both_ways_end_alike(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make, changes, words = STACKS[name]
    method, _, base = name.partition(" on ")
    recipe = make().with_(**SHORT).with_(**changes)
    settings = Settings(device="cpu", progress="quiet", network_cache=tmp_path / "cache")
    found = lb.distill(recipe, load("digits"), ipc=2, settings=settings)
    command = ["distill", method, "--base", base, "--preset", "digits", "--data", "digits", "--ipc", "2", *SHORT_WORDS]
    flags = ["--device", "cpu", "--progress", "quiet", "--network-cache", str(tmp_path / "cache")]
    assert main([*command, *words, *flags, "--out", str(tmp_path / "run")]) == 0, capsys.readouterr().err
    loaded = lb.load(tmp_path / "run")
    assert loaded.recipe == recipe and (loaded.recipe.name, loaded.recipe.base) == (method, base)
    assert torch.equal(loaded.stored, found.stored) and torch.isfinite(found.stored).all()
    assert loaded.segments == ((1, 1) if method == "dasm" else ())


def test_the_sampler_is_refused_where_nothing_is_compared_with_real_batches(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["distill", "dream", "--base", "ast", "--data", "digits", "--with", "sampler=representative"]
    assert main([*words, "--out", str(tmp_path / "run")]) == 2
    assert "sampler 'representative' of recipe 'dream' would have no effect" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
