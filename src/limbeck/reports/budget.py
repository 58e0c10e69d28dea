"""Budgets in bytes: how they are written, and how many images per class they hold."""

from __future__ import annotations

import re
from collections.abc import Callable

from limbeck.core.errors import InputError
from limbeck.core.real import RealSet
from limbeck.core.recipe import Recipe
from limbeck.reports.tables import human_bytes

__all__ = ["largest_ipc", "parse_bytes", "set_bytes"]

_UNITS = {
    "": 1,
    "b": 1,
    **{f"{letter}b": 1000**power for power, letter in enumerate("kmgt", start=1)},
    **{f"{letter}ib": 1024**power for power, letter in enumerate("kmgt", start=1)},
}


def parse_bytes(text: str) -> int:
    """A number of bytes: ``640``, ``64KiB`` (of 1024), ``1.5 MB`` (of 1000 times 1000).

    Raises:
        InputError: it is no such number, or less than one byte.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([a-z]*)", text.strip().lower())
    count = int(float(found[1]) * _UNITS[found[2]]) if found and found[2] in _UNITS else 0
    if count < 1:
        raise InputError(f"'{text}' is no number of bytes; write for example 65536, 64KiB or 1.5MB.")
    return count


def set_bytes(recipe: Recipe, ipc: int, data: RealSet, teacher: int | None = None) -> int:
    """Bytes of a set in 8 bits per value, and of its labels.

    Args:
        recipe: how it is made.
        ipc: stored images per class.
        data: the real images.
        teacher: bytes of the teacher that labels it, whose labels are then taught; None for the labels of the set.
    """
    spec = data.spec
    images = spec.classes * ipc * spec.channels * spec.height * spec.width
    if teacher is not None:
        return images + teacher
    # As `Distilled.label_bytes`: 4 for each probability.
    own = 4 * spec.classes * recipe.parametrization.parts(ipc) * spec.classes if recipe.labels_softly() else 0
    return images + own


def largest_ipc(
    budget: int, name: str, recipe: Callable[[int], Recipe], data: RealSet, teacher: int | None = None
) -> int:
    """The most images per class whose set, with its labels, has no more bytes than a budget.

    Args:
        budget: in bytes.
        name: of the method, for the sentence of an error.
        recipe: of the method, by IPC.
        data: the real images.
        teacher: bytes of the teacher that labels it; None for the labels of the set.

    Raises:
        InputError: not one image per class fits, or more than the smallest class has.
    """
    least = set_bytes(recipe(1), 1, data, teacher)
    if least > budget:
        weights = "" if teacher is None else f", with the weights of its teacher ({human_bytes(teacher)}),"
        raise InputError(
            f"a set of '{name}' with one image per class{weights} has {human_bytes(least)}, more than the budget of "
            f"{human_bytes(budget)}; raise --budget" + ("." if teacher is None else ", or take --labels hard.")
        )
    most = (budget - (teacher or 0)) // (set_bytes(recipe(1), 1, data, 0))
    smallest = min(data.class_counts())
    if most > smallest and set_bytes(recipe(smallest), smallest + 1, data, teacher) <= budget:
        raise InputError(
            f"a budget of {human_bytes(budget)} holds more images per class than the smallest class of "
            f"'{data.spec.name}' has ({smallest}); lower --budget."
        )
    ipc = min(most, smallest)
    while set_bytes(recipe(ipc), ipc, data, teacher) > budget:
        ipc -= 1
    return ipc
