from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from limbeck.core.context import Context, Pieces
from limbeck.core.contracts import Workload
from limbeck.core.errors import InputError
from limbeck.core.plain import decode_dataclass, encode
from limbeck.curricula.segment_experts import SegmentExperts
from limbeck.curricula.segments import DifficultySegments
from limbeck.data.images import ImageSet

OWN = SegmentExperts(mode="own")
SEGMENTS = DifficultySegments(iterations=8, steps=1, least=1, sizes=(2, 1, 1), scope="union", experts=OWN)


@pytest.fixture
def context(context_of: Callable[..., Context], portion: Callable[..., ImageSet]) -> Context:
    return context_of(portion(3, 40), ipc=4)


def test_later_segments_have_experts_of_their_own() -> None:
    assert SEGMENTS.pieces(4, 0) is None
    assert SEGMENTS.pieces(4, 1) == SEGMENTS.pieces(4, 2) == Pieces(experts=20, epochs=20, starts=11)
    assert SegmentExperts().pieces(1, 3) is None


def test_existing_experts_are_imitated_from_the_first_epochs_to_the_last() -> None:
    segments = replace(SEGMENTS, experts=SegmentExperts(mode="existing", width=0.3))
    pieces = [segments.pieces(4, number) for number in range(3)]
    windows = [each.window(20) for each in pieces if each is not None]
    assert [(window[0], window[-1]) for window in windows] == [(0, 5), (7, 12), (14, 19)]
    assert all(each is not None and not each.experts for each in pieces)


def test_what_segments_need_with_them() -> None:
    assert SEGMENTS.needs() == {"networks", "unions of segments", "expert trajectories"}
    assert replace(SEGMENTS, experts=SegmentExperts()).needs() == {"networks", "unions of segments", "real batches"}


def test_older_run_files_have_none() -> None:
    plain = encode(DifficultySegments())
    del plain["experts"], plain["part"]
    assert decode_dataclass(DifficultySegments, plain, "curriculum") == DifficultySegments()


def test_their_training_is_counted(context: Context) -> None:
    load = Workload(iterations=8, steps=1, real=0, decoded=4)
    without = replace(SEGMENTS, experts=SegmentExperts(mode="existing")).passes(context, load)
    # An epoch shows the windows, 0.4 of all 120 images, which are three quarters of what it shows.
    assert SEGMENTS.passes(context, load) - without == pytest.approx(3 * 2 * 20 * 20 * (0.4 / 0.75) * 120)
    assert replace(SEGMENTS, sizes=(4,)).passes(context, load) == 0


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"experts": SegmentExperts(count=0)}, "not 0, 20, 11 and 0.5"),
        ({"experts": SegmentExperts(width=0.0)}, "0 < width <= 1"),
        ({"rescore_every": 1}, "experts of a segment are trained once"),
    ],
)
def test_impossible_settings_are_refused(context: Context, changes: dict[str, Any], sentence: str) -> None:
    SEGMENTS.check(context)
    with pytest.raises(InputError, match=sentence):
        replace(SEGMENTS, **changes).check(context)
