from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from limbeck import registry
from limbeck.core.contracts import Part
from limbeck.core.errors import InputError
from limbeck.core.plain import encode
from limbeck.core.recipe import SLOTS, part_name
from limbeck.methods.dream import dream
from limbeck.methods.idc import idc
from limbeck.samplers.epochwise import Epochwise

PLUGIN = '''
"""Ours: the first images of each class, always.

More about it.
"""

from dataclasses import dataclass

from limbeck.core.contracts import Part, Sampler
from limbeck.methods.idc import idc
from limbeck.samplers.epochwise import Epochwise

PRESETS = ("fast", "good")


@dataclass(frozen=True, kw_only=True)
class AlwaysFirst(Sampler):
    """The first images."""

    batch_size: int = 3
    """Images."""

    def refresh(self, state, context, moment, view):
        return state

    def rows(self, state, context, moment, label):
        return context.data.class_rows(label)[: self.batch_size]


def NAME(preset="fast"):
    """The recipe."""
    size = {"fast": 2, "good": 4}[preset]
    return idc("digits").with_(name="NAME", sampler=AlwaysFirst(batch_size=size))
'''


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Installs a package of one module: ``install(module, source, entry point)``."""
    before = set(sys.modules)
    registry._parts.cache_clear()

    def make(module: str, source: str, value: str | None = None) -> None:
        folder = tmp_path / module
        information = folder / f"{module}-1.0.dist-info"
        information.mkdir(parents=True)
        (folder / f"{module}.py").write_text(source.replace("NAME", module), encoding="utf-8")
        (information / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
        (information / "entry_points.txt").write_text(f"[limbeck.methods]\n{module} = {value or module}\n")
        monkeypatch.syspath_prepend(folder)

    yield make
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", None) or "").startswith(str(tmp_path)):
            del sys.modules[name]
    registry._parts.cache_clear()


def test_our_methods() -> None:
    known = registry.methods()
    assert {"idc", "dream", "random", "herding", "kcenter"} <= set(known)
    assert known["dream"].make is dream and known["idc"].make is idc
    assert [name for name, entry in known.items() if entry.takes_base] == ["dasm", "dream"]
    assert {name for name, entry in known.items() if entry.baseline} >= {"random", "herding", "kcenter"}
    assert known["idc"].summary.startswith("IDC: matching gradients of images that hold several smaller ones")
    assert known["idc"].presets[0] == "cifar10"


def test_recipes_by_preset_and_base() -> None:
    method = registry.method("dream")
    assert method.recipe() == dream()
    assert method.recipe("digits") == dream("digits")
    assert method.recipe(base=idc(factor=1)) == dream(base=idc(factor=1))
    with pytest.raises(InputError, match=r"unknown preset of dream 'digts'; did you mean 'digits'\?"):
        method.recipe("digts")
    with pytest.raises(InputError, match="method 'idc' takes no base; leave --base out"):
        registry.method("idc").recipe(base=idc())


def test_unknown_names_are_answered_with_the_nearest() -> None:
    with pytest.raises(InputError, match=r"unknown method 'draem'; did you mean 'dream'\?"):
        registry.method("draem")
    with pytest.raises(InputError, match=r"unknown sampler 'epochwize'; did you mean 'epochwise'\?"):
        registry.part("sampler", "epochwize")
    with pytest.raises(InputError, match=r"unknown slot 'samplers'; did you mean 'sampler'\?"):
        registry.parts_of("samplers")


def test_parts_by_slot_and_name() -> None:
    assert registry.part("sampler", "epochwise") is Epochwise
    assert registry.part("pool", "trained-on-real").__name__ == "TrainedOnReal"
    every = registry.parts()
    assert all(part_name(kind) == name for name, kind in every.items())
    assert {name for slot in SLOTS for name in registry.parts_of(slot)} == set(every)
    assert list(every) == sorted(every)
    # A copy: whoever changes it changes nobody else's.
    every.clear()
    assert registry.parts()


@pytest.mark.parametrize("slot", SLOTS)
def test_every_slot_has_a_part(slot: str) -> None:
    kinds = registry.parts_of(slot).values()
    assert kinds and all(kind.slot == slot for kind in kinds)
    assert Part not in kinds


def test_an_installed_package_brings_a_method_and_its_part(install: Callable[..., None]) -> None:
    assert "always_first" not in registry.parts_of("sampler")
    registry._parts.cache_clear()
    install("plugged", PLUGIN)
    entry = registry.method("plugged")
    assert entry.summary == "Ours: the first images of each class, always."
    assert entry.presets == ("fast", "good")
    assert not entry.takes_base and not entry.baseline
    recipe = entry.recipe("good")
    kind = registry.part("sampler", "always-first")
    assert type(recipe.sampler) is kind
    assert registry.recipe_from_plain(encode(recipe)) == recipe
    # Its imports are not its own: nothing of ours is listed twice, and no contract is.
    assert registry.part("sampler", "epochwise") is Epochwise
    assert "part" not in registry.parts() and "sampler" not in registry.parts()


def test_an_entry_point_may_name_the_function(install: Callable[..., None]) -> None:
    install("plugged", PLUGIN, "plugged:plugged")
    assert registry.method("plugged").recipe().sampler.batch_size == 2  # type: ignore[union-attr]
    assert "always_first" in registry.parts()


@pytest.mark.parametrize(
    ("source", "cause"),
    [("import nothing_like_it\n", "nothing_like_it"), ("def (", "invalid syntax"), ("1 / 0", "zero")],
)
def test_a_broken_package_is_named(install: Callable[..., None], source: str, cause: str) -> None:
    install("broken", source)
    for look in (registry.methods, registry.parts):
        with pytest.raises(InputError) as caught:
            look()
        message = str(caught.value)
        assert message.startswith("the installed package behind the method 'broken' (broken) cannot be imported (")
        assert message.endswith("repair or uninstall it.") and cause in message and "\n" not in message


def test_a_package_without_its_module_is_named(install: Callable[..., None]) -> None:
    install("plugged", PLUGIN, "elsewhere")
    with pytest.raises(InputError, match="behind the method 'plugged' \\(elsewhere\\) cannot be imported"):
        registry.methods()


def test_two_parts_of_one_name_are_refused(install: Callable[..., None]) -> None:
    install("plugged", PLUGIN.replace("AlwaysFirst", "Random"))
    with pytest.raises(InputError) as caught:
        registry.parts()
    assert str(caught.value) == "two parts are called 'random': limbeck.samplers.random and plugged; rename one."


def test_two_methods_of_one_name_are_refused(install: Callable[..., None]) -> None:
    install("herding", PLUGIN)
    with pytest.raises(InputError) as caught:
        registry.methods()
    assert str(caught.value) == "two methods are called 'herding': limbeck.methods.herding and herding; rename one."


def test_the_same_module_may_be_named_twice(install: Callable[..., None], tmp_path: Path) -> None:
    install("plugged", PLUGIN)
    points = tmp_path / "plugged" / "plugged-1.0.dist-info" / "entry_points.txt"
    points.write_text("[limbeck.methods]\na = plugged\nb = plugged:plugged\n")
    assert "plugged" in registry.methods() and "always_first" in registry.parts()
