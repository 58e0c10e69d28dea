from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from limbeck.core.distilled import Distilled
from limbeck.core.errors import InputError
from limbeck.core.plain import encode
from limbeck.data import Data
from limbeck.evaluation.evaluate import evaluate, evaluate_real
from limbeck.evaluation.labels import ByTeacher, Stored, belonging, set_digest, stored_labels
from limbeck.evaluation.relabel import relabel
from limbeck.storage.labels import LabelStore
from limbeck.training.lessons import SoftLoss
from tests.evaluation.taught import by_teacher, protocol, random_set
from tests.evaluation.test_evaluate import Remote


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> LabelStore:
    return relabel(random_set(), by_teacher(), protocol(), tmp_path_factory.mktemp("labels") / "a")


def test_a_set_is_known_by_its_images(whitened: Data) -> None:
    one = random_set()
    assert set_digest(one) == set_digest(replace(one, seed=7, recipe=one.recipe.with_(name="other")))
    changed = one.stored.clone()
    changed[3, 1, 0, 2, 2] += 1 / 255
    others = [
        replace(one, stored=changed),
        random_set(seed=1),
        random_set(ipc=1),
        replace(one, spec=replace(one.spec, normalization=replace(one.spec.normalization, mean=(0.1,)))),
        replace(one, recipe=one.recipe.with_(parametrization__space="normalized")),
        replace(one, spec=replace(one.spec, normalization=whitened.spec.normalization)),
        replace(one, spec=replace(one.spec, normalization=replace(whitened.spec.normalization, whitening=None))),
    ]
    assert len({set_digest(each) for each in [one, *others]}) == 8


def test_hard_teacher_and_stored_labels_are_told_apart(store: LabelStore, digits: Data) -> None:
    test, ours = digits.require_test(), protocol(updates=3)
    hard = evaluate(random_set(), test, ours.hard())
    taught = evaluate(random_set(), test, ours, labels=by_teacher())
    stored = evaluate(random_set(), test, ours, labels=Stored(store))
    assert [scores.label_kind for scores in (hard, taught, stored)] == ["hard", "teacher", "stored"]
    assert [scores.label_bytes for scores in (hard, taught, stored)] == [0, by_teacher().bytes, store.bytes]
    assert store.bytes == sum(path.stat().st_size for path in store.folder.iterdir())
    real = evaluate_real(digits.train, test, ours, labels=by_teacher())
    assert (real.label_kind, real.images) == ("teacher", len(digits.train))


def test_a_student_learns_what_the_teacher_says_and_not_where_images_are_filed(digits: Data) -> None:
    """Every image lies one class too far: its own labels teach just that, and a teacher the digit that is seen."""
    one = random_set(ipc=20)
    wrong = replace(one, stored=one.stored.roll(1, 0))
    ours = replace(protocol(updates=200, batch_size=64), networks=("mlp",), soft=SoftLoss(temperature=1.0))
    taught = evaluate(wrong, digits.require_test(), ours, labels=by_teacher())
    hard = evaluate(wrong, digits.require_test(), ours.hard())
    assert taught.mean > 0.6 and hard.mean < 0.2


def test_networks_elsewhere_learn_the_same(store: LabelStore, digits: Data) -> None:
    for labels in (by_teacher(), Stored(store)):
        here = evaluate(random_set(), digits.require_test(), replace(protocol(), repeats=2), labels=labels)
        there = evaluate(
            random_set(), digits.require_test(), replace(protocol(), repeats=2), labels=labels, executor=Remote()
        )
        assert here.networks == there.networks


def test_the_training_mode_of_a_teacher_is_an_option(digits: Data) -> None:
    test, ours = digits.require_test(), replace(protocol(updates=60), soft=SoftLoss(temperature=1.0))
    by_batch = replace(ours, teacher_mode="train")
    one, other = (evaluate(random_set(), test, each, labels=by_teacher()) for each in (ours, by_batch))
    assert one.mean != other.mean


def test_labels_without_effect_and_lessons_without_labels_are_refused(digits: Data) -> None:
    test = digits.require_test()
    with pytest.raises(InputError, match=r"soft labels; say who gives them \(--taught-by"):
        evaluate(random_set(), test, protocol())
    with pytest.raises(InputError, match="a teacher would have no effect"):
        evaluate(random_set(), test, protocol().hard(), labels=by_teacher())


def test_a_teacher_of_other_classes_is_refused(digits: Data) -> None:
    names = list(digits.spec.class_names)
    names[2], names[3] = names[3], names[2]
    other = ByTeacher(replace(by_teacher().teacher, class_names=tuple(names)))
    with pytest.raises(InputError, match="knows class 2 as '3', and here it is '2'"):
        evaluate(random_set(), digits.require_test(), protocol(), labels=other)
    fewer = ByTeacher(replace(by_teacher().teacher, class_names=tuple(names[:2])))
    with pytest.raises(InputError, match="knows 2 classes, and here are 10"):
        evaluate(random_set(), digits.require_test(), protocol(), labels=fewer)


@pytest.mark.parametrize(
    ("other", "change", "message"),
    [
        (lambda: random_set(seed=1), {}, r"its set\.digest is"),
        (lambda: random_set(ipc=1), {}, r"its set\.ipc is 2, now 1"),
        (random_set, {"teacher_mode": "train"}, r"its protocol\.teacher_mode is 'eval', now 'train'"),
        (random_set, {"name": "other"}, r"its protocol\.name is 'limbeck_soft', now 'other'"),
        (random_set, {"soft": SoftLoss(temperature=2.0)}, r"its protocol\.temperature is 4\.0, now 2\.0"),
        (random_set, {"training.batch_size": 9}, r"its protocol\.batch_size is 8, now 9"),
        (random_set, {"training.cutmix": 0.5}, r"its protocol\.cutmix is 1\.0, now 0\.5"),
    ],
)
def test_labels_of_something_else_are_refused_with_the_first_difference(
    other: Any, change: dict[str, Any], message: str, store: LabelStore, digits: Data
) -> None:
    ours = protocol()
    for name, value in change.items():
        first, _, second = name.partition(".")
        ours = replace(ours, **{first: replace(getattr(ours, first), **{second: value}) if second else value})
    with pytest.raises(InputError, match=message):
        evaluate(other(), digits.require_test(), ours, labels=Stored(store))


def test_labels_of_other_classes_or_another_teacher_are_refused(store: LabelStore) -> None:
    one: Distilled = random_set()
    renamed = replace(one, spec=replace(one.spec, class_names=(*one.spec.class_names[:-1], "ten")))
    with pytest.raises(InputError, match=r"set\.class_names"):
        Stored(store).check(protocol(), renamed.spec, renamed)
    weights = {name: tensor + 1e-3 for name, tensor in by_teacher().teacher.weights.items()}
    with pytest.raises(InputError, match=r"another teacher's \(its teacher\.weights is"):
        Stored(store).require_teacher(replace(by_teacher().teacher, weights=weights))
    Stored(store).require_teacher(by_teacher().teacher)
    with pytest.raises(InputError, match="real images need a teacher"):
        Stored(store).check(protocol(), one.spec, None)


def test_what_a_student_is_and_how_long_it_learns_is_free(store: LabelStore, digits: Data) -> None:
    longer = replace(protocol(updates=12), networks=("mlp",), repeats=2, learning_rates=())
    scores = evaluate(random_set(), digits.require_test(), longer, labels=stored_labels(store.folder))
    assert scores.label_bytes == store.bytes


def test_what_labels_belong_to_is_plain(store: LabelStore, tmp_path: Path) -> None:
    plain = belonging(random_set(), protocol())
    assert plain["protocol"]["augmentation"] == encode(protocol().training.augmentation)
    assert Stored(store).as_plain()["teacher"] == by_teacher().teacher.as_plain() == by_teacher().as_plain()["teacher"]
    with pytest.raises(InputError, match="holds no soft labels"):
        stored_labels(tmp_path)
