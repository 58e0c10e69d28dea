from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from limbeck import registry, testing
from limbeck.methods.dm import dm
from limbeck.registry import Method


def test_a_method_must_be_installed() -> None:
    def unheard(preset: str = "digits") -> Any:
        return dm(preset)

    with pytest.raises(AssertionError, match="method 'unheard' is not found; name its module"):
        testing.check_method(unheard)


def test_a_method_of_ours_passes() -> None:
    testing.check_method(registry.method("random"))


@pytest.mark.parametrize(
    ("changes", "check", "message"),
    [
        ({"summary": "Short"}, testing.check_cited, "is no sentence that says what it is"),
        ({"make": lambda: dm()}, testing.check_cited, "takes no preset"),
        ({"make": lambda preset="digits": dm(preset)}, testing.check_cited, "does not say what preset is"),
        ({"presets": ("digits", "cifar10")}, testing.check_presets, "the first preset of 'dm' is no default"),
        ({"presets": ("cifar10", "cifar10")}, testing.check_presets, "has a preset twice"),
        ({"baseline": True}, testing.check_presets, "must have BASELINE = True"),
        ({"name": "md"}, testing.check_presets, "the recipe of 'md' is called 'dm'"),
    ],
)
def test_a_faulty_method_is_found(changes: dict[str, Any], check: Callable[..., None], message: str) -> None:
    ours = registry.method("dm")
    fields = {name: getattr(ours, name) for name in ("name", "make", "presets", "summary", "baseline")}
    with pytest.raises(AssertionError, match=message):
        check(Method(**{**fields, **changes}))
