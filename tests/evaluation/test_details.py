from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from limbeck.core.streams import Streams
from limbeck.data import Data
from limbeck.evaluation.details import Details, look
from limbeck.evaluation.evaluate import evaluate_real
from limbeck.evaluation.images import RealImages
from limbeck.evaluation.protocols import Protocol
from limbeck.networks import build
from limbeck.training.supervised import accuracy


@pytest.mark.parametrize("chunk", [7, 512, 2000])
def test_a_look_says_what_all_logits_at_once_say(chunk: int, digits: Data) -> None:
    test, network = digits.require_test(), build("mlp", digits.spec)
    weights = network.initial(Streams(3)("network"))
    found = look(network, weights, RealImages(test), test.labels, chunk)
    logits = network(weights, RealImages(test)(torch.arange(len(test))), train=False).detach().double()
    assert found.accuracy == accuracy(network, weights, RealImages(test), test.labels)
    assert found.likelihood == pytest.approx(float(F.cross_entropy(logits, test.labels)), rel=1e-5)
    chances, wanted = logits.softmax(dim=1), F.one_hot(test.labels, 10)
    assert found.brier == pytest.approx(float((chances - wanted).square().sum(dim=1).mean()), rel=1e-5)
    confidence, guess = chances.max(dim=1)
    error = 0.0
    for low in range(15):
        inside = (confidence > low / 15) & (confidence <= (low + 1) / 15)
        if inside.any():
            gap = (guess == test.labels)[inside].double().mean() - confidence[inside].mean()
            error += float(inside.double().mean() * gap.abs())
    assert found.calibration_error == pytest.approx(error, rel=1e-4)
    for label, row in enumerate(found.confusion):
        assert list(row) == torch.bincount(guess[test.labels == label], minlength=10).tolist()


def test_classes_by_themselves() -> None:
    details = Details(((3, 1, 0), (0, 0, 0), (2, 0, 2)), 0.0, 0.0, 0.0)
    assert details.accuracy == 5 / 8
    assert details.class_accuracies == (0.75, None, 0.5)


def test_an_evaluation_keeps_them_for_every_network(digits: Data) -> None:
    protocol = Protocol(name="tiny", networks=("mlp",), repeats=2, budget="updates", length=40)
    (entry,) = evaluate_real(digits.train, digits.require_test(), protocol).networks
    assert tuple(one.accuracy for one in entry.details) == entry.accuracies
    assert entry.looks == 1
    counts = torch.bincount(digits.require_test().labels, minlength=10).tolist()
    assert all([sum(row) for row in one.confusion] == counts for one in entry.details)
    assert all(0 <= one.calibration_error <= 1 and 0 <= one.brier <= 2 for one in entry.details)
