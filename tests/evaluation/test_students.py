from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
import torch
from torch import Tensor

from limbeck.augmentations.dc_augment import DCAugment
from limbeck.augmentations.idc_augment import IDCAugment
from limbeck.core.execution import Execution
from limbeck.core.streams import Streams
from limbeck.data import Data, from_arrays
from limbeck.evaluation.evaluate import evaluate_real
from limbeck.evaluation.images import RealImages, Rows
from limbeck.evaluation.labels import ByTeacher, Labels
from limbeck.evaluation.protocols import Protocol, for_data
from limbeck.evaluation.students import Source, Student, train, train_and_judge, train_together
from limbeck.networks import build
from limbeck.training.ensemble import side_by_side, split, stack
from limbeck.training.lessons import Lessons
from limbeck.training.settings import BatchDraws
from limbeck.training.supervised import Training, accuracy
from tests.evaluation.taught import by_teacher
from tests.evaluation.taught import protocol as protocol_with_teacher

PROTOCOL = Protocol(name="tiny", networks=("mlp",), repeats=2, budget="epochs", length=5)


def source(digits: Data) -> Source:
    rows = torch.cat([digits.train.class_rows(label)[:2] for label in range(10)])
    return Source(Rows(RealImages(digits.train)(rows)), digits.train.labels[rows], digits.spec, None, 0, 0.05)


def test_a_student_is_trained_in_place_and_judged_after_the_last_epoch(digits: Data) -> None:
    some, test = source(digits), digits.require_test()
    network, streams = build("mlp", digits.spec), Streams(7)
    weights = network.initial(streams("network"))
    before = {name: tensor.clone() for name, tensor in weights.items()}
    assert train(network, weights, some.images, some.labels, some.spec, PROTOCOL, 0.05, streams) is None
    assert not any(torch.equal(weights[name], before[name]) for name in before)
    wanted = accuracy(network, weights, RealImages(test), test.labels)
    (found,) = train_and_judge(some, PROTOCOL, [Student("mlp", 7, 0.05, test, Execution())])
    assert found.last == wanted and found.best is None


def test_the_best_look_is_that_of_some_epoch_on_the_way(digits: Data) -> None:
    some, student = source(digits), Student("mlp", 7, 0.05, digits.require_test(), Execution())
    looking = replace(PROTOCOL, checked_every=2, drops=())
    (found,) = train_and_judge(some, looking, [student])
    reached = [train_and_judge(some, replace(PROTOCOL, drops=(), length=n), [student])[0].last for n in (1, 3, 5)]
    assert found.last == reached[-1]
    assert found.best == pytest.approx(max(reached))


def test_networks_learn_under_the_augmentations_of_dc_and_imagenet(digits: Data) -> None:
    train, test = digits.train, digits.require_test()
    for augmentation in (DCAugment(operations=("crop", "noise")), DCAugment()):
        protocol = replace(PROTOCOL, networks=("convnet2:width=16",), repeats=1, length=15)
        protocol = replace(protocol, training=Training(lr=0.05, augmentation=augmentation))
        assert evaluate_real(train, test, protocol).mean > 0.6
    pairs = [(part.pixels.expand(-1, 3, -1, -1), part.labels) for part in (train, test)]
    coloured = from_arrays(*pairs, name="coloured", validation=0)
    protocol = for_data("idc_imagenet", coloured.spec, ("convnet2:width=16",), 1, decoded=10)
    protocol = replace(protocol, budget="updates", length=200, training=replace(protocol.training, lr=0.05))
    judged = evaluate_real(coloured.train, coloured.require_test(), protocol)
    assert judged.mean > 0.5


def test_training_longer_on_all_real_images_learns_them(digits: Data) -> None:
    protocol = Protocol(name="tiny", networks=("mlp",), repeats=1, budget="updates", length=150)
    scores = evaluate_real(digits.train, digits.require_test(), protocol)
    assert scores.mean > 0.7
    assert scores.images == len(digits.train)
    assert evaluate_real(digits.train, digits.require_test(), replace(protocol, length=1)).mean < scores.mean


# Side by side.

RICH = Protocol(
    name="rich",
    networks=("convnet2:width=4",),
    repeats=3,
    budget="epochs",
    length=6,
    drops=(0.5,),
    drop_factor=0.2,
    training=Training(
        lr=0.05,
        momentum=0.9,
        weight_decay=1e-3,
        batch_size=8,
        augmentation=IDCAugment(operations=("color", "crop", "scale", "rotate")),
        cutmix=0.5,
    ),
)


def double(digits: Data, soft: Labels | None = None, own: bool = False) -> Source:
    """Twenty images in float64, so that nothing but rounding far behind the point may differ."""
    some = source(digits)
    assert isinstance(some.images, Rows)
    labels = torch.rand(20, 10, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).softmax(dim=1)
    return replace(some, images=Rows(some.images.images.double()), soft=soft, labels=labels if own else some.labels)


def apart_and_together(some: Source, protocol: Protocol) -> float:
    """The largest difference of weights that were trained apart and side by side, in each network's own scale."""
    (name,) = protocol.networks
    alone = build(name, some.spec).to(torch.device("cpu"), torch.float64)
    streams = [Streams(seed) for seed in (5, 6, 7)]
    fresh = [alone.initial(own("network")) for own in streams]
    stacked = stack(fresh)
    network = side_by_side(alone, 3)
    epochs = list(train_together(network, stacked, some, protocol, 0.05, streams))
    assert epochs == list(range(protocol.length))
    differences = []
    for weights, own, mine in zip(fresh, streams, split(network, stacked), strict=True):
        train(alone, weights, some.images, some.labels, some.spec, protocol, 0.05, own, soft=some.soft)
        differences += [float((weights[name] - mine[name]).abs().max()) for name in weights]
    return max(differences)


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("network", ["convnet2:width=4", "convnet2:width=4,norm=batch", "mlp"])
def test_networks_side_by_side_are_those_trained_alone(digits: Data, network: str, own: bool) -> None:
    assert apart_and_together(double(digits, own=own), replace(RICH, networks=(network,))) < 1e-9


def test_they_are_under_a_momentum_that_changes_and_with_adam(digits: Data) -> None:
    changing = replace(RICH, momentum_after=0.8, forget=True)
    assert apart_and_together(double(digits), changing) < 1e-9
    adam = replace(RICH, training=replace(RICH.training, optimizer="adamw", decay="matrices", lr=0.001, mixup=0.0))
    assert apart_and_together(double(digits), adam) < 1e-6  # a gradient that is zero but for rounding is normalized


def test_each_is_taught_by_the_teacher_as_it_would_be_alone(digits: Data) -> None:
    taught = replace(protocol_with_teacher(12), networks=("convnet2:width=4",))
    soft = by_teacher()
    some = double(digits, SaysInDouble(soft))
    assert apart_and_together(some, replace(taught, budget="epochs", length=4)) < 1e-9


def test_they_reach_the_same_and_look_alike(digits: Data) -> None:
    some, looking = source(digits), replace(RICH, checked_every=2)
    students = [
        Student("convnet2:width=4", seed, 0.05, digits.require_test(), Execution(together=3)) for seed in (1, 2, 3)
    ]
    together = train_and_judge(some, looking, students)
    apart = [train_and_judge(some, looking, [student])[0] for student in students]
    assert len({one.last for one in together}) > 1
    for mine, own in zip(together, apart, strict=True):
        assert mine.best is not None and own.best is not None
        assert (mine.last, mine.best) == pytest.approx((own.last, own.best), abs=0.01)


@dataclass(frozen=True)
class InDouble(Lessons):
    """A teacher in float32 that students in float64 listen to."""

    taught: Lessons

    def order(self, epoch: int) -> list[Tensor]:
        return self.taught.order(epoch)

    def draws(self, epoch: int, batch: int, rows: Tensor) -> BatchDraws:
        return self.taught.draws(epoch, batch, rows)

    def logits(self, epoch: int, batch: int, images: Tensor) -> Tensor | None:
        said = self.taught.logits(epoch, batch, images.float())
        assert said is not None
        return said.double()


class SaysInDouble(ByTeacher):
    """The labels of `InDouble`."""

    def __init__(self, labels: ByTeacher) -> None:
        super().__init__(labels.teacher)

    def lessons(self, batches: Lessons, protocol: Protocol, classes: int) -> Lessons:
        return InDouble(super().lessons(batches, protocol, classes))
