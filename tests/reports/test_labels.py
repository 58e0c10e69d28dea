from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from limbeck.core.distilled import Distilled
from limbeck.core.recipe import Recipe
from limbeck.data import Data
from limbeck.initializers.real import Mixed
from limbeck.methods.dream import dream
from limbeck.methods.dsa import dsa
from limbeck.methods.idc import idc
from limbeck.reports.labels import fields_in_words, recipe_labels
from limbeck.samplers.epochwise import Epochwise

Label = Callable[..., list[str]]


@pytest.fixture
def labels(digits: Data) -> Label:
    def of(*recipes: Recipe | tuple[Recipe, int]) -> list[str]:
        sets = []
        for given in recipes:
            recipe, ipc = given if isinstance(given, tuple) else (given, 1)
            sets.append(Distilled(torch.zeros(10, ipc, 1, 8, 8), digits.spec, recipe, 0))
        return recipe_labels(sets)

    return of


BOTH = dream("small")


def test_a_name_is_enough_where_it_says_all(labels: Label) -> None:
    assert labels(BOTH, idc("small"), BOTH) == ["dream", "idc", "dream"]
    assert labels() == []


def test_parts_that_differ_are_named(labels: Label) -> None:
    only = BOTH.with_(initializer=Mixed())
    assert labels(BOTH, only, idc("small")) == ["dream (initializer=clustered)", "dream (initializer=mixed)", "idc"]
    neither = only.with_(sampler=Epochwise())
    assert labels(BOTH, only, neither) == [
        "dream (sampler=representative, initializer=clustered)",
        "dream (sampler=representative, initializer=mixed)",
        "dream (sampler=epochwise, initializer=mixed)",
    ]
    assert labels(BOTH, BOTH.with_(augmentation=None))[1] == "dream (augmentation=none)"


def test_fields_are_named_until_all_are_told_apart(labels: Label) -> None:
    other = BOTH.with_(sampler__interval=5, sampler__batch_size=32, optimizer__lr=0.5)
    named = labels(BOTH, other)
    assert len(set(named)) == 2
    assert all(name.count("=") == 1 for name in named)
    nested = labels(BOTH, BOTH.with_(pool__training__lr=0.25))
    assert nested == ["dream (pool.training.lr=0.01)", "dream (pool.training.lr=0.25)"]
    # A field of a part that one of them does not have.
    three = labels(BOTH, BOTH.with_(sampler__interval=5), BOTH.with_(sampler=Epochwise()))
    assert three == [
        "dream (sampler=representative, sampler.interval=10)",
        "dream (sampler=representative, sampler.interval=5)",
        "dream (sampler=epochwise)",
    ]


def test_the_base_says_more_than_its_parts(labels: Label) -> None:
    assert labels(BOTH, dream("small", base=dsa())) == ["dream (base=idc)", "dream (base=dsa)"]


def test_settings_that_depend_on_ipc_or_data_are_no_difference(labels: Label, digits: Data) -> None:
    other = BOTH.with_(curriculum__steps=7)
    assert labels((BOTH, 1), (other, 10)) == ["dream", "dream"]
    here, there = (
        Distilled(torch.zeros(10, 1, 1, 8, 8), spec, recipe, 0)
        for spec, recipe in ((digits.spec, BOTH), (replace(digits.spec, digest="other"), other))
    )
    assert recipe_labels([here, there]) == ["dream", "dream"]
    # What is named at one IPC is named at all.
    assert labels((BOTH, 1), (BOTH, 10), (other, 10)) == [
        *("dream (curriculum.steps=25)", "dream (curriculum.steps=25)", "dream (curriculum.steps=7)"),
    ]


def test_fields_in_words() -> None:
    plain = {"part": "a", "x": 0.5, "y": None, "z": True, "w": ["b", "c"], "v": {"part": "inner", "u": 1}}
    assert fields_in_words(plain) == [
        *(("x", "0.5"), ("y", "none"), ("z", "yes"), ("w", "b, c"), ("v", "inner"), ("v.u", "1")),
    ]
