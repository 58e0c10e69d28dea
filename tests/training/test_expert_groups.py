from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from limbeck.core.context import Context
from limbeck.core.errors import RunError
from limbeck.core.streams import Streams
from limbeck.training.expert_groups import Expert, mean_change, squared_change
from limbeck.training.experts import build_experts, train_experts
from limbeck.training.supervised import fit
from tests.training.few_experts import COURSE, NETWORK, TRAINING, WANTED, near


def same(ours: Expert, theirs: Expert) -> bool:
    return ours.facts == theirs.facts and all(
        torch.equal(ours.snapshots[epoch][name], tensor)
        for epoch, weights in theirs.snapshots.items()
        for name, tensor in weights.items()
    )


def test_an_expert_is_a_network_in_training_seen_after_every_epoch(context_of: Callable[..., Context]) -> None:
    context, expert = context_of(), train_experts(context_of(), replace(WANTED, epochs=(0, 1, 2, 3, 4)))[1]
    network, streams = context.network(NETWORK), Streams(0)
    weights = network.initial(streams("expert", 1))
    seen = [{name: tensor.clone() for name, tensor in weights.items()}]
    right: list[int] = []

    def watch(epoch: int, rows: Tensor, guesses: Tensor) -> None:
        if epoch == 3:
            right.append(int((guesses == context.data.labels[rows]).sum()))

    for _ in fit(
        network,
        weights,
        lambda rows: context.spec.normalization.apply(context.data.images(rows)),
        context.data.labels,
        TRAINING,
        Streams(streams("expert training", 1).seed),
        context.spec.shape,
        lambda epoch: 0.02,
        4 * 3,
        watch=watch,
    ):
        seen.append({name: tensor.clone() for name, tensor in weights.items()})
    for epoch in range(5):
        near(expert.snapshots[epoch], seen[epoch])
    changes = [
        sum(float((seen[epoch + 1][name] - seen[epoch][name]).square().sum()) for name in weights) for epoch in range(4)
    ]
    assert expert.facts["changes"] == pytest.approx(changes, rel=1e-9)
    assert expert.facts["avg_var"] == pytest.approx(sum(changes) / 4, rel=1e-9)
    assert expert.facts["accuracy"] == pytest.approx(sum(right) / 36)


def test_snapshots_are_copies_that_differ(context_of: Callable[..., Context]) -> None:
    for course in (COURSE, replace(COURSE, together=2)):
        snapshots = train_experts(context_of(), replace(WANTED, course=course, count=1))[0].snapshots
        assert list(snapshots) == [0, 1, 2, 4]
        for name in ("blocks.0.conv.weight", "classifier.weight"):
            kept = [weights[name] for weights in snapshots.values()]
            assert len({tensor.untyped_storage().data_ptr() for tensor in kept}) == 4
            assert all(not torch.equal(one, other) for one, other in itertools.pairwise(kept))


def test_one_seed_makes_one_trajectory(context_of: Callable[..., Context]) -> None:
    first = train_experts(context_of(seed=1), WANTED)
    again = train_experts(context_of(seed=2), replace(WANTED, count=2))
    assert all(same(one, other) for one, other in zip(first, again, strict=False))
    assert not same(first[0], first[1])
    assert not same(first[0], train_experts(context_of(), replace(WANTED, count=1, seed=1))[0])


def test_changes_do_not_depend_on_what_is_kept_and_running_statistics_do_not_count(
    context_of: Callable[..., Context],
) -> None:
    wanted = replace(WANTED, network="convnet1:width=4,norm=batch", count=1)
    many, few = (train_experts(context_of(), replace(wanted, epochs=kept))[0] for kept in ((0, 1, 2, 3, 4), (4,)))
    assert many.facts == few.facts and list(few.snapshots) == [4]
    parameters = [name for name in many.snapshots[0] if "running" not in name and "tracked" not in name]
    first, second = ({name: many.snapshots[epoch][name] for name in parameters} for epoch in (0, 1))
    assert squared_change(first, second) == pytest.approx(many.facts["changes"][0])
    assert mean_change([1.0, 2.0, 6.0]) == 3


@pytest.mark.parametrize(
    "fields",
    [{}, {"rho": 0.1}, {"penalty": "sample", "clip": (0.5, 0.7), "drops": (2,)}],
    ids=["sgd", "gsam", "smooth"],
)
def test_experts_trained_together_are_those_trained_apart(
    context_of: Callable[..., Context], fields: dict[str, Any]
) -> None:
    wanted = replace(WANTED, course=replace(COURSE, **fields))
    apart = train_experts(context_of(), wanted)
    together = train_experts(context_of(), replace(wanted, course=replace(wanted.course, together=2)))
    assert len(apart) == len(together) == 3
    for one, other in zip(apart, together, strict=True):
        assert one.facts["accuracy"] == other.facts["accuracy"]
        assert one.facts["changes"] == pytest.approx(other.facts["changes"], rel=1e-8)
        for epoch in WANTED.epochs:
            near(one.snapshots[epoch], other.snapshots[epoch], 1e-10)


def test_the_optimizer_forgets_where_the_step_size_drops(context_of: Callable[..., Context]) -> None:
    course = replace(COURSE, drops=(2,), drop_factor=0.5)
    ends = [
        train_experts(context_of(), replace(WANTED, course=one, count=1))[0]
        for one in (course, replace(course, forget=False), COURSE)
    ]
    assert torch.equal(ends[0].snapshots[2]["classifier.weight"], ends[2].snapshots[2]["classifier.weight"])
    last = [end.snapshots[4]["classifier.weight"] for end in ends]
    assert not torch.equal(last[0], last[1]) and not torch.equal(last[1], last[2])


def test_an_expert_that_diverges_says_so(context_of: Callable[..., Context], tmp_path: Path) -> None:
    wild = replace(COURSE, training=replace(TRAINING, lr=1e30, augmentation=None))
    with pytest.raises(RunError, match=r"training of expert 0 \(convnet1:width=4\) diverged in epoch"):
        build_experts(context_of(), replace(WANTED, course=wild), tmp_path)
