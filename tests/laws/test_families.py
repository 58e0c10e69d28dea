"""What holds for every part of a slot, whoever wrote it."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch

from limbeck import registry
from limbeck.core.batch import Moment, View
from limbeck.core.context import Context
from limbeck.core.contracts import (
    Augmentation,
    Curriculum,
    ImageOptimizer,
    Initializer,
    Labeler,
    Parametrization,
    Pool,
    Sampler,
)
from limbeck.core.network import Weights
from limbeck.core.real import DataSpec, Normalization
from limbeck.core.streams import Stream
from limbeck.parametrizations.partition import Partition
from limbeck.parametrizations.plain import Plain
from limbeck.pools.experts import Experts
from tests.battery.test_parts import make

SPACES = [
    Plain(),
    Partition(factor=2),
    Partition(factor=3),
    Partition(factor=2, axes="columns"),
    Partition(factor=3, kind="multi"),
    Partition(factor=3, kind="bound", bound=14),
]


def family(slot: str) -> Any:
    kinds = registry.parts_of(slot)
    return pytest.mark.parametrize("part", [make(kind) for kind in kinds.values()], ids=list(kinds))


def unequal(context_of: Callable[..., Context], portion: Callable[..., object], seed: int = 0) -> Context:
    return context_of(portion(3, [12, 4, 9]), seed=seed)


@pytest.mark.parametrize("parametrization", SPACES, ids=str)
@family("initializer")
def test_initial_images_fill_the_unit_interval_and_repeat(
    part: Initializer,
    parametrization: Parametrization,
    context_of: Callable[..., Context],
    portion: Callable[..., object],
    view_of: Callable[..., View],
) -> None:
    context = unequal(context_of, portion)
    view = view_of(context)
    images = part.images(context, parametrization, view)
    assert images.shape == (3, 2, 1, 8, 8) and images.dtype == torch.float64
    assert images.min() >= 0 and images.max() <= 1
    assert torch.equal(part.images(unequal(context_of, portion), parametrization, view), images)
    # Whoever changes the result changes no real image.
    real = context.data.images(torch.arange(len(context.data)))
    images.zero_()
    assert torch.equal(context.data.images(torch.arange(len(context.data))), real)


@family("parametrization")
def test_decoding_gives_the_promised_number_of_images(part: Parametrization) -> None:
    for ipc in (1, 3):
        stored = Stream(0).uniform(ipc, 2, 8, 8)
        kept = stored.clone()
        decoded = part.decode(stored)
        assert decoded.shape == (part.parts(ipc), 2, 8, 8)
        assert part.encode(decoded, ipc).shape == stored.shape
        assert torch.equal(part.decode(stored), decoded)
        assert torch.equal(stored, kept)


@family("parametrization")
def test_every_stored_value_matters(part: Parametrization) -> None:
    stored = Stream(0).uniform(2, 1, 8, 8).requires_grad_()
    (slope,) = torch.autograd.grad(part.decode(stored).sum(), stored)
    assert (slope > 0).all()


@family("augmentation")
def test_augmentations_keep_shape_and_order_and_the_global_generator(part: Augmentation) -> None:
    images, before = Stream(0).normal(5, 3, 8, 8), torch.get_rng_state()
    part = part.bound(DataSpec("colours", 3, 8, 8, ("a", "b"), Normalization((0.5,) * 3, (0.25,) * 3), "none"))
    for seed in range(5):
        private = part.draw(Stream(seed), (3, 8, 8), 5)
        every = [private, part.draw(Stream(seed), (3, 8, 8), None)] if part.offers() else [private]
        for draws in every:
            assert part.apply(images, draws).shape == images.shape
            assert torch.equal(part.apply(images, draws), part.apply(images, draws))
        if not part.offers():
            continue  # for the training of networks only
        # Shared numbers tie both sides of a comparison: the batch may be split anywhere.
        shared = every[1]
        pieces = [part.apply(some, shared) for some in images.split([2, 3])]
        torch.testing.assert_close(torch.cat(pieces), part.apply(images, shared))
    assert torch.equal(images, Stream(0).normal(5, 3, 8, 8))
    assert torch.equal(torch.get_rng_state(), before)


@family("sampler")
def test_samplers_stay_in_the_class_and_follow_from_the_position(
    part: Sampler, context_of: Callable[..., Context], portion: Callable[..., object], view_of: Callable[..., View]
) -> None:
    context = unequal(context_of, portion)
    view = view_of(context)

    def walk(labels: list[int]) -> Iterator[tuple[tuple[int, int, int], list[int]]]:
        state = part.init(context)
        for iteration in range(2):
            for step in range(3):
                moment = Moment(iteration, step, 3)
                state = part.refresh(state, context, moment, view)
                for label in labels:
                    yield (iteration, step, label), part.rows(state, context, moment, label).tolist()

    forwards, backwards = dict(walk([0, 1, 2])), dict(walk([2, 1, 0]))
    assert forwards == backwards
    for (_, _, label), rows in forwards.items():
        members = context.data.class_rows(label).tolist()
        assert 0 < len(rows) <= len(members) and len(set(rows)) == len(rows) and set(rows) <= set(members)


@family("pool")
def test_pools_are_seeded_and_show_what_they_hold(part: Pool, context_of: Callable[..., Context]) -> None:
    if isinstance(part, Experts):
        part = replace(part, seed=None)  # else runs of all seeds share their experts, as they should

    def live(seed: int) -> View:
        context = context_of(seed=seed)
        state = part.draw(part.init(context), context, 0)
        images = context.spec.normalization.apply(context.data.images(torch.arange(6)))
        for step in range(3):
            state = part.advance(state, context, Moment(0, step, 3), lambda: (images, context.data.labels[:6]))
        return part.view(state, context)

    def held(view: View) -> list[Weights]:
        return [view.weights, *(view.trajectory.weights if view.trajectory else ())]

    one, same, other = held(live(0)), held(live(0)), held(live(1))
    parameters = live(0).network.parameter_names()
    assert len(one) == len(same) == len(other)
    for mine, again, theirs in zip(one, same, other, strict=True):
        assert set(parameters) <= set(mine)
        assert all(torch.equal(mine[name], again[name]) for name in mine)
        assert any(not torch.equal(mine[name], theirs[name]) for name in mine)
        assert all(torch.isfinite(tensor).all() for tensor in mine.values())
    # What is shown as a way goes on from the weights that are shown, and moves.
    for before, after in itertools.pairwise(one[1:]):
        assert all(torch.equal(one[0][name], one[1][name]) for name in one[0])
        assert any(not torch.equal(before[name], after[name]) for name in parameters)


@family("pool")
def test_pools_offer_what_their_views_hold(part: Pool, context_of: Callable[..., Context]) -> None:
    context = context_of()
    view = part.view(part.draw(part.init(context), context, 0), context)
    assert (view.trajectory is not None) == ("expert trajectories" in part.offers())


@family("curriculum")
def test_curricula_go_through_steps_in_order(part: Curriculum) -> None:
    steps = min(part.length(), 500)
    moments = [part.moment(ordinal) for ordinal in range(steps)]
    assert moments[0].iteration == 0 and moments[0].step == 0
    for one, following in itertools.pairwise(moments):
        if one.last:
            assert (following.iteration, following.step) == (one.iteration + 1, 0)
        else:
            assert (following.iteration, following.step) == (one.iteration, one.step + 1)
    assert part.moment(part.length() - 1).last


@family("labeler")
def test_targets_are_one_per_decoded_image(part: Labeler) -> None:
    for label in range(3):
        assert len(part.targets(label, 5)) == 5


@family("optimizer")
def test_at_rest_nothing_moves_without_a_gradient(part: ImageOptimizer, context_of: Callable[..., Context]) -> None:
    context = context_of()
    stored = Stream(0).uniform(3, 2, 1, 8, 8)
    state = part.init(context)
    assert torch.equal(part.open_iteration({}, stored, torch.zeros(1), torch.ones(1), 0)[1], stored)
    assert torch.equal(part.at_turn(state, stored, context), stored)
    _, after = part.update(state, stored, torch.zeros_like(stored), context, Moment(0, 0, 1))
    assert torch.equal(after, stored)


@family("optimizer")
def test_a_step_goes_downhill_and_keeps_its_arguments(part: ImageOptimizer, context_of: Callable[..., Context]) -> None:
    context = context_of()
    stored, slope = Stream(0).uniform(3, 2, 1, 8, 8), Stream(1).normal(3, 2, 1, 8, 8)
    kept = stored.clone(), slope.clone()
    _, after = part.update(part.init(context), stored, slope, context, Moment(0, 0, 1))
    assert (((after - stored) * slope).sum(dim=(1, 2, 3, 4)) < 0).all()
    assert torch.equal(stored, kept[0]) and torch.equal(slope, kept[1])


def test_no_part_keeps_a_secret() -> None:
    # What a part remembers is in its state: instances hold their fields and nothing else.
    for kind in registry.parts().values():
        part = make(kind)
        assert set(vars(part)) == {item.name for item in dataclasses.fields(kind)}
