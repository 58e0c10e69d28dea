"""Every part of the registry, ours or a plug-in's, through the same checks."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable
from typing import Any

import pytest
import torch
import yaml

from limbeck import registry
from limbeck.core.context import Context
from limbeck.core.contracts import FACTS, Augmentation, Part
from limbeck.core.errors import InputError
from limbeck.core.plain import decode_dataclass, encode
from limbeck.core.real import Normalization
from limbeck.core.recipe import SLOTS, part_name
from limbeck.data.images import ImageSet
from limbeck.training.expert_training import ExpertTraining
from limbeck.training.settings import Training
from limbeck.training.teacher import Teacher

PARTS = registry.parts()
every = pytest.mark.parametrize("kind", PARTS.values(), ids=PARTS)
SIZES: dict[str, Any] = {
    "network": "convnet1:width=4",
    "epochs": 1,
    "course": ExpertTraining(training=Training(lr=0.01, batch_size=16), epochs=2),
    "count": 2,
    "starts": 1,
    "span": 2,
    "teacher": Teacher(network="convnet1:width=4,norm=batch", epochs=1, seed=None),
}


def make(kind: type[Part]) -> Part:
    """The part with its defaults, but for what makes it slow."""
    names = {item.name for item in dataclasses.fields(kind)}
    return kind(**{name: value for name, value in SIZES.items() if name in names})


@every
def test_it_is_a_frozen_value_with_keywords_only(kind: type[Part]) -> None:
    part = make(kind)
    assert part == make(kind)
    hash(part)
    assert kind.__dataclass_params__.frozen  # type: ignore[attr-defined]
    assert all(item.kw_only for item in dataclasses.fields(kind))
    for item in dataclasses.fields(kind):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(part, item.name, None)


@every
def test_it_is_final(kind: type[Part]) -> None:
    assert [other for other in PARTS.values() if other is not kind and issubclass(other, kind)] == []


@every
def test_it_is_documented(kind: type[Part]) -> None:
    assert len((kind.__doc__ or "").strip()) > 20
    for item in dataclasses.fields(kind):
        owner = next(base for base in kind.__mro__ if item.name in vars(base).get("__annotations__", {}))
        source = inspect.getsource(owner)
        # The text under a field is the help of its flag.
        position = source.index(f"    {item.name}: ")
        assert source[position:].split("\n", 1)[1].lstrip().startswith('"""'), f"{item.name} has no text under it"


@every
def test_it_survives_a_run_file(kind: type[Part]) -> None:
    part = make(kind)
    plain = yaml.safe_load(yaml.safe_dump(encode(part)))
    assert plain.pop("part") == part_name(kind)
    assert decode_dataclass(kind, plain, "part", PARTS) == part


@every
def test_its_facts_are_known_and_its_slot_exists(kind: type[Part]) -> None:
    part = make(kind)
    assert kind.slot in SLOTS
    assert part.needs() | part.reads() | part.offers() <= set(FACTS)
    assert not part.needs() & part.offers()


@every
def test_its_defaults_pass_its_own_check(
    kind: type[Part], context_of: Callable[..., Context], portion: Callable[..., ImageSet]
) -> None:
    part: Any = make(kind)
    data = portion()
    if isinstance(part, Augmentation) and hasattr(part, "mean"):  # made for images of its own normalization
        data = portion(channels=len(part.mean))
        data.spec = dataclasses.replace(data.spec, normalization=Normalization(part.mean, part.std))
    if part.offers():
        part.check(context_of(data))
    else:  # a part that is no use to a recipe says so
        with pytest.raises(InputError):
            part.check(context_of(data))


@every
def test_its_state_is_a_plain_tree_that_repeats(kind: type[Part], context_of: Callable[..., Context]) -> None:
    part = make(kind)

    def check(one: Any, other: Any) -> None:
        assert type(one) is type(other)
        if isinstance(one, dict):
            assert all(isinstance(key, str) and "/" not in key for key in one) and one.keys() == other.keys()
            for key in one:
                check(one[key], other[key])
        elif isinstance(one, (list, tuple)):
            assert len(one) == len(other)
            for pair in zip(one, other, strict=True):
                check(*pair)
        elif isinstance(one, torch.Tensor):
            assert torch.equal(one, other)
        else:
            assert one is None or isinstance(one, (bool, int, float, str))
            assert one == other

    state = part.init(context_of())
    assert isinstance(state, dict)
    check(state, part.init(context_of()))
