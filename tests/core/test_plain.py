from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import pytest
import yaml

from limbeck import registry
from limbeck.core.contracts import Part
from limbeck.core.errors import InputError
from limbeck.core.plain import completed, decode_dataclass, decode_recipe, encode
from limbeck.core.recipe import Recipe
from limbeck.curricula.all_at_once import AllAtOnce
from limbeck.initializers.real import Mixed
from limbeck.methods.dream import dream
from limbeck.methods.idc import idc
from limbeck.parametrizations.plain import Plain

EVERY = [(name, preset) for name, method in registry.methods().items() for preset in method.presets]


@dataclass(frozen=True, kw_only=True)
class Sample:
    whole: int
    number: float
    flag: bool
    text: str
    choice: Literal["a", 2, True]
    path: Path
    pair: tuple[int, float]
    many: tuple[str, ...]
    maybe: int | None
    several: int | str
    part: Part


GOOD = {
    "whole": 3,
    "number": 0.5,
    "flag": True,
    "text": "x",
    "choice": "a",
    "path": "a/b",
    "pair": [1, 2],
    "many": ["x", "y"],
    "maybe": None,
    "several": "z",
    "part": {"part": "all_at_once", "iterations": 1, "steps": 2},
}


def sample(**changes: Any) -> Sample:
    return decode_dataclass(Sample, {**GOOD, **changes}, "here", registry.parts())


@pytest.mark.parametrize(("name", "preset"), EVERY)
def test_every_recipe_survives_yaml(name: str, preset: str) -> None:
    recipe = registry.method(name).recipe(preset)
    text = yaml.safe_dump(encode(recipe), sort_keys=False)
    back = decode_recipe(yaml.safe_load(text), registry.parts())
    assert back == recipe
    assert str(back) == str(recipe)
    assert yaml.safe_dump(encode(back), sort_keys=False) == text


def test_small_and_large_numbers_survive_yaml() -> None:
    for lr in (1e-4, 1e-5, 1e-30, 0.1 + 0.2, 1e22, 3.0):
        recipe = idc().with_(optimizer__lr=lr)
        back = decode_recipe(yaml.safe_load(yaml.safe_dump(encode(recipe))), registry.parts())
        assert back.optimizer == recipe.optimizer


def test_every_field_is_written() -> None:
    plain = encode(dream())
    assert plain["sampler"]["part"] == "representative"
    assert plain["sampler"]["clustering"] == {
        "candidates": 0,
        "max_sweeps": 100,
        "tolerance": 1e-4,
        "normalize": True,
        "repeated_starts": False,
        "empty": "reseed",
        "warm_sweeps": 0,
        "distinct": True,
        "features": "embedding",
    }
    assert plain["augmentation"]["operations"] == ["color", "crop", "cutout"]
    assert encode(idc().with_(pool__training__augmentation=None))["pool"]["training"]["augmentation"] is None


def test_all_kinds_of_fields() -> None:
    expected = Sample(
        whole=3,
        number=0.5,
        flag=True,
        text="x",
        choice="a",
        path=Path("a/b"),
        pair=(1, 2.0),
        many=("x", "y"),
        maybe=None,
        several="z",
        part=AllAtOnce(iterations=1, steps=2),
    )
    assert sample() == expected
    assert encode(expected) == {**GOOD, "pair": [1, 2.0], "path": str(Path("a/b"))}
    assert sample(many=[]).many == ()
    assert sample(maybe=4).maybe == 4
    assert sample(several=5).several == 5


def test_a_whole_number_is_a_number_and_becomes_a_float() -> None:
    value = sample(number=2).number
    assert value == 2.0 and type(value) is float


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"whole": True}, "here.whole must be a whole number, not True (bool)."),
        ({"whole": 2.0}, "here.whole must be a whole number, not 2.0 (float)."),
        ({"whole": "2"}, "here.whole must be a whole number, not '2' (str)."),
        ({"whole": None}, "here.whole must be a whole number, not None (NoneType)."),
        ({"number": True}, "here.number must be a finite number, not True (bool)."),
        ({"number": "1e-4"}, "here.number must be a finite number, not '1e-4' (str)."),
        ({"flag": 1}, "here.flag must be true or false, not 1 (int)."),
        ({"text": 1}, "here.text must be a text, not 1 (int)."),
        ({"path": 1}, "here.path must be a path, not 1 (int)."),
        ({"choice": 1}, "unknown value of here.choice '1'; known: 2, True, a."),
        ({"choice": 2.0}, "unknown value of here.choice '2.0'; known: 2, True, a."),
        ({"pair": [1]}, "here.pair must hold 2 values, not 1."),
        ({"pair": [1, "x"]}, "here.pair[1] must be a finite number, not 'x' (str)."),
        ({"pair": "ab"}, "here.pair must be a list, not 'ab' (str)."),
        ({"many": "ab"}, "here.many must be a list, not 'ab' (str)."),
        ({"many": ["x", 1]}, "here.many[1] must be a text, not 1 (int)."),
        ({"maybe": "x"}, "here.maybe must be a whole number, not 'x' (str)."),
        ({"several": 1.5}, "here.several must be a text, not 1.5 (float)."),
        ({"part": "plain"}, "here.part must be a mapping with the key 'part', not 'plain' (str)."),
        ({"part": {"steps": 1}}, "here.part must be a mapping with the key 'part', not {'steps': 1} (dict)."),
        ({"part": {"part": "plane"}}, "unknown part of here.part 'plane'; did you mean 'plain'?"),
        ({"part": {"part": ["plain"]}}, "unknown part of here.part '['plain']'"),
        ({"part": {"part": "all_at_once", "iterations": 1}}, "here.part.steps is missing; a run file names"),
        ({"holes": 1}, "unknown field of here 'holes'; did you mean 'whole'?"),
        ({3: 1}, "unknown field of here '3'"),
    ],
)
def test_what_does_not_fit_is_refused_with_its_place(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as caught:
        decode_dataclass(Sample, {**GOOD, **changes}, "here", registry.parts())
    assert str(caught.value).startswith(message)


def change(path: str, value: Any) -> Callable[[dict[str, Any]], None]:
    def edit(plain: dict[str, Any]) -> None:
        *outer, last = path.split(".")
        for key in outer:
            plain = plain[key]
        plain[last] = value

    return edit


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (change("sampler.intervall", 3), "unknown field of recipe.sampler 'intervall'; did you mean 'interval'?"),
        (lambda plain: plain["pool"]["training"].pop("lr"), "recipe.pool.training.lr is missing"),
        (lambda plain: plain.pop("labeler"), "recipe.labeler is missing"),
        (change("sampler.part", "representativ"), "unknown part of recipe.sampler 'representativ'; did you mean"),
        # A part of another slot is not known here.
        (change("sampler.part", "sgd"), "unknown part of recipe.sampler 'sgd'; known: epochwise, random,"),
        (change("sampler.clustering.empty", "rseed"), "unknown value of recipe.sampler.clustering.empty 'rseed'; did"),
        (change("optimizer.lr", "fast"), "recipe.optimizer.lr must be a finite number, not 'fast' (str)."),
        (change("curriculum.steps", True), "recipe.curriculum.steps must be a whole number, not True (bool)."),
        (change("augmentation.operations", ["colour"]), "unknown value of recipe.augmentation.operations[0] 'colour'"),
        (change("slots", 1), "unknown field of recipe 'slots'"),
    ],
)
def test_a_recipe_is_read_strictly(edit: Callable[[dict[str, Any]], Any], message: str) -> None:
    plain = copy.deepcopy(encode(dream()))
    edit(plain)
    with pytest.raises(InputError) as caught:
        registry.recipe_from_plain(plain)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize("data", [None, [], "idc", 3])
def test_a_recipe_is_a_mapping(data: Any) -> None:
    with pytest.raises(InputError, match="recipe must be a mapping of fields, not"):
        decode_dataclass(Recipe, data, "recipe")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_numbers_that_are_none_are_refused_both_ways(value: float) -> None:
    with pytest.raises(InputError, match="use a finite number"):
        encode(idc().with_(optimizer__lr=value))
    with pytest.raises(InputError, match=r"here.number must be a finite number"):
        sample(number=value)


def test_what_is_not_plain_is_refused() -> None:
    with pytest.raises(TypeError, match="holds a object, which is not plain data"):
        encode({"key": object()})


def test_encode_of_a_part_names_it() -> None:
    assert encode(Plain()) == {"part": "plain", "space": "unit"}
    assert encode({1: (1, None)}) == {"1": [1, None]}


@dataclass(frozen=True, kw_only=True)
class Grown:
    added: ClassVar[Mapping[str, Any]] = {"later": 1, "pair": (2, 3)}

    whole: int = 0
    later: int = 5
    pair: tuple[int, int] = (6, 7)


def test_fields_added_later_may_be_missing_and_are_what_was_done_before() -> None:
    assert decode_dataclass(Grown, {"whole": 4}, "here") == Grown(whole=4, later=1, pair=(2, 3))
    assert decode_dataclass(Grown, {"whole": 4, "later": 8}, "here") == Grown(whole=4, later=8, pair=(2, 3))
    with pytest.raises(InputError, match=r"here\.whole is missing"):
        decode_dataclass(Grown, {"later": 8}, "here")
    assert encode(Grown()) == {"whole": 0, "later": 5, "pair": [6, 7]}


def test_a_file_of_before_is_completed_for_comparison() -> None:
    now = {"one": encode(Grown(later=1, pair=(2, 3))), "many": [encode(Grown(later=1, pair=(2, 3)))], "rest": 3}
    before = {"one": {"whole": 0}, "many": [{"whole": 0}], "rest": 3}

    @dataclass(frozen=True)
    class Holder:
        one: Grown
        many: tuple[Grown, ...]
        rest: int

    like = Holder(Grown(), (Grown(),), 3)
    assert completed(before, like) == now
    assert completed(now, like) == now
    assert completed({"one": None, "many": [], "more": 1}, like) == {"one": None, "many": [], "more": 1}
    # What holds another part now is left as it is.
    assert completed({"part": "plain"}, Mixed()) == {"part": "plain"}
    assert completed({"part": "mixed"}, Mixed(choice="first")) == {"part": "mixed", "choice": "random"}


@pytest.mark.parametrize("kind", [kind for kind in registry.parts().values() if kind.added])
def test_added_fields_of_parts_exist(kind: type[Part]) -> None:
    plain = encode(kind())
    plain.pop("part")
    for name in kind.added:
        del plain[name]
    back = decode_dataclass(kind, plain, "part", registry.parts())
    assert {name: getattr(back, name) for name in kind.added} == kind.added
