from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from limbeck.core.errors import RunError
from limbeck.core.execution import Execution
from limbeck.core.streams import Streams
from limbeck.data import Data
from limbeck.evaluation.images import RealImages
from limbeck.evaluation.looks import CountedImages
from limbeck.evaluation.protocols import Protocol
from limbeck.evaluation.students import Source, Student, train_and_judge

PROTOCOL = Protocol(name="tiny", networks=("mlp",), repeats=1, budget="epochs", length=5)


def test_images_are_those_of_the_set_and_are_counted(digits: Data) -> None:
    test = digits.require_test()
    counted, rows = CountedImages(test, 2, "tiny"), torch.arange(len(test))
    assert counted.looks == 0
    for some in rows.split(100):
        assert torch.equal(counted(some), RealImages(test)(some))
    assert counted.looks == 1
    counted(rows)
    assert counted.looks == 2


def test_a_look_too_many_is_refused_even_at_a_single_image(digits: Data) -> None:
    test = digits.require_test()
    once = CountedImages(test, 1, "limbeck")
    once(torch.arange(len(test)))
    with pytest.raises(RunError, match=r"protocol 'limbeck' reads the images that judge once .* validation images"):
        once(torch.tensor([17]))
    with pytest.raises(RunError, match="once for each network"):
        CountedImages(test, 1, "limbeck")(torch.tensor([3, 4, 3]))
    with pytest.raises(RunError, match="2 times for each network"):
        CountedImages(test, 2, "limbeck")(torch.tensor([3, 3, 3]))


def source(digits: Data) -> Source:
    return Source(RealImages(digits.train), digits.train.labels, digits.spec, None, 0, 0.01)


def test_a_training_that_looks_more_often_than_it_says_is_stopped(
    digits: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Protocol, "evaluations", lambda self, images: 1)
    student = Student("mlp", 0, 0.01, digits.require_test(), Execution())
    assert train_and_judge(source(digits), PROTOCOL, [student])[0].looks == 1
    with pytest.raises(RunError, match="reads the images that judge once"):
        train_and_judge(source(digits), replace(PROTOCOL, checked_every=1), [student])


@pytest.mark.parametrize(("every", "length", "looks"), [(0, 5, 1), (1, 5, 6), (2, 5, 4), (4, 5, 3), (20, 5, 2)])
def test_what_is_reported_is_what_was_counted(every: int, length: int, looks: int, digits: Data) -> None:
    protocol = replace(PROTOCOL, checked_every=every, length=length)
    small = replace(source(digits), labels=digits.train.labels[:32])
    together = Execution(together=2)
    student = Student("mlp", Streams(0)("student").seed, 0.01, digits.require_test(), together)
    assert protocol.evaluations(32) == looks
    assert [one.looks for one in train_and_judge(small, protocol, [student, student])] == [looks, looks]
