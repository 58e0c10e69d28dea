from __future__ import annotations

import json

import pytest
import yaml

from limbeck import combinations, registry
from limbeck.core.plain import encode
from limbeck.core.recipe import SLOTS
from limbeck.methods.dream import dream
from limbeck.methods.dsdm import dsdm
from limbeck.methods.idc import idc
from limbeck.methods.random import random
from tests.cli.conftest import Command

PLURALS = {**{slot: f"{slot}s" for slot in SLOTS}, "curriculum": "curricula"}


def test_methods_and_baselines_are_listed(limbeck: Command) -> None:
    done = limbeck("list", "methods", "--json")
    assert done.status == 0
    assert done.err == ""
    kinds = {entry["name"]: entry["kind"] for entry in done.json}
    assert kinds["random"] == kinds["herding"] == kinds["kcenter"] == kinds["forgetting"] == "baseline"
    assert kinds["idc"] == kinds["dream"] == "method"
    assert list(kinds.values()) == sorted(kinds.values(), reverse=True)
    assert all(entry["summary"].endswith(".") for entry in done.json)
    assert limbeck("list", "--json").json == done.json


@pytest.mark.parametrize("slot", SLOTS)
def test_parts_of_every_slot_are_listed(slot: str, limbeck: Command) -> None:
    entries = limbeck("list", PLURALS[slot], "--json").json
    assert [entry["name"] for entry in entries] == list(registry.parts_of(slot))
    assert all(entry["slot"] == slot and entry["summary"] for entry in entries)
    assert limbeck("list", slot, "--json").json == entries


@pytest.mark.parametrize("what", ["networks", "data", "protocols"])
def test_other_listings(what: str, limbeck: Command) -> None:
    found = [entry["name"] for entry in limbeck("list", what, "--json").json]
    expected = {"networks": "resnet18", "data": "digits", "protocols": "limbeck"}[what]
    assert expected in found


@pytest.mark.parametrize("what", ["methods", "samplers", "labelers", "networks", "data", "protocols"])
def test_tables_hold_every_name(what: str, limbeck: Command) -> None:
    done = limbeck("list", what)
    assert done.status == 0
    names = [entry["name"] for entry in limbeck("list", what, "--json").json]
    # Long names are broken over lines.
    assert [name for name in names if name[:8] not in done.out] == []


def test_combinations_are_listed_with_their_sentences(limbeck: Command) -> None:
    entries = limbeck("list", "combinations", "--json").json
    found = {(entry["method"], entry["add_on"]): entry for entry in entries}
    assert found["dm", "sampler"]["outcome"] == "runs" and found["dm", "sampler"]["reason"] == ""
    assert found["dream", "sampler"]["outcome"] == "own"
    assert "never uses real batches" in found["mtt", "sampler"]["reason"]
    assert {method for method, _ in found} == set(registry.methods())
    table = limbeck("list", "combinations")
    assert table.status == 0 and "--with sampler=representative" in table.out
    assert [name for name in registry.methods() if name not in table.out] == []
    written = limbeck("list", "combinations", "--markdown")
    assert written.out == combinations.page() and written.err == ""


@pytest.mark.parametrize("add_on", combinations.add_ons(), ids=lambda add_on: add_on.name)
def test_flags_of_an_add_on_make_its_recipe(add_on: combinations.AddOn, limbeck: Command) -> None:
    if not add_on.flags.startswith("--"):
        pytest.skip("is a method that is put on others")
    shown = limbeck("show", "dsdm", "--preset", "digits", *add_on.flags.split(), "--json").json
    assert shown == encode(combinations.combine(dsdm("digits"), add_on))


def test_markdown_is_for_combinations(limbeck: Command) -> None:
    done = limbeck("list", "methods", "--markdown")
    assert done.status == 2
    assert done.sentence == "--markdown is there for combinations, not for methods; leave it out."


def test_an_unknown_listing_is_refused(limbeck: Command) -> None:
    done = limbeck("list", "sampelrs")
    assert done.status == 2
    assert done.sentence == "unknown listing 'sampelrs'; did you mean 'samplers'?"


def test_a_recipe_as_text(limbeck: Command) -> None:
    done = limbeck("show", "dream", "--data", "digits")
    assert done.status == 0
    assert done.out == f"{dream('digits')}\n"
    assert "presets: " in done.err


def test_settings_follow_the_images_per_class(limbeck: Command) -> None:
    for words in (["dc"], ["dream", "--base", "dc"]):
        shown = json.loads(limbeck("show", *words, "--preset", "cifar10", "--ipc", "50", "--json").out)
        assert shown["curriculum"]["steps"] == 50 and shown["pool"]["epochs"] == 10


def test_a_recipe_as_json_and_yaml_can_be_read_back(limbeck: Command) -> None:
    for words, read in ((["--json"], json.loads), (["--as", "yaml"], yaml.safe_load)):
        done = limbeck("show", "dream", "--preset", "digits", *words)
        assert done.status == 0
        assert done.err == ""
        assert read(done.out) == encode(dream("digits"))
        assert registry.recipe_from_plain(read(done.out)) == dream("digits")


@pytest.mark.parametrize("name", sorted(registry.methods()))
def test_every_method_can_be_shown_in_every_form(name: str, limbeck: Command) -> None:
    for form in ("text", "yaml", "python"):
        done = limbeck("show", name, "--as", form)
        assert done.status == 0
        assert name in done.out
    assert limbeck("show", name, "--json").json["name"] == name


def test_the_python_form_is_the_file_of_the_method(limbeck: Command) -> None:
    done = limbeck("show", "random", "--as", "python")
    compile(done.out, "random.py", "exec")
    assert "def random(" in done.out


def test_changes_are_shown(limbeck: Command) -> None:
    words = ["--data", "digits", "--with", "augmentation=none", "--optimizer.lr", "0.5", "--optimizer.no-clamp"]
    shown = limbeck("show", "idc", *words, "--json").json
    assert shown == encode(idc("digits").with_(augmentation=None, optimizer__lr=0.5, optimizer__clamp=False))
    based = limbeck("show", "dream", "--data", "digits", "--base", "idc", "--json").json
    assert based == encode(dream("digits", base=idc("digits")))


def test_a_senseless_recipe_is_not_shown(limbeck: Command) -> None:
    done = limbeck("show", "idc", "--with", "sampler=none")
    assert done.status == 2
    assert "needs real batches" in done.sentence
    done = limbeck("show", "random", "--with", "sampler=random")
    assert done.status == 2
    assert "would have no effect" in done.sentence
    assert str(random())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["idcc"], "unknown method 'idcc'; did you mean 'idc'?"),
        (["idc", "--preset", "cifar"], "unknown preset of idc 'cifar'; did you mean 'cifar10'?"),
        (["idc", "--base", "dream"], "takes no base"),
    ],
)
def test_wrong_names(words: list[str], message: str, limbeck: Command) -> None:
    done = limbeck("show", *words)
    assert done.status == 2
    assert message in done.sentence
