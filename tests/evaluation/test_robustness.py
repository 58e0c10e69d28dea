from __future__ import annotations

import importlib.metadata
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from limbeck.core.distilled import Distilled
from limbeck.core.errors import InputError
from limbeck.core.streams import Streams
from limbeck.data import Data
from limbeck.engine.distill import distill
from limbeck.engine.settings import Settings
from limbeck.evaluation import robustness as room
from limbeck.evaluation.evaluate import evaluate
from limbeck.evaluation.protocols import Protocol
from limbeck.evaluation.robustness import Attack, Attacked, Robustness, Seen, robustness
from limbeck.methods.random import random
from limbeck.networks import build
from limbeck.training.settings import Training

PROTOCOL = Protocol(
    name="tiny", networks=("mlp",), repeats=2, budget="updates", length=60, training=Training(lr=0.05, batch_size=32)
)
ATTACK = Attack(epsilons=(0.05, 0.1, 0.3), steps=5, images=0)


@pytest.fixture(scope="module")
def distilled(digits: Data) -> Distilled:
    return distill(random(), digits, ipc=5, settings=Settings(device="cpu", progress="quiet"))


@pytest.fixture
def toolbox() -> None:
    pytest.importorskip("art")


def test_gradients_flow_to_images_through_the_normalization(whitened: Data) -> None:
    test, network = whitened.require_test(), build("mlp", whitened.spec)
    weights = network.initial(Streams(0)("network"))
    images = test.images(range(4)).requires_grad_()
    logits = Seen(network, weights, whitened.spec.normalization)(images)
    assert torch.equal(logits, network(weights, whitened.spec.normalization.apply(images), train=False))
    F.cross_entropy(logits, test.labels[:4]).backward()
    assert images.grad is not None
    assert bool((images.grad.flatten(1).abs().sum(dim=1) > 0).all())
    assert all(tensor.grad is None for tensor in weights.values())


@pytest.mark.usefixtures("toolbox")
def test_larger_budgets_leave_fewer_images_and_none_is_the_accuracy(distilled: Distilled, digits: Data) -> None:
    before, state = torch.random.get_rng_state(), np.random.get_state()[1]
    calls: list[tuple[int, int]] = []
    test = digits.require_test()
    found = robustness(distilled, test, PROTOCOL, ATTACK, seed=3, done=lambda *one: calls.append(one))
    assert calls == [(1, 2), (2, 2)]
    assert torch.equal(torch.random.get_rng_state(), before)
    assert np.array_equal(np.random.get_state()[1], state)
    (entry,), (judged,) = found.networks, evaluate(distilled, test, PROTOCOL, seed=3).networks
    assert entry.clean == judged.accuracies and entry.seeds == judged.seeds
    assert found.images == len(test)
    for clean, attacked in zip(entry.clean, entry.accuracies, strict=True):
        assert [clean, *attacked] == sorted([clean, *attacked], reverse=True)
        assert clean > 0.5 and attacked[-1] < 0.5 * clean
    assert robustness(distilled, test, PROTOCOL, ATTACK, seed=3).networks == found.networks


@pytest.mark.usefixtures("toolbox")
def test_attacks_stay_within_their_budget_and_beat_noise_of_that_size(digits: Data) -> None:
    test, network = digits.require_test(), build("mlp", digits.spec)
    model = Seen(network, network.initial(Streams(0)("network")), digits.spec.normalization)
    images, labels = test.images(range(64)), test.labels[:64]
    moved = room._moved(model, digits.spec, ATTACK, 0.1, images, labels, seed=1)
    assert moved.shape == images.shape and moved.dtype == images.dtype
    assert float((moved - images).abs().max()) <= 0.1 + 1e-6
    assert float(moved.min()) >= 0 and float(moved.max()) <= 1
    sign = 2 * Streams(0)("noise").integers(0, 1, *images.shape).float() - 1
    noisy = (images + 0.1 * sign).clamp(0, 1)
    plain, shaken, attacked = (float(F.cross_entropy(model(some), labels)) for some in (images, noisy, moved))
    assert attacked - plain > 3 * abs(shaken - plain)


@pytest.mark.usefixtures("toolbox")
def test_a_part_of_the_test_images_is_chosen_by_the_seed(distilled: Distilled, digits: Data) -> None:
    few = replace(ATTACK, images=50, epsilons=(0.1,), steps=1)
    short = replace(PROTOCOL, repeats=1)
    one, other = (robustness(distilled, digits.require_test(), short, few, seed=seed) for seed in (0, 1))
    assert one.images == other.images == 50
    assert one.networks[0].clean[0] == pytest.approx(round(one.networks[0].clean[0] * 50) / 50)


def test_points_are_means_over_all_networks() -> None:
    entries = (Attacked("a", (0.8, 0.6), ((0.5,), (0.3,)), (1, 2), 0.01), Attacked("b", (0.7,), ((0.1,),), (3,), 0.01))
    found = Robustness(PROTOCOL, Attack(epsilons=(0.1,)), entries, 100, 0, 1.0, "1")
    (none, clean, spread), (budget, attacked, _) = found.points()
    assert (none, budget) == (0.0, 0.1)
    assert (clean, spread, attacked) == (pytest.approx(0.7), pytest.approx(0.1), pytest.approx(0.3))


@pytest.mark.parametrize(
    "attack",
    [
        Attack(epsilons=()),
        Attack(epsilons=(0.1, 0.1)),
        Attack(epsilons=(0.0,)),
        Attack(epsilons=(2.0,)),
        Attack(steps=0),
    ],
)
def test_budgets_that_cannot_be_are_refused(attack: Attack, digits: Data) -> None:
    with pytest.raises(InputError, match="an attack needs budgets above 0"):
        attack.check(digits.spec)


def test_a_missing_library_is_named_with_what_to_install(digits: Data, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", missing)
    with pytest.raises(InputError, match=r"pip install 'limbeck\[robustness\]'"):
        ATTACK.check(digits.spec)
