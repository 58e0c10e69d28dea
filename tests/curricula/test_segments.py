from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from limbeck.core.batch import Moment
from limbeck.core.context import Context, Group
from limbeck.core.contracts import Earlier, State, Workload
from limbeck.core.errors import InputError
from limbeck.curricula.all_at_once import AllAtOnce
from limbeck.curricula.segments import DifficultySegments
from limbeck.data.images import ImageSet
from limbeck.training.scoring import CHECKPOINTS
from limbeck.training.supervised import Training

NETWORK = "convnet1:width=4"
FIELDS: dict[str, Any] = {
    "sizes": (2, 1, 1),
    "scorers": 2,
    "scorer_epochs": 8,
    "real_epochs": 2,
    "training": Training(lr=0.05, batch_size=8),
    "batches": 0,
}


def segments(**changes: Any) -> DifficultySegments:
    return DifficultySegments(**{**FIELDS, **changes})


@pytest.fixture
def context(context_of: Callable[..., Context], portion: Callable[..., ImageSet]) -> Context:
    return context_of(portion(3, 40), ipc=4)


def earlier_of(context: Context, number: int, lesson: State | None = None, real: int = 4, decoded: int = 1) -> Earlier:
    """Real images in the place of what segments have become."""
    count = (0, 2, 3)[number]
    rows = torch.stack([context.data.class_rows(label)[:count] for label in range(3)])
    stored = context.data.images(rows)
    images = context.spec.normalization.apply(stored.flatten(0, 1))
    network = context.network(NETWORK)
    return Earlier(number, stored, images, context.data.labels[rows].flatten(), network, lesson or {}, decoded, real)


def test_groups_of_all_classes_follow_one_another(context: Context) -> None:
    assert segments().groups(context) == (
        Group(0, range(3), range(0, 2)),
        Group(1, range(3), range(2, 3)),
        Group(2, range(3), range(3, 4)),
    )
    assert segments().segments(4) == (2, 1, 1)


def test_one_segment_is_none(context: Context) -> None:
    for curriculum in (segments(sizes=()), segments(sizes=(4,))):
        assert curriculum.segments(4) == () and curriculum.groups(context) == ()
    assert segments(sizes=()).segments(20) == (7, 7, 6)


def test_alone_it_is_all_at_once() -> None:
    curriculum, other = segments(iterations=3, steps=4), AllAtOnce(iterations=3, steps=4)
    assert curriculum.length() == other.length() == 12
    assert [curriculum.moment(n) for n in range(12)] == [other.moment(n) for n in range(12)]
    assert curriculum.moment(5) == Moment(1, 1, 4, 5 / 12)


def test_iterations_are_shared_out() -> None:
    curriculum = segments(iterations=1000, steps=7, least=300)
    assert [curriculum.of_segment(4, number) for number in range(3)] == [
        AllAtOnce(iterations=500, steps=7),
        AllAtOnce(iterations=300, steps=7),
        AllAtOnce(iterations=300, steps=7),
    ]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"sizes": (2, 1)}, r"segments of \(2, 1\) images, 3 together, but the set is to have 4"),
        ({"sizes": (4, 0)}, "segments of"),
        ({"iterations": 0}, "at least 1"),
        ({"scorers": 0}, "at least 1"),
        ({"width": 0.0}, "0 < width <= 1"),
        ({"outliers": 1.0}, "0 <= outliers < 1"),
        ({"mixing": 1.5}, "mixing and previous"),
        ({"previous": -0.1}, "mixing and previous"),
        ({"batches": -1}, "batches >= 0"),
        ({"training": Training(batch_size=0)}, "batch"),
    ],
)
def test_nonsense_is_refused(context: Context, fields: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        segments(**fields).check(context)
    segments().check(context)


def test_the_first_segment_learns_everything(context: Context) -> None:
    lesson = segments().lesson(context, earlier_of(context, 0))
    for label in range(3):
        assert torch.equal(lesson["pools"][label], context.data.class_rows(label))
        assert len(lesson["rests"][label]) == 0
    assert lesson["bank"] == [] and "scores" not in lesson
    assert lesson["told"] == {"images": 2, "window": [0.0, 1.0], "pool": [40, 40, 40]}


def by_rank(context: Context, lesson: State, label: int) -> Tensor:
    """Ranks of the pool of a class, by what the lesson says of difficulty."""
    rows = context.data.class_rows(label)
    order = rows[torch.argsort(lesson["scores"][rows], stable=True)]
    places = torch.isin(order, lesson["pools"][label]).nonzero().flatten()
    return (places.double() + 0.5) / len(rows)


@pytest.mark.parametrize(
    ("order", "number", "start"),
    [
        ("easy_to_hard", 1, 0.275),
        ("easy_to_hard", 2, 0.55),
        ("hard_to_easy", 1, 0.275),
        ("hard_to_easy", 2, 0.0),
        ("all_hard", 1, 0.55),
    ],
)
def test_pools_lie_in_their_window(context: Context, order: Any, number: int, start: float) -> None:
    lesson = segments(order=order).lesson(context, earlier_of(context, number))
    assert lesson["told"]["window"] == pytest.approx([start, start + 0.4])
    for label in range(3):
        ranks = by_rank(context, lesson, label)
        assert len(ranks) == 16
        assert ranks.min() >= start - 1e-9 and ranks.max() <= start + 0.4 + 1e-9
        # All but the outliers is mixed in.
        rows = context.data.class_rows(label)
        hardest = rows[torch.argsort(lesson["scores"][rows])[-2:]]
        assert sorted(lesson["rests"][label].tolist()) == sorted(set(rows.tolist()) - set(hardest.tolist()))
        assert lesson["pools"][label].tolist() == sorted(lesson["pools"][label].tolist())


def test_parts_at_random_leave_the_outliers_out(context: Context) -> None:
    lessons = [segments(order="random_parts").lesson(context, earlier_of(context, number)) for number in (1, 2)]
    for lesson in lessons:
        for label in range(3):
            ranks = by_rank(context, lesson, label)
            assert len(ranks) == 16 and ranks.max() < 0.95
            assert ranks.min() < 0.2 and ranks.max() > 0.75  # neither easy nor hard


def test_plain_segments_learn_everything(context: Context) -> None:
    lesson = segments(order="all_all").lesson(context, earlier_of(context, 2))
    assert [len(rows) for rows in lesson["pools"]] == [40, 40, 40]
    assert [len(rows) for rows in lesson["rests"]] == [0, 0, 0]
    assert len(lesson["bank"]) == 8


def test_windows_hold_some_batches(context: Context) -> None:
    lesson = segments(batches=2, width=0.1).lesson(context, earlier_of(context, 1, real=10))
    assert lesson["told"]["pool"] == [20, 20, 20]
    lesson = segments(batches=0, width=0.01).lesson(context, earlier_of(context, 1, real=10))
    assert lesson["told"]["pool"] == [4, 4, 4]


def test_scores_and_bank_are_those_of_the_scorers(context: Context) -> None:
    lesson = segments().lesson(context, earlier_of(context, 1))
    assert len(lesson["bank"]) == 2 * len(CHECKPOINTS)
    again = segments().lesson(context, earlier_of(context, 1))
    assert torch.equal(lesson["scores"], again["scores"])
    other = segments().lesson(context, earlier_of(context, 2))
    assert not torch.equal(lesson["scores"], other["scores"])


def test_who_may_be_asked(context: Context) -> None:
    real = segments(scoring="real", previous=0.0).lesson(context, earlier_of(context, 1))
    assert real["bank"] == [] and len(real["scores"]) == len(context.data)
    later = segments(scoring="real").lesson(context, earlier_of(context, 2))
    assert torch.equal(later["scores"], real["scores"])  # static
    assert len(later["bank"]) == 8
    easy = segments(first="easy").lesson(context, earlier_of(context, 0))
    assert torch.equal(easy["scores"], real["scores"])
    assert by_rank(context, easy, 0).max() <= 0.4 and easy["told"]["window"] == [0.0, 0.4]


def test_no_two_segments_begin_with_the_same_images(context: Context) -> None:
    curriculum, last, used = segments(sizes=(1, 1, 2)), None, []
    for number in range(3):
        lesson = curriculum.lesson(context, earlier_of(context, number, last))
        used.append(lesson["initial"])
        for label in range(3):
            assert torch.isin(lesson["initial"][label], lesson["pools"][label]).all()
        last = curriculum.remembered(lesson)
    for label in range(3):
        every = torch.cat([rows[label] for rows in used])
        assert len(every.unique()) == len(every) and min(len(rows[label]) for rows in used) >= 1
    # Where too few are left for it, others of the pool are taken.
    many = curriculum.lesson(context, earlier_of(context, 1, decoded=14))
    assert [len(rows) for rows in many["initial"]] == [14, 14, 14]


def test_what_a_segment_is_shown(context: Context) -> None:
    curriculum = segments(mixing=0.125, previous=0.75)
    lesson = curriculum.lesson(context, earlier_of(context, 1))
    own = curriculum.focus(replace(context, ipc=1), lesson, earlier_of(context, 1))
    assert own.focus is not None and own.data is context.data and own.ipc == 1
    assert (own.focus.mixing, own.recall, len(own.bank)) == (0.125, 0.75, 8)
    assert own.focus.pool == tuple(lesson["pools"]) and own.focus.initial == tuple(lesson["initial"])


def test_what_the_record_tells(context: Context) -> None:
    curriculum, lessons = segments(width=0.5), []
    for number in range(3):
        last = lessons[-1] if lessons else None
        lessons.append(curriculum.remembered(curriculum.lesson(context, earlier_of(context, number, last))))
    assert all("bank" not in lesson for lesson in lessons)
    first, second, third = curriculum.record(lessons)["segments"]
    assert "overlap" not in first and "last_pool_easier" not in second
    assert second["overlap"] == pytest.approx(0.5) and 0 < third["overlap"] < 1
    before, after = (lesson["scores"] for lesson in lessons[1:])
    rows = torch.cat(lessons[1]["pools"])
    assert third["last_pool_easier"] == pytest.approx(float((after[rows] < before[rows].median()).double().mean()))
    assert third["difficulty"] == pytest.approx(float(after[torch.cat(lessons[2]["pools"])].mean()))


def test_passes_of_the_scorers(context: Context) -> None:
    load = Workload(iterations=1, steps=1, real=4, decoded=2)
    # 2 images of 3 classes before the second segment, 3 before the third, each looked at 8 times by 2 networks.
    assert segments().passes(context, load) == 2 * (3 * 8 * 3 * (2 + 3) + 2 * 120)
    assert segments(sizes=()).passes(context, load) == 0
