"""What is asked of a method: its function, its presets, and runs of each."""

from __future__ import annotations

import inspect
from collections.abc import Callable

from limbeck.core.recipe import Recipe
from limbeck.data.images import ImageSet
from limbeck.registry import Method, methods
from limbeck.testing.runs import INSTALL, check_recipe
from limbeck.testing.toys import small
from limbeck.testing.typed import check_typed

__all__ = ["check_cited", "check_method", "check_presets"]


def check_method(make: Callable[..., Recipe] | Method, data: ImageSet | None = None) -> None:
    """All that is asked of a method: its function, its presets, its parts, and runs of each preset cut down.

    Args:
        make: the function that returns its recipe, or the method as the registry knows it; it must be installed.
        data: images to run on; by default those of `toy`.

    Raises:
        AssertionError: something is not as it should be.
    """
    name = make.name if isinstance(make, Method) else make.__name__
    method = methods().get(name)
    assert method is not None and make in (method, method.make), f"method '{name}' is not found; {INSTALL}"
    check_cited(method)
    check_typed(inspect.getmodule(method.make))
    check_presets(method)
    recipes = {small(method.recipe(preset)): None for preset in reversed(method.presets)}
    for recipe in recipes:
        check_recipe(recipe, data)


def check_cited(method: Method) -> None:
    """A method says what it is in one line and what its arguments mean, and what is to be cited."""
    assert len(method.summary) > 20 and method.summary.endswith("."), (
        f"the first line of the module of '{method.name}' is no sentence that says what it is"
    )
    text = inspect.getdoc(method.make) or ""
    parameters = inspect.signature(method.make).parameters
    assert "preset" in parameters, f"method '{method.name}' takes no preset"
    silent = [parameter for parameter in parameters if f"{parameter}:" not in text]
    assert not silent, f"the docstring of '{method.name}' does not say what {', '.join(silent)} is"
    assert method.baseline or method.recipe().references, f"method '{method.name}' has no references"
    assert method.recipe().cite(), f"method '{method.name}' has nothing to cite"


def check_presets(method: Method) -> None:
    """Every preset of a method makes a recipe that makes sense, always the same; the first is the default."""
    assert len(set(method.presets)) == len(method.presets), f"method '{method.name}' has a preset twice"
    assert method.recipe() == method.recipe(method.presets[0]), f"the first preset of '{method.name}' is no default"
    for preset in method.presets:
        recipe = method.recipe(preset)
        recipe.check()
        assert recipe.name == method.name, f"the recipe of '{method.name}' is called '{recipe.name}'"
        assert method.recipe(preset) == recipe, f"preset '{preset}' of '{method.name}' differs from call to call"
        hash(recipe)
        assert method.baseline == (recipe.objective is None), (
            f"'{method.name}' must have BASELINE = True if its recipes have no objective, and only then"
        )
