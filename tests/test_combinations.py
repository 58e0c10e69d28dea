from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from limbeck import combinations, registry
from limbeck.combinations import AddOn, Verdict, add_ons, combine, verdict
from limbeck.core.errors import InputError
from limbeck.core.recipe import Recipe
from limbeck.curricula.all_at_once import AllAtOnce
from limbeck.curricula.one_by_one import OneByOne
from limbeck.initializers.noise import Noise
from limbeck.initializers.real import Mixed
from limbeck.labelers.by_pool import ByPool
from limbeck.labelers.taught import Taught
from limbeck.methods.dc import dc
from limbeck.methods.dm import dm
from limbeck.methods.dream import dream
from limbeck.methods.dsdm import dsdm
from limbeck.methods.mtt import mtt
from limbeck.methods.sre2l import sre2l
from limbeck.parametrizations.partition import Partition
from limbeck.registry import Method
from limbeck.samplers.representative import Representative
from limbeck.testing import starting_recipe

PAGE = Path(__file__).resolve().parent.parent / "docs" / "combinations.md"


def add_on(name: str) -> AddOn:
    return next(one for one in add_ons() if one.name == name)


def test_the_page_is_what_is_generated_now() -> None:
    written = PAGE.read_text(encoding="utf-8")
    assert written == combinations.page(), "run limbeck list combinations --markdown > docs/combinations.md"


def test_the_page_has_every_method_and_every_sentence() -> None:
    page = combinations.page()
    rows = [line for line in page.splitlines() if line.startswith("| [")]
    assert {re.findall(r"\[(\w+)\]", row)[0] for row in rows} == set(registry.methods())
    referred = set(re.findall(r"no\[\^(\d+)\]", page))
    explained = dict(re.findall(r"^\[\^(\d+)\]: (.+)$", page, flags=re.M))
    assert referred == set(explained) and len(set(explained.values())) == len(explained)
    refused = [one for one in combinations.verdicts() if one.outcome == "refused"]
    assert all(one.reason.replace(f"recipe '{one.method}'", "recipe …") in explained.values() for one in refused)


def test_add_ons_change_their_slots_alone() -> None:
    recipe = dm("digits")
    assert combine(recipe, add_on("sampler")) == recipe.with_(sampler=Representative())
    assert combine(dsdm("digits"), add_on("labels")) == dsdm("digits").with_(labeler=ByPool())
    packed = combine(recipe, add_on("partition"))
    assert packed == recipe.with_(
        parametrization=Partition(space=recipe.parametrization.space, pad=packed.parametrization.pad),  # type: ignore[attr-defined]
        initializer=Mixed(),
    )


def test_packed_images_keep_their_space_and_a_start_that_packs_or_is_noise() -> None:
    for recipe in (dc("cifar10"), dc("digits")):
        packed = combine(recipe, add_on("partition"))
        assert packed.parametrization.space == recipe.parametrization.space
    noisy = combine(dc("cifar10"), add_on("partition"))
    assert isinstance(noisy.initializer, Noise) and noisy.parametrization.pad == 0.0  # type: ignore[attr-defined]


def test_what_a_method_has_keeps_its_settings() -> None:
    recipe = dream("digits")
    assert combine(recipe, add_on("sampler")) is recipe and combine(recipe, add_on("initializer")) is recipe
    assert combine(sre2l("digits"), add_on("labels")) == sre2l("digits")


def test_labels_are_the_teachers_where_there_is_one() -> None:
    plain = sre2l("digits").with_(labeler=dm("digits").labeler)
    assert isinstance(combine(plain, add_on("labels")).labeler, Taught)
    assert isinstance(combine(mtt("digits"), add_on("labels")).labeler, ByPool)


@pytest.mark.parametrize(
    ("name", "what", "outcome", "reason"),
    [
        ("dm", "sampler", "runs", ""),
        ("dream", "initializer", "own", ""),
        ("mtt", "sampler", "refused", "objective 'trajectory_matching' never uses real batches"),
        ("random", "sampler", "refused", "a recipe without objective never uses real batches"),
        ("dm", "labels", "refused", "needs labelling networks, which no other part offers"),
        ("sre2l", "labels", "own", ""),
    ],
)
def test_verdicts(name: str, what: str, outcome: str, reason: str) -> None:
    found = verdict(registry.method(name), add_on(what))
    assert found == Verdict(name, what, outcome, found.reason)  # type: ignore[arg-type]
    assert reason in found.reason and bool(found.reason) == bool(reason)


def test_what_belongs_to_the_whole_set_is_no_matter_of_groups() -> None:
    grouped = AddOn("groups", "groups", "", lambda recipe: recipe.with_(curriculum=OneByOne(steps=2)))
    assert verdict(registry.method("dm"), grouped).outcome == "runs"
    assert "learns a number for all images" in verdict(registry.method("mtt"), grouped).reason


@dataclass(frozen=True)
class Course:
    """Stands for a method that changes the course of others."""

    def __call__(self, preset: str = "digits", base: Recipe | None = None) -> Recipe:
        base = base or dm(preset)
        if base.objective is None:
            raise InputError(f"base '{base.name}' has no course; choose a method that learns.")
        return base.with_(name="dasm", base=base.name, curriculum=AllAtOnce(iterations=7, steps=2))


def test_a_curriculum_of_a_method_is_an_add_on_where_it_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = Method(name="dasm", make=Course(), presets=("digits",), summary="A course.")
    monkeypatch.setattr(combinations, "methods", lambda: {**registry.methods(), "dasm": entry})
    assert [one.name for one in add_ons()].index("dasm") == 3
    assert add_on("dasm").flags == "limbeck distill dasm --base METHOD"
    course = add_on("dasm")
    assert combine(dm("digits"), course).curriculum == AllAtOnce(iterations=7, steps=2)
    assert verdict(entry, course).outcome == "own"
    assert verdict(registry.method("idc"), course).outcome == "runs"
    assert verdict(registry.method("random"), course).reason.startswith("base 'random' has no course")
    # A method that takes no base lends its curriculum.
    alone = replace(entry, make=lambda preset="digits": Course()(preset))
    monkeypatch.setattr(combinations, "methods", lambda: {**registry.methods(), "dasm": alone})
    assert combine(dm("digits"), add_on("dasm")) == dm("digits").with_(curriculum=AllAtOnce(iterations=7, steps=2))
    assert add_on("dasm").flags == "--with curriculum=all_at_once"
    assert "would have no effect" in verdict(registry.method("random"), add_on("dasm")).reason


def test_recipes_start_from_the_smallest_preset() -> None:
    assert starting_recipe(registry.method("dm")) == dm("digits")
    assert starting_recipe(registry.method("random")) == registry.method("random").recipe()
