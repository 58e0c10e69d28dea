from __future__ import annotations

from typing import Any

import pytest

from limbeck.core.errors import InputError
from limbeck.core.recipe import Recipe
from limbeck.initializers.clustered import Clustered
from limbeck.methods.ast import ast
from limbeck.methods.dream import PRESETS, dream
from limbeck.methods.idc import idc
from limbeck.methods.mtt import mtt
from limbeck.samplers.representative import Representative
from limbeck.training.clustering import Clustering

OFFICIAL = Clustering(normalize=False, repeated_starts=True, empty="zero", distinct=False)
IDC_PRESETS = ("cifar10", "cifar100", "svhn", "mnist", "fashion-mnist", "tiny-imagenet")


def fields(recipe: Recipe) -> Any:
    """The recipe, for reading the fields of its parts."""
    return recipe


@pytest.mark.parametrize("preset", IDC_PRESETS)
def test_the_paper(preset: str) -> None:
    recipe = fields(dream(preset))
    size = 64 if preset == "tiny-imagenet" else 128
    assert recipe.sampler == Representative(batch_size=size, per_cluster=1, interval=10, clustering=Clustering())
    assert recipe.initializer == Clustered(clustering=Clustering())
    assert recipe.curriculum.iterations == 1200 and recipe.curriculum.steps == 100
    # All else is IDC's.
    base = idc(preset)
    rest = recipe.with_(
        name="idc",
        base="",
        sampler=base.sampler,
        initializer=base.initializer,
        references=base.references,
        curriculum__iterations=2000,
    )
    assert rest == base


@pytest.mark.parametrize("preset", ["cifar10", "tiny-imagenet"])
def test_the_code(preset: str) -> None:
    recipe = fields(dream(f"{preset}-code"))
    size = 64 if preset == "tiny-imagenet" else 128
    assert recipe.sampler == Representative(batch_size=size, interval=10, clustering=OFFICIAL)
    assert recipe.initializer == Clustered(clustering=OFFICIAL)
    assert recipe.curriculum.iterations == 2000
    # The loader of network training shares the size of the real batch.
    assert recipe.pool.training.batch_size == size
    assert recipe.parametrization.grid == "official"


@pytest.mark.parametrize(
    ("preset", "iterations"), [("imagenet10", 500), ("imagenet100", 500), ("mini-speech-commands", 1000)]
)
def test_sets_that_are_not_in_the_paper_keep_the_base_s_length(preset: str, iterations: int) -> None:
    assert fields(dream(preset)).curriculum.iterations == iterations
    assert fields(dream(f"{preset}-code")).curriculum.iterations == iterations


def test_our_presets_suit_a_cpu() -> None:
    recipe = fields(dream("digits"))
    assert (recipe.sampler.batch_size, recipe.sampler.interval) == (32, 10)
    assert recipe.curriculum == idc("digits").curriculum
    assert "digits-code" not in PRESETS and "small-code" not in PRESETS


def test_spoken_digits_are_as_long_as_idc_s() -> None:
    """The 1200 iterations are the paper's, for the sets of the paper."""
    assert fields(dream("fsdd")).curriculum == idc("fsdd").curriculum
    assert "fsdd-code" not in PRESETS


@pytest.mark.parametrize("base", [ast("cifar10"), mtt("cifar10")], ids=lambda base: base.name)
def test_what_has_no_real_batches_gets_the_initialization_alone(base: Recipe) -> None:
    recipe = fields(dream(base=base))
    assert recipe.sampler is None and recipe.initializer == Clustered(clustering=Clustering())
    recipe.check()
    with pytest.raises(InputError, match="objective 'trajectory_matching' never uses real batches; leave the slot"):
        recipe.with_(sampler=Representative()).check()


def test_it_plugs_into_another_recipe() -> None:
    base = idc("svhn", factor=1).with_(name="mine", optimizer__lr=0.125)
    recipe = fields(dream(base=base))
    assert (recipe.name, recipe.base) == ("dream", "mine")
    assert recipe.parametrization == base.parametrization
    assert recipe.optimizer == base.optimizer
    assert recipe.curriculum == base.curriculum
    assert recipe.sampler.batch_size == 128
    assert recipe.references == ("liu2023dream", "kim2022idc")
    recipe.check()


def test_with_a_base_only_the_sampler_s_settings_are_the_preset_s() -> None:
    recipe = fields(dream("tiny-imagenet-code", base=idc("cifar10")))
    assert recipe.sampler == Representative(batch_size=64, clustering=OFFICIAL)
    assert recipe.pool == idc("cifar10").pool
    assert recipe.parametrization == idc("cifar10").parametrization


def test_a_base_without_networks_is_refused() -> None:
    from limbeck.methods.random import random

    with pytest.raises(InputError, match="'representative' of recipe 'dream' would have no effect"):
        dream(base=random()).check()
    with pytest.raises(InputError, match="needs embeddings, which no other part offers; fill the slot 'pool'"):
        dream(base=random()).with_(sampler=None).check()


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_make_sense(preset: str) -> None:
    recipe = dream(preset)
    recipe.check()
    assert (recipe.name, recipe.base) == ("dream", "idc")


@pytest.mark.parametrize(("preset", "near"), [("cifar-10", "cifar10"), ("digits-code", "digits")])
def test_an_unknown_preset_is_refused(preset: str, near: str) -> None:
    with pytest.raises(InputError, match=rf"unknown preset of dream '{preset}'; did you mean '{near}'\?"):
        dream(preset)
