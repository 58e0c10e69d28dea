from __future__ import annotations

from collections.abc import Callable

import pytest

from limbeck.core.batch import Moment
from limbeck.core.context import Context, Group
from limbeck.core.errors import InputError
from limbeck.curricula.one_by_one import OneByOne


def test_image_after_image_and_of_each_the_blocks_of_classes(
    context_of: Callable[..., Context], portion: Callable[..., object]
) -> None:
    context = context_of(portion(5, 4), ipc=2)
    assert OneByOne(classes=2).groups(context) == (
        Group(0, range(0, 2), range(0, 1)),
        Group(1, range(2, 4), range(0, 1)),
        Group(2, range(4, 5), range(0, 1)),
        Group(3, range(0, 2), range(1, 2)),
        Group(4, range(2, 4), range(1, 2)),
        Group(5, range(4, 5), range(1, 2)),
    )


@pytest.mark.parametrize("classes", [1, 2, 3, 100])
def test_every_image_is_in_one_group(context_of: Callable[..., Context], classes: int) -> None:
    groups = OneByOne(classes=classes).groups(context_of(ipc=3))
    places = [(label, image) for group in groups for label in group.labels for image in group.images]
    assert sorted(places) == [(label, image) for label in range(3) for image in range(3)]
    assert [group.number for group in groups] == list(range(3 * -(-3 // classes)))


def test_steps_are_those_of_one_iteration() -> None:
    curriculum = OneByOne(steps=4)
    assert curriculum.length() == 4
    assert [curriculum.moment(step) for step in range(4)] == [Moment(0, step, 4, step / 4) for step in range(4)]
    assert curriculum.moment(3).last and not curriculum.moment(2).last


@pytest.mark.parametrize("wrong", [{"steps": 0}, {"classes": 0}, {"classes": -1}])
def test_nothing_to_do_is_refused(context_of: Callable[..., Context], wrong: dict[str, int]) -> None:
    with pytest.raises(InputError, match="both must be >= 1"):
        OneByOne(**wrong).check(context_of())
    OneByOne(steps=1, classes=1).check(context_of())
