from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from limbeck.augmentations.dc_augment import DCAugment
from limbeck.core.execution import Execution
from limbeck.core.streams import Streams
from limbeck.data import Data, from_arrays
from limbeck.evaluation.evaluate import evaluate_real
from limbeck.evaluation.protocols import Protocol, for_data
from limbeck.evaluation.students import RealImages, Rows, Source, Student, train, train_and_judge
from limbeck.networks import build
from limbeck.training.supervised import Training, accuracy

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
    found = train_and_judge(some, PROTOCOL, Student("mlp", 7, 0.05, test, Execution()))
    assert found.last == wanted and found.best is None


def test_the_best_look_is_that_of_some_epoch_on_the_way(digits: Data) -> None:
    some, student = source(digits), Student("mlp", 7, 0.05, digits.require_test(), Execution())
    looking = replace(PROTOCOL, checked_every=2, drops=())
    found = train_and_judge(some, looking, student)
    reached = [train_and_judge(some, replace(PROTOCOL, drops=(), length=n), student).last for n in (1, 3, 5)]
    assert found.last == reached[-1]
    assert found.best == pytest.approx(max(reached))


def test_networks_learn_under_the_augmentations_of_dc_and_imagenet(digits: Data) -> None:
    train, test = digits.train, digits.require_test()
    for augmentation in (DCAugment(operations=("crop", "noise")), DCAugment()):
        protocol = replace(PROTOCOL, networks=("convnet2:width=16",), repeats=1, length=150)
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
