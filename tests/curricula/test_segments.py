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
from limbeck.training.scoring import CHECKPOINTS, difficulty, forgotten
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
    assert "overlap" not in first and "pool_easier" not in first and "pool_easier" not in third
    assert second["overlap"] == pytest.approx(0.5) and 0 < third["overlap"] < 1
    before, after = (lesson["scores"] for lesson in lessons[1:])
    rows = torch.cat(lessons[1]["pools"])
    assert second["pool_easier"] == pytest.approx(float((after[rows] < before[rows].median()).double().mean()))
    assert second["all_easier"] == pytest.approx(float((after < before.median()).double().mean()))
    assert third["difficulty"] == pytest.approx(float(after[torch.cat(lessons[2]["pools"])].mean()))


def test_the_last_pool_is_verified_if_asked(context: Context) -> None:
    last = segments().remembered(segments().lesson(context, earlier_of(context, 2)))
    end = replace(earlier_of(context, 2, last), iteration=5)
    assert segments().concluded(context, end, last) is last
    curriculum = segments(verify=True)
    found = curriculum.concluded(context, end, last)
    (told,) = curriculum.record([found])["segments"]
    # By networks of their own stream, trained on the whole set.
    again = curriculum.lesson(context, end)["scores"]
    rows = torch.cat(last["pools"])
    assert told["pool_easier"] == pytest.approx(float((again[rows] < last["scores"][rows].median()).double().mean()))
    early = replace(earlier_of(context, 1, last), iteration=5)
    assert curriculum.concluded(context, early, last) is last  # those of the next segment will tell


def test_a_lesson_on_the_way(context: Context) -> None:
    curriculum = segments(rescore_every=2, iterations=20, least=1)
    assert [curriculum.renewed(number) for number in range(3)] == [0, 2, 2]
    first = curriculum.lesson(context, earlier_of(context, 1))
    last = curriculum.remembered(first)
    again = curriculum.lesson(context, replace(earlier_of(context, 1, last), iteration=2))
    third = replace(earlier_of(context, 1, curriculum.remembered(again)), iteration=4)
    told = curriculum.lesson(context, third)["told"]
    # The same images, other networks.
    assert not torch.equal(first["scores"], again["scores"])
    assert {name: told[name] for name in first["told"]} == first["told"]
    assert [entry["iteration"] for entry in told["rescored"]] == [2, 4]
    rows = torch.cat(first["pools"])
    easier = float((again["scores"][rows] < first["scores"][rows].median()).double().mean())
    assert told["rescored"][0]["last_pool_easier"] == pytest.approx(easier)
    assert "images" not in told["rescored"][0] and 0 < told["rescored"][0]["overlap"] <= 1


@pytest.mark.parametrize("score", ["loss", "el2n", "margin", "disagreement"])
def test_what_networks_call_hard(context: Context, score: Any) -> None:
    lesson = segments(score=score).lesson(context, earlier_of(context, 1))
    judges = lesson["bank"][len(CHECKPOINTS) - 1 :: len(CHECKPOINTS)]
    wanted = difficulty(context, context.network(NETWORK), judges, score).difficulty
    assert torch.equal(lesson["scores"], wanted)
    usual = segments().lesson(context, earlier_of(context, 1))
    same = [torch.equal(a, b) for a, b in zip(lesson["pools"], usual["pools"], strict=True)]
    assert all(same) == (score == "loss")


def test_forgetting_is_asked_once(context: Context) -> None:
    curriculum = segments(score="forgetting", scoring="real", real_epochs=4)
    lesson = curriculum.lesson(context, earlier_of(context, 1))
    wanted = forgotten(context, context.network(NETWORK), curriculum.training, 4, 2).difficulty
    assert torch.equal(lesson["scores"], wanted)
    last = {**curriculum.remembered(lesson), "scores": wanted + 1.0}
    assert torch.equal(curriculum.lesson(context, earlier_of(context, 2, last))["scores"], wanted + 1.0)


def test_ranks_by_chance(context: Context) -> None:
    curriculum = segments(scoring="random", previous=0.0)
    one, two = (curriculum.lesson(context, earlier_of(context, number)) for number in (1, 2))
    assert one["bank"] == [] and torch.equal(one["scores"], two["scores"])
    assert one["scores"].unique().numel() == 120 and one["scores"].min() >= 0 and one["scores"].max() < 1
    assert len(by_rank(context, one, 0)) == 16 and by_rank(context, two, 0).min() >= 0.55
    # Networks of the bank may be wanted nevertheless.
    assert len(segments(scoring="random").lesson(context, earlier_of(context, 1))["bank"]) == 8


def test_windows_around_what_is_known(context: Context) -> None:
    curriculum = segments(window_rule="frontier", width=0.3, scorer_epochs=1)
    lesson = curriculum.lesson(context, earlier_of(context, 1))
    judges = lesson["bank"][len(CHECKPOINTS) - 1 :: len(CHECKPOINTS)]
    right = difficulty(context, context.network(NETWORK), judges).right
    assert right is not None
    for label in range(3):
        share = float(right[context.data.class_rows(label)].mean())
        start = min(max(0.0, share - 0.15), 0.65)
        assert lesson["told"]["windows"][label] == pytest.approx([start, start + 0.3])
        ranks = by_rank(context, lesson, label)
        # Both ends belong to it.
        assert len(ranks) in (12, 13) and ranks.min() >= start - 1e-9 and ranks.max() <= start + 0.3 + 1e-9
    starts = [start for start, _ in lesson["told"]["windows"]]
    assert len(set(starts)) > 1 and lesson["told"]["window"][0] == pytest.approx(sum(starts) / 3)
    assert "windows" not in curriculum.lesson(context, earlier_of(context, 0))["told"]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"window_rule": "frontier", "scoring": "real"}, "window_rule 'frontier' follows networks"),
        ({"window_rule": "frontier", "order": "all_hard"}, "leaves no choice of an order"),
        ({"score": "disagreement", "scorers": 1}, "disagrees with nobody"),
        ({"score": "forgetting"}, "use scoring 'real'"),
        ({"score": "forgetting", "scoring": "real", "real_epochs": 1}, "real_epochs of 2 or more"),
        ({"score": "el2n", "scoring": "random"}, "score 'el2n' would have no effect"),
        ({"rescore_every": 500}, "no segment after the first is longer than 500"),
        ({"rescore_every": 2, "previous": 0.0, "scoring": "real"}, "need not be trained anew"),
        ({"rescore_every": -1}, "rescore_every >= 0"),
        ({"count": 2}, "with sizes neither count nor front_loaded"),
        ({"front_loaded": True}, "with sizes neither count nor front_loaded"),
        ({"sizes": (), "count": 5}, "a count from 0 to the 4 images"),
    ],
)
def test_options_that_make_no_sense_are_refused(context: Context, fields: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        segments(**fields).check(context)


def test_options_ask_other_parts() -> None:
    usual = segments().needs()
    assert segments(scope="union").needs() - usual == {"unions of segments"}
    assert segments(net_data="pool").needs() - usual == {"networks trained on chosen images"}


def test_what_stands_beside_and_what_is_taught(context: Context) -> None:
    own, before = replace(context, ipc=1), earlier_of(context, 2)
    lesson = segments().lesson(context, before)
    plain = segments().focus(own, lesson, before)
    assert plain.company is None and plain.taught is None and plain.shown == 1
    union = segments(scope="union").focus(own, lesson, before)
    assert union.company is not None and union.shown == 4
    normalized = context.spec.normalization.apply(before.stored)
    assert torch.equal(union.company.images, normalized)
    pool = segments(net_data="pool").focus(own, lesson, before).taught
    assert pool is not None and pool.rows.tolist() == sorted(torch.cat(lesson["pools"]).tolist()) and len(pool) == 48
    known = segments(net_data="previous+pool").focus(own, lesson, before).taught
    assert known is not None and torch.equal(known.rows, pool.rows)
    assert torch.equal(known.images, normalized.flatten(0, 1)) and torch.equal(known.labels, before.targets)
    # Nothing is there before the first segment.
    nothing = earlier_of(context, 0)
    first = segments(scope="union", net_data="pool").focus(own, segments().lesson(context, nothing), nothing)
    assert first.company is None and first.taught is None


def test_sizes_and_budgets() -> None:
    assert segments(sizes=(), count=3).segments(10) == (4, 3, 3)
    assert segments(sizes=(), count=3, front_loaded=True).segments(12) == (6, 3, 3)
    assert segments(sizes=(), count=1).segments(50) == ()
    each = segments(iterations=70, least=1, budget="each")
    assert [each.of_segment(4, number).iterations for number in range(3)] == [70, 70, 70]
    shared = segments(sizes=(), count=3, iterations=100, least=1)
    assert [shared.of_segment(10, number).iterations for number in range(3)] == [40, 30, 30]


def test_networks_that_lessons_hold() -> None:
    assert segments().copies(4) == 8
    assert segments(sizes=()).copies(4) == 0
    assert segments(scoring="random", previous=0.0).copies(4) == 0


def test_passes_of_the_scorers(context: Context) -> None:
    load = Workload(iterations=1, steps=1, real=4, decoded=2)
    # 2 images of 3 classes before the second segment, 3 before the third, each looked at 8 times by 2 networks.
    assert segments().passes(context, load) == 2 * (3 * 8 * 3 * (2 + 3) + 2 * 120)
    assert segments(sizes=()).passes(context, load) == 0
    # A lesson on the way looks at the segment as well: 4 of the 5 iterations of each of the two.
    again = segments(rescore_every=1, iterations=20, least=1)
    assert again.passes(context, load) == 2 * (3 * 8 * 3 * (2 + 4 * 3 + 3 + 4 * 4) + 10 * 120)
