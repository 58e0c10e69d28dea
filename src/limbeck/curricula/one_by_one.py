"""One image of each class at a time, apart from all others (SRe2L, DWA)."""

from __future__ import annotations

from dataclasses import dataclass

from limbeck.core.batch import Moment
from limbeck.core.context import Context, Group
from limbeck.core.contracts import Curriculum
from limbeck.core.errors import InputError

__all__ = ["OneByOne"]


@dataclass(frozen=True, kw_only=True)
class OneByOne(Curriculum):
    """Groups of one stored image of each of ``classes`` classes, each learnt in ``steps`` inner steps of its own.

    First the first image of all classes, block after block in the order of labels, then the second image. No group
    looks at another, so that they may be computed anywhere and in any order. The classes of a group share a batch: more
    of them make its statistics steadier.
    """

    references = ("yin2023sre2l",)

    steps: int = 1000
    """Inner steps of each group."""
    classes: int = 100
    """Most classes of a group."""

    def check(self, context: Context) -> None:
        """At least one step and one class."""
        if self.steps < 1 or self.classes < 1:
            raise InputError(
                f"curriculum 'one_by_one' has {self.steps} steps on {self.classes} classes; both must be >= 1."
            )

    def groups(self, context: Context) -> tuple[Group, ...]:
        """Image after image, and of each the blocks of classes."""
        total = context.spec.classes
        blocks = [range(first, min(first + self.classes, total)) for first in range(0, total, self.classes)]
        places = [(block, image) for image in range(context.ipc) for block in blocks]
        return tuple(Group(number, block, range(image, image + 1)) for number, (block, image) in enumerate(places))

    def length(self) -> int:
        """``steps``, for each group."""
        return self.steps

    def moment(self, ordinal: int) -> Moment:
        """One outer iteration."""
        return Moment(iteration=0, step=ordinal, steps=self.steps, progress=ordinal / self.steps)
