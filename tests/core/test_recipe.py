from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from limbeck.core.context import Context
from limbeck.core.errors import InputError
from limbeck.core.recipe import SLOTS, Recipe, part_name
from limbeck.curricula.all_at_once import AllAtOnce
from limbeck.data import Data
from limbeck.initializers.coresets import KCenter
from limbeck.initializers.noise import Noise
from limbeck.labelers.by_pool import ByPool
from limbeck.labelers.taught import Taught
from limbeck.methods.dm import dm
from limbeck.methods.dream import dream
from limbeck.methods.dsa import dsa
from limbeck.methods.herding import herding
from limbeck.methods.idc import idc
from limbeck.methods.random import random
from limbeck.methods.sre2l import sre2l
from limbeck.optimizers.adam import Adam
from limbeck.optimizers.sgd import SGD
from limbeck.pools.pretrained import Pretrained
from limbeck.pools.trained_on_real import TrainedOnReal
from limbeck.samplers.epochwise import Epochwise
from limbeck.samplers.representative import Representative


def test_recipes_are_checked_before_anything_runs() -> None:
    for recipe in (idc(), dream(), random(), herding(), idc(factor=1)):
        recipe.check()


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        (
            idc().with_(sampler=None),
            "objective 'gradient_matching' of recipe 'idc' needs real batches, which no other part offers; "
            "fill the slot 'sampler'.",
        ),
        (
            herding().with_(pool=None),
            "initializer 'herding' of recipe 'herding' needs embeddings, which no other part offers; "
            "fill the slot 'pool'.",
        ),
        (
            dream().with_(curriculum=None),
            "objective 'gradient_matching' of recipe 'dream' needs schedule, which no other part offers; "
            "fill the slot 'curriculum'.",
        ),
    ],
)
def test_a_missing_need_names_who_needs_it_and_the_slot_to_fill(recipe: Recipe, message: str) -> None:
    with pytest.raises(InputError) as caught:
        recipe.check()
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("slot", "part", "fact"),
    [
        ("sampler", Epochwise(), "real batches"),
        ("pool", TrainedOnReal(), "embeddings or networks or networks trained on chosen images"),
        ("curriculum", AllAtOnce(), "schedule"),
        ("optimizer", SGD(), "image updates"),
    ],
)
def test_what_would_have_no_effect_is_refused(slot: str, part: Any, fact: str) -> None:
    recipe = random().with_(**{slot: part})
    with pytest.raises(InputError) as caught:
        recipe.check()
    assert str(caught.value) == (
        f"{slot} '{part_name(part)}' of recipe 'random' would have no effect: a recipe without objective never uses "
        f"{fact}; leave the slot '{slot}' empty (none)."
    )


def test_a_useless_part_is_not_sent_for_what_it_needs() -> None:
    # It needs a pool, but with one it would be of no use either.
    with pytest.raises(InputError, match="sampler 'representative' of recipe 'random' would have no effect"):
        random().with_(sampler=Representative()).check()


def test_the_remedy_names_the_part_that_does_not_offer_it() -> None:
    with pytest.raises(InputError) as caught:
        dsa().with_(labeler=ByPool()).check()
    assert str(caught.value) == (
        "labeler 'by_pool' of recipe 'dsa' needs labelling networks, which no other part offers; fill the slot 'pool' "
        "with a part that does, in place of 'trained_on_synthetic'."
    )


@pytest.mark.parametrize("slot", ["initializer", "parametrization", "labeler"])
def test_slots_that_every_recipe_needs_cannot_be_empty(slot: str) -> None:
    with pytest.raises(InputError, match=slot):
        random().with_(**{slot: None}).check()


def test_a_part_in_the_wrong_slot_is_refused() -> None:
    with pytest.raises(InputError) as caught:
        idc().with_(sampler=SGD()).check()
    assert str(caught.value) == "SGD is no sampler; the slot 'sampler' takes a Sampler."


def test_parts_are_checked_against_data_when_there_is_some(context_of: Callable[..., Context]) -> None:
    recipe = idc("digits", factor=5).with_(pool__network="convnet1")
    recipe.check()
    with pytest.raises(InputError, match="cannot cut 8x8 images with factor 5; use a factor from 1 to 4"):
        recipe.check(context_of())
    with pytest.raises(InputError, match=r"unknown network 'convnett3'; did you mean 'convnet3'\?"):
        idc("digits").with_(pool__network="convnett3").check(context_of())


def test_with_changes_a_copy() -> None:
    recipe = dream()
    changed = recipe.with_(sampler__interval=20, pool__training__lr=0.1, name="mine", augmentation=None)
    assert changed.sampler.interval == 20 and recipe.sampler.interval == 10  # type: ignore[union-attr]
    assert changed.pool.training.lr == 0.1 and recipe.pool.training.lr == 0.01  # type: ignore[union-attr]
    assert changed.name == "mine" and changed.augmentation is None
    assert changed.with_(sampler__interval=10, pool__training__lr=0.01, name="dream") == recipe.with_(augmentation=None)


def test_with_applies_changes_in_order() -> None:
    recipe = idc().with_(sampler=Epochwise(batch_size=3), sampler__batch_size=4)
    assert recipe.sampler == Epochwise(batch_size=4)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"smapler": None}, "unknown slot 'smapler'; did you mean 'sampler'?"),
        ({"smapler__interval": 1}, "unknown slot 'smapler'; did you mean 'sampler'?"),
        ({"sampler__intervall": 1}, "unknown field of sampler 'Representative' 'intervall'; did you mean 'interval'?"),
        ({"pool__training__rate": 1}, "unknown field of pool.training 'Training' 'rate'; known: augmentation,"),
        ({"sampler__interval__x": 1}, "unknown field of sampler.interval 'int' 'x'; known: none."),
    ],
)
def test_with_refuses_unknown_names(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as caught:
        dream().with_(**changes)
    assert str(caught.value).startswith(message)


def test_with_refuses_fields_of_an_empty_slot() -> None:
    with pytest.raises(InputError, match="the slot 'sampler' is empty, so its field 'interval' cannot be set"):
        random().with_(sampler__interval=3)


@pytest.mark.parametrize(
    ("part", "name"),
    [(SGD(), "sgd"), (SGD, "sgd"), (KCenter(), "k_center"), (TrainedOnReal, "trained_on_real"), (Noise, "noise")],
)
def test_part_names(part: Any, name: str) -> None:
    assert part_name(part) == name


@pytest.mark.parametrize("name", ["IDCAugment:idc_augment", "AllAtOnce:all_at_once", "X:x", "KMeansPlus:k_means_plus"])
def test_part_names_of_any_case(name: str) -> None:
    cls, _, expected = name.partition(":")
    assert part_name(type(cls, (Noise,), {})) == expected


def test_printing_shows_every_slot_and_value() -> None:
    recipe = dream("digits").with_(curriculum__iterations=4, curriculum__steps=25)
    lines = str(recipe).splitlines()
    assert lines[0] == "dream on idc"
    assert [line.split()[0] for line in lines[1:]] == [*SLOTS, "references"]
    assert "  curriculum      all_at_once(iterations=4, steps=25)" in lines
    assert "operations=('color', 'crop')), cutmix=0.5" in str(dream("digits"))
    assert "  sampler         -" in str(random()).splitlines()
    assert str(random()).splitlines()[0] == "random"


def test_printing_shows_nested_settings_as_values() -> None:
    line = next(line for line in str(herding("small")).splitlines() if line.startswith("  pool"))
    assert line.startswith("  pool            pretrained(network='convnet3:width=32', training=Training(lr=0.01,")


def test_citations_come_once_and_the_method_first() -> None:
    keys = dream().cite()
    assert keys[:2] == ("liu2023dream", "kim2022idc")
    assert len(set(keys)) == len(keys)
    assert "zhao2021dsa" in keys
    assert herding().cite() == ("welling2009herding",)
    assert random().cite() == ("zhao2021dsa",)


def test_parts_come_in_the_order_of_the_slots() -> None:
    assert [slot for slot, _ in dream().parts()] == list(SLOTS)
    assert [slot for slot, _ in herding().parts()] == ["initializer", "parametrization", "pool", "labeler"]


def test_a_part_that_offers_something_new_must_be_used() -> None:
    @dataclass(frozen=True, kw_only=True)
    class Extra(Pretrained):
        def offers(self) -> frozenset[str]:
            return frozenset({"teacher"})

        def needs(self) -> frozenset[str]:
            return frozenset({"moon phase"})

    with pytest.raises(InputError, match="pool 'extra' of recipe 'herding' would have no effect"):
        herding().with_(pool=Extra(), initializer=Noise()).check()
    with pytest.raises(InputError, match="needs moon phase, which no other part offers; add a part that offers it"):
        herding().with_(pool=Extra(), initializer=Noise(), labeler=Taught()).check()


def test_whitened_images_are_not_clamped_between_black_and_white(
    context_of: Callable[..., Context], whitened: Data
) -> None:
    white = context_of(whitened.train)
    for recipe in (idc("digits"), dm("cifar10"), sre2l("digits").with_(optimizer=Adam(clamp=False))):
        recipe._check_whitened(white)
    for recipe in (dm("cifar10").with_(optimizer__clamp=True), dm("cifar10").with_(optimizer__clamp="below")):
        recipe._check_whitened(context_of())
        with pytest.raises(InputError, match="'sgd' of recipe 'dm' clamps stored images between black and white"):
            recipe.check(white)
    with pytest.raises(InputError, match="set its clamp to false, the parametrization's space to unit, or load"):
        sre2l("digits").check(white)
