"""Nothing of the test labels gets into a set or a network: when they are permuted, all is as before but the accuracy.

The data are patterns that a network can tell apart, seen in three classes. Of permuted labels nobody can know more than
chance: of n test images, permuted independently of what is said of them, the share of hits has mean p = 1 / K and, for
classes of one size, a standard deviation of at most sqrt(p (1 - p) / (n - 1)). Five of these to either side, as for a
binomial, are left in less than one of a million cases.
"""

from __future__ import annotations

import functools
import math
from dataclasses import replace

import pytest
import torch

from limbeck import registry
from limbeck.core.distilled import Distilled
from limbeck.core.recipe import Recipe
from limbeck.core.streams import Streams
from limbeck.data.images import ImageSet
from limbeck.data.splits import Data
from limbeck.engine.distill import distill
from limbeck.engine.settings import Settings
from limbeck.evaluation.evaluate import evaluate, evaluate_real
from limbeck.evaluation.labels import ByTeacher
from limbeck.evaluation.protocols import PROTOCOLS, Protocol, for_data
from limbeck.evaluation.scores import NetworkScores
from limbeck.evaluation.teaching import taught_by
from limbeck.methods.random import random
from limbeck.testing import small, starting_recipe, toy
from limbeck.training.settings import Training
from limbeck.training.teacher import Teacher

CLASSES, EACH, IPC = 3, 100, 2
NETWORK = "convnet1:width=4"
TEACHER = Teacher(network="convnet1:width=4,norm=batch", training=Training(lr=0.05, batch_size=16), epochs=2)
CHANCE = 1 / CLASSES
BOUND = 5 * math.sqrt(CHANCE * (1 - CHANCE) / (CLASSES * EACH - 1))
METHODS = registry.methods()
QUIET = Settings(progress="quiet", device="cpu")
NEEDING_RATE = ("mtt", "ast", "ast_official")
"""Protocols that train with the step size of the set, or with one that is named."""


@functools.cache
def data(permuted: bool) -> Data:
    train, held = toy(CLASSES, 12, 3), toy(CLASSES, EACH, 3)
    labels = held.labels
    if permuted:
        labels = labels[Streams(0)("permuted").permutation(len(labels))]
    return Data(train=train, validation=None, test=ImageSet(held.pixels, labels, train.spec), spec=train.spec)


@functools.cache
def teacher(permuted: bool) -> ByTeacher:
    return taught_by(TEACHER, data(permuted).train, cache=False)


@functools.cache
def made(name: str, permuted: bool) -> Distilled:
    recipe = small(starting_recipe(METHODS[name]))
    return distill(recipe, data(permuted), ipc=IPC, seed=1, settings=QUIET)


def short(name: str, length: int = 2) -> Protocol:
    """The protocol with one small network, trained for a moment."""
    lr = 0.01 if name in NEEDING_RATE else None
    protocol = for_data(name, data(False).spec, (NETWORK,), ipc=IPC, factor=1, lr=lr)
    return replace(protocol, repeats=1, length=length)


def judged(name: str, protocol: Protocol, permuted: bool) -> NetworkScores:
    labels = None if protocol.soft is None else teacher(permuted)
    test = data(permuted).require_test()
    (scores,) = evaluate(made(name, permuted), test, protocol, labels=labels, seed=2).networks
    return scores


def said(scores: NetworkScores) -> list[int]:
    """How often each class was named, whatever the labels."""
    (details,) = scores.details
    return [sum(column) for column in zip(*details.confusion, strict=True)]


def check(method: str, protocol: Protocol) -> None:
    """Chance on permuted labels; and the same set, and a network that says the same, as with the true ones."""
    assert torch.equal(made(method, True).stored, made(method, False).stored)
    scores = judged(method, protocol, True)
    (accuracy,) = scores.accuracies
    assert abs(accuracy - CHANCE) < BOUND
    assert said(scores) == said(judged(method, protocol, False))


@pytest.mark.parametrize("method", METHODS)
def test_every_method(method: str) -> None:
    check(method, short("limbeck"))


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_every_protocol(protocol: str) -> None:
    check("random", short(protocol))


@pytest.mark.slow
@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("method", METHODS)
def test_every_method_under_every_protocol(method: str, protocol: str) -> None:
    check(method, short(protocol))


def test_true_labels_are_learnt_and_a_leak_would_be_seen() -> None:
    """Networks that train long enough know the patterns; and permuted labels, where they are shown them."""
    protocol = replace(short("limbeck", length=200), networks=("convnet2:width=16",))
    plain = replace(protocol, training=replace(protocol.training, augmentation=None, cutmix=0.0))
    honest, permuted = data(False), data(True)
    recipe: Recipe = random()
    distilled = distill(recipe, honest, ipc=IPC, settings=QUIET)
    assert evaluate(distilled, honest.require_test(), plain).mean > 0.9
    assert abs(evaluate(distilled, permuted.require_test(), plain).mean - CHANCE) < BOUND
    test = permuted.require_test()
    leak = replace(plain, training=replace(plain.training, lr=0.05), length=400)
    assert evaluate_real(test, test, leak).mean > CHANCE + 2 * BOUND
