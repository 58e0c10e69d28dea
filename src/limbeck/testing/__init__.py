"""Checks for those who write methods and parts: what our own battery asks of everything that the registry finds.

In the test suite of a package that brings a method:

>>> from limbeck.testing import check_method, check_part
>>> def test_the_method() -> None:
...     check_method(new)
>>> def test_its_part() -> None:
...     check_part(NewSampler)

Both run on a toy, with sizes cut down (`small`), in seconds and on the CPU. A check that fails raises `AssertionError`
with a sentence; the single checks (``check_...``) can be called by themselves as well.
"""

from __future__ import annotations

from limbeck.testing.methods import check_cited as check_cited
from limbeck.testing.methods import check_method as check_method
from limbeck.testing.methods import check_presets as check_presets
from limbeck.testing.parts import check_facts as check_facts
from limbeck.testing.parts import check_in_a_recipe as check_in_a_recipe
from limbeck.testing.parts import check_own_check as check_own_check
from limbeck.testing.parts import check_part as check_part
from limbeck.testing.parts import check_part_documented as check_part_documented
from limbeck.testing.parts import check_run_file as check_run_file
from limbeck.testing.parts import check_state as check_state
from limbeck.testing.parts import check_value as check_value
from limbeck.testing.runs import check_class_blocks as check_class_blocks
from limbeck.testing.runs import check_moves as check_moves
from limbeck.testing.runs import check_recipe as check_recipe
from limbeck.testing.runs import check_resumes as check_resumes
from limbeck.testing.runs import check_run as check_run
from limbeck.testing.runs import check_short_run as check_short_run
from limbeck.testing.runs import check_unequal_classes as check_unequal_classes
from limbeck.testing.toys import NETWORK as NETWORK
from limbeck.testing.toys import small as small
from limbeck.testing.toys import small_part as small_part
from limbeck.testing.toys import starting_recipe as starting_recipe
from limbeck.testing.toys import toy as toy
from limbeck.testing.toys import toy_context as toy_context
from limbeck.testing.typed import check_part_typed as check_part_typed
from limbeck.testing.typed import check_typed as check_typed

__all__ = [
    "check_cited",
    "check_class_blocks",
    "check_facts",
    "check_in_a_recipe",
    "check_method",
    "check_moves",
    "check_own_check",
    "check_part",
    "check_part_documented",
    "check_part_typed",
    "check_presets",
    "check_recipe",
    "check_resumes",
    "check_run",
    "check_run_file",
    "check_short_run",
    "check_state",
    "check_typed",
    "check_unequal_classes",
    "check_value",
    "small",
    "small_part",
    "starting_recipe",
    "toy",
    "toy_context",
]
