"""A recipe: one part per slot, and the check that they make sense together."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from limbeck.core.context import Context
from limbeck.core.contracts import (
    FACTS,
    Augmentation,
    Curriculum,
    ImageOptimizer,
    Initializer,
    Labeler,
    Objective,
    Parametrization,
    Part,
    Pool,
    Sampler,
)
from limbeck.core.errors import InputError, unknown

__all__ = ["SLOTS", "Recipe", "part_name"]


def part_name(part: Part | type[Part]) -> str:
    """The name of a part in files and on the command line: its class name in snake case."""
    name = (part if isinstance(part, type) else type(part)).__name__
    parts: list[str] = []
    for index, letter in enumerate(name):
        after_lower = index > 0 and letter.isupper() and not name[index - 1].isupper()
        before_lower = index > 0 and letter.isupper() and index + 1 < len(name) and name[index + 1].islower()
        parts.append("_" if after_lower or before_lower else "")
        parts.append(letter.lower())
    return "".join(parts)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A method as a composition: one part per slot.

    Without an objective a recipe is a coreset: what the initializer picks is the result.
    """

    name: str
    """Name of the method that made it."""
    base: str = ""
    """Name of the method that it builds on, if any."""
    initializer: Initializer
    """Where synthetic images start."""
    parametrization: Parametrization
    """How stored pixels become training images."""
    labeler: Labeler
    """What target a synthetic image carries."""
    objective: Objective | None = None
    """How far synthetic is from real."""
    sampler: Sampler | None = None
    """Which real images are compared."""
    augmentation: Augmentation | None = None
    """Transformation shared by both sides when they are compared."""
    pool: Pool | None = None
    """Which network looks."""
    curriculum: Curriculum | None = None
    """What is learnt when, and for how long."""
    optimizer: ImageOptimizer | None = None
    """How pixels are updated."""
    references: tuple[str, ...] = ()
    """What to cite, as bib keys."""

    def parts(self) -> Iterator[tuple[str, Part]]:
        """The filled slots, in the order of `SLOTS`."""
        for slot in SLOTS:
            part = getattr(self, slot)
            if part is not None:
                yield slot, part

    def with_(self, **changes: Any) -> Recipe:
        """A recipe with some parts or fields changed: ``with_(sampler__interval=20, pool=None)``.

        Args:
            **changes: a slot name for a whole part, or ``slot__field`` for one field of the part that is there.

        Raises:
            InputError: a slot or field has no such name, or the slot is empty.
        """
        recipe = self
        for key, value in changes.items():
            slot, _, path = key.partition("__")
            if slot not in SLOTS and slot not in ("name", "base", "references"):
                raise unknown("slot", slot, SLOTS)
            current = getattr(recipe, slot)
            recipe = dataclasses.replace(recipe, **{slot: _changed(slot, current, path, value) if path else value})
        return recipe

    def labels_softly(self) -> bool:
        """Whether a finished set carries soft labels of its own."""
        return type(self.labeler).soft is not Labeler.soft

    def cite(self) -> tuple[str, ...]:
        """Bib keys of the method and of every part, each once."""
        keys = [*self.references, *(key for _, part in self.parts() for key in part.references)]
        return tuple(dict.fromkeys(keys))

    def check(self, context: Context | None = None) -> None:
        """Refuse what cannot work and what would silently have no effect, before anything runs.

        Args:
            context: a run; when given, each part is also checked against its data and IPC.

        Raises:
            InputError: a part needs what nobody offers, or offers what nobody uses, or cannot work on this data.
        """
        for slot in SLOTS:
            part = getattr(self, slot)
            if part is None and slot in _REQUIRED:
                raise InputError(f"slot '{slot}' of recipe '{self.name}' is empty; every recipe needs a part there.")
            if part is not None and not isinstance(part, _CONTRACTS[slot]):
                raise InputError(
                    f"{type(part).__name__} is no {slot}; the slot '{slot}' takes a {_CONTRACTS[slot].__name__}."
                )
        filled = dict(self.parts())
        for slot, part in filled.items():
            others = [other for name, other in filled.items() if name != slot]
            # First what would have no effect: filling a slot for it would be of no use either.
            used = _USED_BY_THE_ENGINE.union(*(other.needs() | other.reads() for other in others))
            if part.offers() and not part.offers() & used:
                reader = f"objective '{part_name(self.objective)}'" if self.objective else "a recipe without objective"
                raise InputError(
                    f"{slot} '{part_name(part)}' of recipe '{self.name}' would have no effect: "
                    f"{reader} never uses {' or '.join(sorted(part.offers()))}; leave the slot '{slot}' empty (none)."
                )
            offered = frozenset[str]().union(*(other.offers() for other in others))
            for fact in sorted(part.needs() - offered):
                raise InputError(
                    f"{slot} '{part_name(part)}' of recipe '{self.name}' needs {fact}, "
                    f"which no other part offers; {self._remedy(fact)}."
                )
        if context is not None:
            self._check_whitened(context)
            for _, part in self.parts():
                part.check(context)
            if self.objective is not None and self.pool is not None:
                self.objective.fits(self.pool.architecture(context))

    def _remedy(self, fact: str) -> str:
        """Where a fact that nobody offers would come from."""
        if fact not in FACTS:
            return "add a part that offers it"
        there = getattr(self, FACTS[fact])
        instead = "" if there is None else f" with a part that does, in place of '{part_name(there)}'"
        return f"fill the slot '{FACTS[fact]}'{instead}"

    def _check_whitened(self, context: Context) -> None:
        """Refuse to clamp images that are stored whitened: what black and white are depends on the whole image."""
        clamps = self.optimizer is not None and self.optimizer.clamps() and self.parametrization.space == "normalized"
        if self.optimizer is not None and clamps and context.spec.normalization.whitening is not None:
            raise InputError(
                f"optimizer '{part_name(self.optimizer)}' of recipe '{self.name}' clamps stored images between black "
                "and white, which whitened images have no numbers for; set its clamp to false, the parametrization's "
                "space to unit, or load the data with normalization (--normalization) measured."
            )

    def __str__(self) -> str:
        """Every slot with every value, and what to cite."""
        title = self.name + (f" on {self.base}" if self.base else "")
        lines = [title]
        for slot in SLOTS:
            part = getattr(self, slot)
            lines.append(f"  {slot:<16}{_describe(part) if part is not None else '-'}")
        lines.append(f"  {'references':<16}{', '.join(self.cite()) or '-'}")
        return "\n".join(lines)


_CONTRACTS: dict[str, type[Part]] = {
    "objective": Objective,
    "sampler": Sampler,
    "initializer": Initializer,
    "parametrization": Parametrization,
    "augmentation": Augmentation,
    "pool": Pool,
    "curriculum": Curriculum,
    "labeler": Labeler,
    "optimizer": ImageOptimizer,
}
SLOTS: tuple[str, ...] = tuple(_CONTRACTS)
"""Names of the slots of a recipe."""

_REQUIRED = frozenset({"initializer", "parametrization", "labeler"})

_USED_BY_THE_ENGINE = frozenset({"initial images", "decoded images", "targets", "image gradients"})


def _changed(slot: str, part: Any, path: str, value: Any) -> Any:
    """The part with the field at ``path`` (``field`` or ``field__field``) replaced."""
    if part is None:
        raise InputError(f"the slot '{slot}' is empty, so its field '{path}' cannot be set; give it a part first.")
    field, _, rest = path.partition("__")
    known = [item.name for item in dataclasses.fields(part)] if dataclasses.is_dataclass(part) else []
    if field not in known:
        raise unknown(f"field of {slot} '{type(part).__name__}'", field, known)
    inner = _changed(f"{slot}.{field}", getattr(part, field), rest, value) if rest else value
    return dataclasses.replace(part, **{field: inner})


def _describe(part: Part) -> str:
    """``name(field=value, ...)``, nested parts likewise."""
    fields = []
    for item in dataclasses.fields(part):
        value = getattr(part, item.name)
        fields.append(f"{item.name}={_describe(value) if isinstance(value, Part) else repr(value)}")
    return f"{part_name(part)}({', '.join(fields)})"
