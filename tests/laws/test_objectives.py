"""Laws of objectives: the gap closes when synthetic equals real, and gradients are those of the loss."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from limbeck import registry
from limbeck.core.batch import Block, Moment, View
from limbeck.core.context import Context
from limbeck.core.contracts import Objective, Peers
from limbeck.core.errors import InputError
from limbeck.core.streams import Stream
from limbeck.objectives.kernel_mmd import KernelMMD
from limbeck.objectives.layer_alignment import LayerAlignment
from limbeck.parametrizations.plain import Plain
from limbeck.pools.experts import Experts
from limbeck.training.expert_training import ExpertTraining
from limbeck.training.settings import Training
from tests.battery.test_parts import make

KINDS = registry.parts_of("objective")
every = pytest.mark.parametrize("part", [make(kind) for kind in KINDS.values()], ids=list(KINDS))
SMOOTH = "convnet1:width=2,activation=swish"


@pytest.fixture
def context(context_of: Callable[..., Context]) -> Context:
    return context_of(ipc=4)


@pytest.fixture
def view(context: Context, view_of: Callable[..., View]) -> View:
    return view_of(context, SMOOTH)


def seen_by(part: Objective, view: View, context: Context, view_of: Callable[..., View]) -> View:
    """A view that the objective can learn from: some need batch norm, some an expert that was trained."""
    if "expert trajectories" in part.needs():
        pool = Experts(
            network=SMOOTH,
            count=1,
            course=ExpertTraining(training=Training(lr=0.1, batch_size=12), epochs=3),
            span=2,
            starts=2,
        )
        return pool.view(pool.draw(pool.init(context), context, 0), context)
    try:
        part.fits(view.network)
    except InputError:
        return replace(view_of(context, f"{SMOOTH},norm=batch"), train=False)
    return view


def block_of(part: Objective, context: Context, peers: Peers) -> Block:
    labels = tuple(range(context.spec.classes))
    rows = torch.stack([context.data.class_rows(label)[:4] for label in labels])
    return Block(
        labels=labels,
        stored=Stream(0).uniform(len(labels), 4, *context.spec.shape),
        targets=torch.tensor(labels)[:, None].expand(-1, 4),
        real=context.data.images(rows),
        counts=(4,) * len(labels),
        draws=tuple(draws for draws, _ in part.draws(context, Moment(0, 0, 1), labels, peers)),
        memory=part.init(context),
    )


@every
def test_the_gap_is_zero_when_synthetic_equals_real(part: Objective, context: Context, view: View) -> None:
    if isinstance(part, LayerAlignment):
        part = replace(part, discrimination=0.0)  # telling the classes apart is no gap
    if "real batches" not in part.needs():
        pytest.skip("looks at no real images")
    peers = Peers(Plain(), None, context.spec)
    block = block_of(part, context, peers)
    apart, _ = part.gradients(view, block, peers)
    # The order of the images does not matter.
    closed, gradients = part.gradients(view, replace(block, stored=block.real.flip(1)), peers)
    assert (closed.abs() < 1e-12 * apart.abs()).all() and (apart > 0).all()
    assert gradients.abs().max() < 1e-10


@every
def test_gradients_agree_with_finite_differences(
    part: Objective, context: Context, view: View, view_of: Callable[..., View]
) -> None:
    view = seen_by(part, view, context, view_of)
    if isinstance(part, KernelMMD):
        part = replace(part, kernel="polynomial")  # the width of the others' kernel is a constant to the gradient
    peers = Peers(Plain(), None, context.spec)
    block = block_of(part, context, peers)
    losses, gradients = part.gradients(view, block, peers)
    assert losses.shape == (3,) and gradients.shape == block.stored.shape
    step, direction = 1e-6, Stream(9).normal(*block.stored.shape)
    ends = [
        part.gradients(view, replace(block, stored=block.stored + sign * step * direction), peers)[0]
        for sign in (1, -1)
    ]
    slope = (ends[0] - ends[1]) / (2 * step)
    found = (gradients * direction).sum(dim=(1, 2, 3, 4))
    if part.joins_classes(view.network):
        found, slope = found.sum(), slope.sum()
    torch.testing.assert_close(found, slope, rtol=1e-5, atol=1e-8)
    assert gradients.abs().amax(dim=(1, 2, 3, 4)).min() > 0


@every
def test_what_it_is_given_is_left_alone(
    part: Objective, context: Context, view: View, view_of: Callable[..., View]
) -> None:
    view = seen_by(part, view, context, view_of)
    peers = Peers(Plain(), None, context.spec)
    block, before = block_of(part, context, peers), torch.get_rng_state()
    given = [block.stored, block.real, block.targets, *view.weights.values()]
    kept = [tensor.clone() for tensor in given]
    once, again = (part.gradients(view, block, peers) for _ in range(2))
    assert all(torch.equal(one, other) for one, other in zip(given, kept, strict=True))
    assert all(torch.equal(one, other) for one, other in zip(once, again, strict=True))
    assert torch.equal(torch.get_rng_state(), before)


@every
def test_losses_are_those_of_single_classes(part: Objective, context: Context, view: View) -> None:
    if part.joins_classes(view.network):
        pytest.skip("looks at all classes together")
    peers = Peers(Plain(), None, context.spec)
    block = block_of(part, context, peers)
    losses, _ = part.gradients(view, block, peers)
    for position in range(3):
        torch.testing.assert_close(part.loss(view, block.one(position), peers).detach(), losses[position])
