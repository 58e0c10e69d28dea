"""Each step of the oracle computes the numbers that the product's step computes."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from benchmarks.speed import oracle, product
from benchmarks.speed.cases import CASES, Case
from limbeck.core.streams import Streams
from limbeck.engine.settings import Settings
from limbeck.training.batches import epoch_batch

EAGER = Settings(compile="off", dtype="float64", progress="quiet", device="cpu")


def small(name: str, **changes: object) -> Case:
    """The case in float64 with small images, a narrow network and few of everything."""
    sizes = {"width": 4, "side": 16, "per_class": 24, "ipc": 2, "dtype": "float64", "batch": 8}
    sizes |= {"real": 7} if CASES[name].real else {}
    return replace(CASES[name], **(sizes | changes))


def same(one: Tensor, other: Tensor) -> None:
    torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)


def closer(one: Tensor, other: Tensor) -> None:
    """The same to 1e-10 of the largest number."""
    torch.testing.assert_close(one, other, rtol=0.0, atol=1e-10 * float(one.abs().max()))


@pytest.mark.parametrize("augmented", [False, True])
def test_idc_matching(augmented: bool) -> None:
    case = small("idc_matching")
    case = case if augmented else replace(case, operations=())
    plain, ours = oracle.IDCMatching(case), product.make(case, EAGER)
    assert isinstance(ours, product.Matching)
    for _ in range(3):
        plain.step()
        ours.step()
        same(torch.tensor(plain.losses, dtype=torch.float64), ours.losses)
        same(plain.stored.detach().unflatten(0, (2, 2)), ours.stored)


@pytest.mark.parametrize("name", ["dc_matching", "dsa_matching"])
def test_dc_matching(name: str) -> None:
    case = small(name)
    plain, ours = oracle.DCMatching(case), product.make(case, EAGER)
    assert isinstance(ours, product.Matching)
    for _ in range(4):  # with two classes all tokens of DSA
        plain.step()
        ours.step()
        same(torch.tensor(plain.loss, dtype=torch.float64), ours.losses.sum())
        assert plain.stored.grad is not None
        same(plain.stored.grad.unflatten(0, (2, 2)), ours.gradients)
        same(plain.stored.detach().unflatten(0, (2, 2)), ours.stored)


@pytest.mark.parametrize("augmented", [False, True])
def test_dm_matching(augmented: bool) -> None:
    case = small("dm_matching")
    case = case if augmented else replace(case, tokens=())
    plain, ours = oracle.DMMatching(case), product.make(case, EAGER)
    assert isinstance(ours, product.Matching)
    for _ in range(4):
        plain.step()
        ours.step()
        same(torch.tensor(plain.loss, dtype=torch.float64), ours.losses.sum())
        same(plain.stored.detach().unflatten(0, (2, 2)), ours.stored)


@pytest.mark.parametrize("augmented", [False, True])
def test_dsdm_matching(augmented: bool) -> None:
    case = small("dsdm_matching")
    case = case if augmented else replace(case, operations=())
    plain, ours = oracle.DSDMMatching(case), product.make(case, EAGER)
    assert isinstance(ours, product.Matching)
    for _ in range(3):
        plain.step()
        ours.step()
        same(torch.tensor(plain.losses, dtype=torch.float64), ours.losses)
        same(plain.stored.detach().unflatten(0, (2, 2)), ours.stored)
    if not augmented:  # the prototypes have random numbers of their own
        same(torch.stack(plain.history), ours.memory["history"])
    assert len(plain.history) == len(ours.memory["history"]) == 2


def test_dwa_recovery() -> None:
    case = small("dwa_recovery", classes=5, per_class=1, ipc=1, side=8)
    plain, ours = oracle.Recovery(case), product.make(case, EAGER)
    assert isinstance(ours, product.Recovery)
    for _ in range(3):
        plain.step()
        ours.step()
        same(torch.tensor(plain.loss, dtype=torch.float64), ours.losses.sum())
        assert plain.stored.grad is not None
        same(plain.stored.grad.unflatten(0, (5, 1)), ours.gradients)
        same(plain.stored.detach().unflatten(0, (5, 1)), ours.stored)


def test_dream_clustering() -> None:
    case = small("dream_clustering", per_class=200, clusters=16)
    plain, ours = oracle.Clustering(case, product.cluster_start(case)), product.make(case, EAGER)
    assert isinstance(ours, product.Clustering)
    plain.step()
    ours.step()
    assert plain.picks.tolist() == ours.picks.tolist()
    assert len(set(ours.picks.tolist())) > 8


def test_network_update() -> None:
    case = small("network_update", samples=32, operations=(), cutmix=0.0, per_class=5)
    batches = [epoch_batch(Streams(case.seed), "network training", 50, 8, number) for number in range(12)]
    orders = [torch.cat(batches[:6]), torch.cat(batches[6:])]
    plain, ours = oracle.Training(case, orders), product.make(case, EAGER)
    for _ in range(3):
        plain.step()
        ours.step()
    for own, other in zip(plain.net.parameters(), ours.weights.values(), strict=True):
        same(own.detach(), other)


def test_evaluation() -> None:
    case = small("evaluation", samples=50, operations=(), cutmix=0.0, per_class=5)
    orders = [Streams(case.seed)("epoch", epoch).permutation(50) for epoch in range(2)]
    plain, ours = oracle.Training(case, orders), product.Evaluation(case, EAGER)
    for _ in range(2):
        plain.step()
        ours.step()
    for own, other in zip(plain.net.parameters(), ours.each[0].values(), strict=True):
        same(own.detach(), other)


def test_networks_side_by_side_are_those_of_the_oracle_and_those_apart() -> None:
    case = small("ensemble", samples=150, together=3, operations=(), cutmix=0.0, per_class=5)
    streams = [Streams(case.seed + number) for number in range(3)]
    orders = [[own("epoch", epoch).permutation(50) for epoch in range(2)] for own in streams]
    plain = oracle.Ensemble(case, orders)
    ours, apart = (product.Evaluation(case, replace(EAGER, together=size)) for size in (3, 1))
    for _ in range(2):
        for one in (plain, ours, apart):
            one.step()
    assert len(ours.each) == len(apart.each) == 3
    for one, beside, alone in zip(plain.each, ours.each, apart.each, strict=True):
        for own, *others in zip(one.net.parameters(), beside.values(), alone.values(), strict=True):
            for other in others:
                same(own.detach(), other)


@pytest.mark.parametrize("name", ["network_update", "evaluation"])
def test_augmented_training_runs(name: str) -> None:
    case = small(name, samples=50 if name == "evaluation" else 16, per_class=5)
    plain, ours = oracle.Training(case), product.make(case, EAGER)
    for one in (plain, ours):
        one.step()
    assert 0 <= plain.top1 <= plain.top5 <= 100
    weights = ours.each[0] if isinstance(ours, product.Evaluation) else ours.weights
    assert all(bool(tensor.isfinite().all()) for tensor in weights.values())


@pytest.mark.parametrize("name", ["mtt_matching", "tesla_matching"])
@pytest.mark.parametrize("augmented", [False, True])
def test_trajectory_matching(name: str, augmented: bool) -> None:
    case = small(name, classes=3, ipc=2, per_class=2)
    case = case if augmented else replace(case, tokens=())
    plain, ours = oracle.make(case), product.make(case, EAGER)
    assert isinstance(plain, oracle.MTTMatching) and isinstance(ours, product.TrajectorySteps)
    for _ in range(4):
        plain.step()
        ours.step()
        assert plain.stored.grad is not None
        closer(torch.tensor(plain.loss, dtype=torch.float64), ours.losses.sum())
        closer(plain.stored.grad.unflatten(0, (3, 2)), ours.gradients)
        closer(plain.stored.detach().unflatten(0, (3, 2)), ours.stored)
        closer(plain.rate.detach(), ours.rate)
    assert float((ours.rate - case.student_lr).abs()) > 0


def test_the_two_gradients_of_trajectories_differ() -> None:
    case = small("mtt_matching", classes=3, ipc=2, per_class=2)
    exact, frozen = oracle.MTTMatching(case), oracle.TESLAMatching(case)
    for one in (exact, frozen):
        one.step()
    assert exact.stored.grad is not None and frozen.stored.grad is not None
    apart = (exact.stored.grad - frozen.stored.grad).norm() / exact.stored.grad.norm()
    assert exact.loss == pytest.approx(frozen.loss, rel=1e-12) and float(apart) > 1e-4
