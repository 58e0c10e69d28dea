from __future__ import annotations

from dataclasses import replace

import pytest

from limbeck.core.errors import InputError
from limbeck.core.plain import encode
from limbeck.evaluation.protocol import Protocol
from limbeck.training.lessons import SoftLoss
from limbeck.training.schedules import Schedule
from limbeck.training.settings import Training


def test_schedule_and_drops_multiply() -> None:
    plain = Protocol(name="p", length=9, training=Training(lr=1.0))
    both = replace(plain, schedule=Schedule(kind="cosine"))
    for epoch in range(9):
        assert both.lr(epoch, 10) == pytest.approx(plain.lr(epoch, 10) * both.schedule.factor(epoch, 9))
    assert both.lr(0, 10) == 1.0 and both.lr(8, 10) < 0.04 * 0.031


@pytest.mark.parametrize("images", [10, 64, 65, 1000])
def test_updates_are_epochs_for_schedules(images: int) -> None:
    protocol = Protocol(name="p", budget="updates", length=100, schedule=Schedule(kind="cosine"), drops=())
    batches = -(-images // 64)
    assert protocol.epochs(images) == -(-100 // batches)
    assert protocol.steps(images) == 100
    last = protocol.epochs(images) - 1
    assert 0 < protocol.lr(last, images) < protocol.lr(0, images)
    assert Protocol(name="p", length=7).epochs(images) == 7


def test_hard_labels_are_the_same_protocol_without_a_teacher() -> None:
    soft = Protocol(name="p", soft=SoftLoss(temperature=4.0))
    assert soft.hard() == replace(soft, soft=None)
    plain = {name: value for name, value in encode(soft).items() if name != "soft"}
    assert plain == {name: value for name, value in encode(soft.hard()).items() if name != "soft"}


def test_values_that_cannot_be_are_refused() -> None:
    with pytest.raises(InputError, match="protocol 'p' need temperature > 0"):
        Protocol(name="p", soft=SoftLoss(temperature=0.0))
    with pytest.raises(InputError, match="schedule of protocol 'p'"):
        Protocol(name="p", schedule=Schedule(warmup=-1))


def test_momentum_changes_at_the_first_drop() -> None:
    protocol = Protocol(name="p", length=10, drops=(0.5, 0.8), momentum_after=0.8)
    assert [protocol.momentum(epoch) for epoch in range(10)] == [0.9] * 5 + [0.8] * 5
    assert {replace(protocol, momentum_after=None).momentum(epoch) for epoch in range(10)} == {0.9}


def test_looks_are_taken_after_the_first_epoch_and_every_so_many() -> None:
    protocol = Protocol(name="p", checked_every=20)
    assert [epoch for epoch in range(61) if protocol.looks(epoch)] == [0, 20, 40, 60]
    assert not any(Protocol(name="p").looks(epoch) for epoch in range(61))


def test_changes_of_momentum_and_looks_that_cannot_be_are_refused() -> None:
    with pytest.raises(InputError, match="changes the momentum of SGD"):
        Protocol(name="p", momentum_after=1.0)
    with pytest.raises(InputError, match="changes the momentum of SGD"):
        Protocol(name="p", momentum_after=0.8, training=Training(optimizer="adamw"))
    with pytest.raises(InputError, match="changes the momentum of SGD"):
        Protocol(name="p", momentum_after=0.8, budget="updates")
    with pytest.raises(InputError, match="needs checked_every >= 0, not -1"):
        Protocol(name="p", checked_every=-1)
