"""Which add-ons go with which methods, asked of the recipes themselves.

An add-on changes a recipe of any method: other real images, another start, packed images, soft labels. Whether it goes
with a method is what `Recipe.check` and the parts' own checks say on a toy; nothing is listed here, and
tests/battery/test_combinations.py runs what is accepted.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from limbeck.core.context import Context
from limbeck.core.contracts import Part
from limbeck.core.errors import InputError
from limbeck.core.recipe import Recipe, part_name
from limbeck.engine.distill import check_learnt_together
from limbeck.initializers.clustered import Clustered
from limbeck.initializers.real import Mixed, Real
from limbeck.labelers.by_pool import ByPool
from limbeck.labelers.hard import Hard
from limbeck.labelers.taught import Taught
from limbeck.parametrizations.partition import Partition
from limbeck.registry import Method, methods
from limbeck.samplers.representative import Representative
from limbeck.testing import starting_recipe, toy_context

__all__ = ["AddOn", "Verdict", "add_ons", "combine", "page", "verdict", "verdicts"]

Outcome = Literal["runs", "own", "refused"]

_CURRICULA = ("dasm",)
"""Methods that are added to others for their curriculum, where they are installed."""


@dataclass(frozen=True)
class AddOn:
    """A change of a recipe that does not ask which method made it.

    Args:
        name: short, without spaces.
        title: what it is.
        flags: the same on the command line.
        change: makes the changed recipe.
    """

    name: str
    title: str
    flags: str
    change: Callable[[Recipe], Recipe]


@dataclass(frozen=True)
class Verdict:
    """What becomes of a method with an add-on.

    Args:
        method: name of the method.
        add_on: name of the add-on.
        outcome: ``runs``; ``own`` where the method has it by itself; or ``refused``.
        reason: the sentence of the refusal; empty otherwise.
    """

    method: str
    add_on: str
    outcome: Outcome
    reason: str = ""


def add_ons() -> tuple[AddOn, ...]:
    """All add-ons; a curriculum of another method is one where that method is installed."""
    found = [
        AddOn("sampler", "DREAM's sampler", "--with sampler=representative", _representative),
        AddOn("initializer", "representative initializer", "--with initializer=clustered", _clustered),
        AddOn("partition", "partition", "--with parametrization=partition --with initializer=mixed", _partitioned),
        AddOn("labels", "soft labels", "--with labeler=by_pool", _soft),
    ]
    known = methods()
    curricula = [_curriculum_of(known[name]) for name in _CURRICULA if name in known]
    return (*found[:3], *curricula, *found[3:])


def combine(recipe: Recipe, add_on: AddOn) -> Recipe:
    """The recipe with an add-on; itself where it has it already.

    Raises:
        InputError: the add-on itself refuses it.
    """
    return add_on.change(recipe)


def verdict(method: Method, add_on: AddOn, context: Context | None = None) -> Verdict:
    """Whether a method takes an add-on, by the declarations and checks of the parts.

    Args:
        method: the method.
        add_on: what is added.
        context: a run on a toy, for the parts' checks; one of `limbeck.testing.toy_context` by default.
    """
    recipe, context = starting_recipe(method), context or toy_context()
    try:
        changed = combine(recipe, add_on)
        changed.check(context)
        check_learnt_together(changed, context)
    except InputError as error:
        return Verdict(method.name, add_on.name, "refused", str(error))
    return Verdict(method.name, add_on.name, "own" if changed == recipe else "runs")


def verdicts(among: dict[str, Method] | None = None) -> list[Verdict]:
    """All methods with all add-ons, baselines last.

    Args:
        among: methods by name; by default all that are installed.
    """
    known, context, columns = methods() if among is None else among, toy_context(), add_ons()
    rows = sorted(known.values(), key=lambda method: (method.baseline, method.name))
    return [verdict(method, add_on, context) for method in rows for add_on in columns]


def page() -> str:
    """The page of the docs: a table of our own methods, and the sentences of what is refused as footnotes."""
    ours = {name: one for name, one in methods().items() if one.make.__module__.startswith("limbeck.methods.")}
    columns, notes = add_ons(), dict[str, int]()
    lines = [
        "# Combinations",
        "",
        _PREFACE,
        "",
        "| add-on | on the command line |",
        "| --- | --- |",
        *(f"| {one.title} | `{one.flags}` |" for one in columns),
        "",
        f"| method | {' | '.join(one.title for one in columns)} |",
        f"| --- |{' --- |' * len(columns)}",
    ]
    found = verdicts(ours)
    for first in range(0, len(found), len(columns)):
        row = found[first : first + len(columns)]
        cells = [_cell(one, notes) for one in row]
        lines.append(f"| [{row[0].method}](methods/{row[0].method}.md) | {' | '.join(cells)} |")
    lines += ["", *(f"[^{number}]: {sentence}" for sentence, number in notes.items())]
    return "\n".join(lines) + "\n"


_PREFACE = """\
Which add-ons go with which methods. **yes**: the recipe is accepted, and the tests run it for two iterations on a toy,
where it repeats and resumes to the bit. **own**: the method has it by itself. **no**: it is refused before anything
runs, with the sentence of the footnote (… stands for the method). No cell is written by hand: the parts of the method's
`digits` preset, or of its first, are asked (`needs`, `reads`, `offers`, `check`). A baseline is little more than its
initializer; with another one it is another baseline. Soft labels are the teacher's where the pool has one
(`labeler=taught`), else those of its networks. `partition` keeps the space of the stored images, and starts from
`mixed` where the method starts from `real`. `limbeck list combinations` prints the same with the methods of other
packages, and with `--json` whole sentences; `limbeck list combinations --markdown` made this page."""


def _cell(one: Verdict, notes: dict[str, int]) -> str:
    """A cell of the page; a sentence that is new gets the next number."""
    if one.outcome != "refused":
        return {"runs": "yes", "own": "own"}[one.outcome]
    sentence = re.sub(rf"\b(recipe|method|base) '{re.escape(one.method)}'", r"\1 …", one.reason)
    return f"no[^{notes.setdefault(sentence, len(notes) + 1)}]"


def _with_own(recipe: Recipe, slot: str, part: Part) -> Recipe:
    """The recipe with a part, unless it has one of the kind: its settings are the method's."""
    return recipe if type(getattr(recipe, slot)) is type(part) else recipe.with_(**{slot: part})


def _representative(recipe: Recipe) -> Recipe:
    return _with_own(recipe, "sampler", Representative())


def _clustered(recipe: Recipe) -> Recipe:
    return _with_own(recipe, "initializer", Clustered())


def _partitioned(recipe: Recipe) -> Recipe:
    space = recipe.parametrization.space
    changed = _with_own(recipe, "parametrization", Partition(space=space, pad=0.5 if space == "unit" else 0.0))
    if changed is not recipe and isinstance(changed.initializer, Real):
        changed = changed.with_(initializer=Mixed())
    return changed


def _soft(recipe: Recipe) -> Recipe:
    if not isinstance(recipe.labeler, Hard):
        return recipe
    teaches = recipe.pool is not None and "teacher" in recipe.pool.offers()
    return recipe.with_(labeler=Taught() if teaches else ByPool())


def _curriculum_of(method: Method) -> AddOn:
    """What a method does to the course of another: as an add-on if it is one, else its curriculum alone."""

    def change(recipe: Recipe) -> Recipe:
        if recipe.name == method.name:
            return recipe
        if method.takes_base:
            return method.recipe("digits" if "digits" in method.presets else None, base=recipe)
        return recipe.with_(curriculum=starting_recipe(method).curriculum)

    flags = f"limbeck distill {method.name} --base METHOD"
    if not method.takes_base and (curriculum := starting_recipe(method).curriculum) is not None:
        flags = f"--with curriculum={part_name(curriculum)}"
    return AddOn(method.name, f"{method.name.upper()}'s curriculum", flags, change)
