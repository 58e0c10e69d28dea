"""What is asked of a part by itself, and in the recipe of some method."""

from __future__ import annotations

import dataclasses
import inspect
import tempfile
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor

from limbeck.core.context import Context
from limbeck.core.contracts import FACTS, Augmentation, Part
from limbeck.core.errors import InputError
from limbeck.core.plain import decode_dataclass, encode
from limbeck.core.real import Normalization
from limbeck.core.recipe import SLOTS, part_name
from limbeck.data.images import ImageSet
from limbeck.engine.distill import check_learnt_together
from limbeck.registry import methods, parts
from limbeck.testing.runs import check_short_run
from limbeck.testing.toys import small, small_part, starting_recipe, toy, toy_context
from limbeck.testing.typed import check_part_typed

__all__ = [
    "check_facts",
    "check_in_a_recipe",
    "check_own_check",
    "check_part",
    "check_part_documented",
    "check_run_file",
    "check_state",
    "check_value",
]


def check_part(kind: type[Part], data: ImageSet | None = None) -> None:
    """All that is asked of a part by itself.

    Args:
        kind: its class, whose fields have defaults.
        data: images to try it on; by default those of `toy`.

    Raises:
        AssertionError: something is not as it should be.
    """
    check_value(kind)
    check_part_documented(kind)
    check_part_typed(kind)
    check_run_file(kind)
    check_facts(kind)
    check_own_check(kind, data)
    check_state(kind, toy_context(data))
    with tempfile.TemporaryDirectory(prefix="limbeck-testing-") as folder:
        check_in_a_recipe(kind, Path(folder), data)


def check_value(kind: type[Part]) -> None:
    """A part is a frozen value with defaults, made with keywords, keeps only its fields, and is not subclassed."""
    assert kind() == kind(), f"two {kind.__name__} with their defaults differ"
    part = small_part(kind)
    assert part == small_part(kind), f"two {kind.__name__} of the same fields differ"
    hash(part)
    assert kind.__dataclass_params__.frozen, f"{kind.__name__} is not frozen"  # type: ignore[attr-defined]
    assert all(item.kw_only for item in dataclasses.fields(kind)), f"{kind.__name__} has positional fields"
    for item in dataclasses.fields(kind):
        try:
            setattr(part, item.name, None)
        except dataclasses.FrozenInstanceError:
            continue
        raise AssertionError(f"{kind.__name__}.{item.name} can be set")
    assert set(vars(part)) == {item.name for item in dataclasses.fields(kind)}, f"{kind.__name__} keeps a secret"
    finals = [base for base in kind.__mro__[1:] if issubclass(base, Part) and base is not Part]
    concrete = [base.__name__ for base in finals if not inspect.isabstract(base)]
    assert not concrete, f"{kind.__name__} derives from {concrete[0]}, which is final; change its fields instead"


def check_part_documented(kind: type[Part]) -> None:
    """A part has a docstring, and each field a text under it, which is the help of its flag."""
    assert len((kind.__doc__ or "").strip()) > 20, f"{kind.__name__} has no docstring"
    for item in dataclasses.fields(kind):
        owner = next(base for base in kind.__mro__ if item.name in vars(base).get("__annotations__", {}))
        source = inspect.getsource(owner)
        position = source.index(f"    {item.name}: ")
        below = source[position:].split("\n", 1)[1].lstrip()
        assert below.startswith('"""'), f"{kind.__name__}.{item.name} has no text under it"


def check_run_file(kind: type[Part]) -> None:
    """A part comes back from a run file as it was."""
    part = small_part(kind)
    plain = yaml.safe_load(yaml.safe_dump(encode(part)))
    assert plain.pop("part") == part_name(kind)
    read = decode_dataclass(kind, plain, "part", {**parts(), part_name(kind): kind})
    assert read == part, f"{kind.__name__} does not survive a run file"


def check_facts(kind: type[Part]) -> None:
    """A part's slot exists, and what it needs, reads and offers are known facts; it does not need what it offers."""
    part = small_part(kind)
    assert kind.slot in SLOTS, f"{kind.__name__} is for the slot '{kind.slot}', which no recipe has"
    unknown = (part.needs() | part.reads() | part.offers()) - set(FACTS)
    assert not unknown, f"{kind.__name__} speaks of unknown facts: {', '.join(sorted(unknown))}"
    assert not part.needs() & part.offers(), f"{kind.__name__} needs what it offers"


def check_own_check(kind: type[Part], data: ImageSet | None = None) -> None:
    """The defaults of a part pass its own check; a part that is no use to a recipe says so."""
    part = small_part(kind)
    data = _fitting(part, data)
    if part.offers():
        part.check(toy_context(data))
        return
    try:
        part.check(toy_context(data))
    except InputError:
        return
    raise AssertionError(f"{kind.__name__} offers nothing and does not say so when it is checked")


def check_in_a_recipe(kind: type[Part], folder: Path, data: ImageSet | None = None) -> None:
    """A part with its defaults goes into the recipe of some method, and that runs as `check_short_run` asks.

    Methods that learn are tried first. A part that is no use to a recipe is left alone.

    Args:
        kind: class of the part.
        folder: where checkpoints are written, and networks are kept.
        data: images; by default those of `toy`.
    """
    part = kind()
    images, networks, reasons = _fitting(part, data), folder / "networks", []
    if not part.offers():
        return
    for method in sorted(methods().values(), key=lambda method: (method.baseline, method.name)):
        recipe = starting_recipe(method).with_(**{kind.slot: part})
        context = toy_context(images)
        try:
            recipe.check(context)
            check_learnt_together(recipe, context)
        except InputError as error:
            reasons.append(str(error))
            continue
        check_short_run(small(recipe), lambda: toy_context(images, dtype=torch.float32, cache=networks), folder)
        return
    raise AssertionError(f"no method takes {kind.__name__} with its defaults: {' '.join(reasons)}")


def check_state(kind: type[Part], context: Context) -> None:
    """A part's first state is a tree of plain values and tensors, the same each time."""
    part = small_part(kind)
    before = torch.get_rng_state()
    state = part.init(context)
    assert isinstance(state, dict), f"the state of {kind.__name__} is no dict"
    _check_same(state, part.init(context))
    assert torch.equal(torch.get_rng_state(), before), f"{kind.__name__}.init moves the global generator"


def _fitting(part: Part, data: ImageSet | None) -> ImageSet:
    """The images, normalized as a part wants them that is made for images of its own normalization."""
    data = toy() if data is None else data
    mean, std = getattr(part, "mean", ()), getattr(part, "std", ())
    if not (isinstance(part, Augmentation) and mean):  # those that have none take the data's
        return data
    spec = dataclasses.replace(data.spec, channels=len(mean), normalization=Normalization(mean, std))
    return ImageSet(data.pixels[:, :1].expand(-1, len(mean), -1, -1), data.labels, spec)


def _check_same(one: Any, other: Any) -> None:
    """Two trees are equal, and made of what can be saved."""
    assert type(one) is type(other)
    if isinstance(one, dict):
        assert all(isinstance(key, str) and "/" not in key for key in one) and one.keys() == other.keys()
        for key in one:
            _check_same(one[key], other[key])
    elif isinstance(one, (list, tuple)):
        assert len(one) == len(other)
        for pair in zip(one, other, strict=True):
            _check_same(*pair)
    elif isinstance(one, Tensor):
        assert torch.equal(one, other), "a state differs from call to call"
    else:
        assert one is None or isinstance(one, (bool, int, float, str)), f"a state holds a {type(one).__name__}"
        assert one == other, "a state differs from call to call"
