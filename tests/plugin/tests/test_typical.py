from __future__ import annotations

import pytest
from limbeck_typical.typical import Typical, typical

from limbeck import InputError
from limbeck.core.batch import Moment
from limbeck.testing import check_method, check_part, toy, toy_context


def test_the_method_passes_the_battery() -> None:
    check_method(typical)


def test_its_part_passes_the_battery() -> None:
    check_part(Typical)


def test_only_the_nearest_are_drawn() -> None:
    part, context = Typical(batch_size=100, share=0.25), toy_context(toy(3, 12))
    rows = part.rows(part.init(context), context, Moment(0, 0, 1), 1)
    images = context.data.images(context.data.class_rows(1)).flatten(1)
    apart = (images - images.mean(dim=0)).norm(dim=1)
    drawn = context.data.images(rows).flatten(1) - images.mean(dim=0)
    assert len(rows) == 3
    assert drawn.norm(dim=1).max() <= apart.sort().values[2]


def test_a_share_of_nothing_is_refused() -> None:
    with pytest.raises(InputError, match="needs batch_size >= 1 and a share in"):
        Typical(share=0).check(toy_context())
