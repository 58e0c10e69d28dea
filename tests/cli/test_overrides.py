from __future__ import annotations

from dataclasses import replace

import pytest

from limbeck.cli.overrides import apply, split
from limbeck.core.errors import InputError
from limbeck.methods.idc import idc
from limbeck.methods.random import random
from limbeck.samplers.random import Random
from limbeck.samplers.representative import Representative


@pytest.mark.parametrize(
    ("line", "verb", "swaps", "fields"),
    [
        ("idc --ipc 10", "idc --ipc 10", "", ""),
        ("idc --with sampler=random --ipc 1", "idc --ipc 1", "sampler=random", ""),
        ("idc --with=sampler=random", "idc", "sampler=random", ""),
        ("idc --sampler.batch-size 8 --ipc 1", "idc --ipc 1", "", "--sampler.batch-size 8"),
        ("idc --sampler.batch-size=8 --ipc 1", "idc --ipc 1", "", "--sampler.batch-size=8"),
        ("idc --optimizer.no-clamp --json", "idc --json", "", "--optimizer.no-clamp"),
        (
            "idc --augmentation.operations color crop --with pool=none --pool.samples -1 --seed -1",
            "idc --seed -1",
            "pool=none",
            "--augmentation.operations color crop --pool.samples -1",
        ),
        ("idc --with a=b --with c=d", "idc", "a=b c=d", ""),
        ("", "", "", ""),
    ],
)
def test_split(line: str, verb: str, swaps: str, fields: str) -> None:
    assert split(line.split()) == (verb.split(), swaps.split(), fields.split())


@pytest.mark.parametrize(
    "line", [["idc", "--with"], ["idc", "--with", "--json"], ["--with", "--sampler.interval", "3"]]
)
def test_split_refuses_with_without_anything(line: list[str]) -> None:
    with pytest.raises(InputError, match="--with needs slot=part"):
        split(line)


def test_a_part_is_swapped_and_its_fields_are_those_of_the_new_part() -> None:
    recipe = apply(idc("digits"), ["sampler=representative"], ["--sampler.interval", "3"], "limbeck")
    assert recipe.sampler == Representative(interval=3)
    assert apply(idc("digits"), ["sampler=random"], [], "limbeck").sampler == Random()
    assert apply(idc("digits"), ["augmentation=none"], [], "limbeck").augmentation is None


def test_dashes_may_stand_for_underscores() -> None:
    assert apply(idc("digits"), ["pool=trained-on-real"], [], "limbeck").pool is not None


def test_fields_of_every_kind() -> None:
    flags = [
        "--optimizer.lr",
        "1e-3",
        "--optimizer.no-clamp",
        "--optimizer.turns",
        "joint",
        "--pool.training.batch-size",
        "7",
    ]
    flags += ["--pool.network", "mlp", "--augmentation.operations", "color", "flip"]
    assert apply(idc("digits"), [], flags, "limbeck") == idc("digits").with_(
        optimizer__lr=1e-3,
        optimizer__clamp=False,
        optimizer__turns="joint",
        pool__training__batch_size=7,
        pool__network="mlp",
        augmentation__operations=("color", "flip"),
    )


def test_fields_of_a_part_inside_a_part() -> None:
    flags = ["--pool.training.augmentation.operations", "color"]
    assert apply(idc("digits"), [], flags, "limbeck") == idc("digits").with_(
        pool__training__augmentation__operations=("color",)
    )


def test_nothing_changes_without_a_change() -> None:
    assert apply(idc("digits"), [], [], "limbeck") == idc("digits")
    recipe = idc("digits").with_(pool__training__augmentation=None)
    assert apply(recipe, [], ["--pool.samples", "3"], "limbeck") == recipe.with_(pool__samples=3)


@pytest.mark.parametrize(
    ("swaps", "fields", "message"),
    [
        (["sampler"], [], "--with takes slot=part, not 'sampler'"),
        (["samplr=random"], [], "unknown slot 'samplr'; did you mean 'sampler'"),
        (["sampler=randon"], [], "unknown sampler 'randon'; did you mean 'random'"),
        (["sampler="], [], "unknown sampler ''"),
        (["sampler=hard"], [], "unknown sampler 'hard'"),
        ([], ["--sampler.batch-siz", "8"], "unknown field of sampler 'batch_siz'; did you mean 'batch_size'"),
        ([], ["--pool.training.lrr", "8"], "unknown field of pool.training 'lrr'; did you mean 'lr'"),
        ([], ["--sampler.", "8"], "unknown field of sampler ''"),
        ([], ["--optimizer.no-lr"], "unknown field of optimizer 'no_lr'"),
        ([], ["--sampler.batch-size.x", "8"], "sampler.batch_size has no fields of its own"),
        (["augmentation=none"], ["--augmentation.operations", "flip"], "the slot 'augmentation' is empty"),
    ],
)
def test_wrong_changes_are_one_sentence(swaps: list[str], fields: list[str], message: str) -> None:
    with pytest.raises(InputError) as caught:
        apply(idc("digits"), swaps, fields, "limbeck")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_empty_slot_has_no_fields() -> None:
    with pytest.raises(InputError, match=r"--sampler\.batch-size: the slot 'sampler' is empty"):
        apply(random(), [], ["--sampler.batch-size", "8"], "limbeck")


@pytest.mark.parametrize(
    "fields", [["--sampler.batch-size", "many"], ["--sampler.batch-size"], ["--sampler.batch-size", "8", "9"]]
)
def test_wrong_values_end_with_status_2(fields: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        apply(idc("digits"), [], fields, "limbeck distill idc")
    assert ended.value.code == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err


@pytest.mark.parametrize(
    ("flags", "clamp"),
    [
        (["--optimizer.clamp", "below"], "below"),
        (["--optimizer.clamp=below"], "below"),
        (["--optimizer.clamp"], True),
        (["--optimizer.no-clamp"], False),
        (["--optimizer.no_clamp", "--optimizer.lr", "1"], False),
        (["--optimizer.clamp", "False"], False),
    ],
)
def test_a_field_that_is_true_false_or_a_word(flags: list[str], clamp: object) -> None:
    recipe = apply(idc("digits").with_(optimizer__clamp=not clamp), [], flags, "limbeck")
    assert recipe.optimizer == replace(idc("digits").optimizer, clamp=clamp, lr=recipe.optimizer.lr)


def test_a_word_is_changed_back_by_a_flag() -> None:
    recipe = idc("mini-speech-commands")
    assert apply(recipe, [], ["--optimizer.no-clamp"], "limbeck") == recipe.with_(optimizer__clamp=False)
