from __future__ import annotations

from collections.abc import Callable

import pytest

from limbeck.core.batch import Moment
from limbeck.core.context import Context
from limbeck.core.errors import InputError
from limbeck.curricula.all_at_once import AllAtOnce


def test_iterations_follow_one_another() -> None:
    curriculum = AllAtOnce(iterations=2, steps=3)
    assert curriculum.length() == 6
    moments = [curriculum.moment(ordinal) for ordinal in range(6)]
    assert moments == [Moment(i, step, 3, (3 * i + step) / 6) for i in (0, 1) for step in (0, 1, 2)]
    assert [moment.ordinal for moment in moments] == list(range(6))


@pytest.mark.parametrize("fields", [{"iterations": 0}, {"steps": 0}])
def test_an_empty_curriculum_is_refused(context_of: Callable[..., Context], fields: dict[str, int]) -> None:
    with pytest.raises(InputError, match="both must be >= 1"):
        AllAtOnce(**fields).check(context_of())
    AllAtOnce(iterations=1, steps=1).check(context_of())
