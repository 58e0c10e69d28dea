from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from limbeck.augmentations.idc_augment import IDCAugment
from limbeck.core.batch import Block, Moment, View
from limbeck.core.context import Context
from limbeck.core.contracts import Peers
from limbeck.core.streams import Stream
from limbeck.objectives.gradient import GradientMatching
from limbeck.parametrizations.partition import Partition
from limbeck.parametrizations.plain import Plain

SMOOTH = "convnet1:width=2,activation=swish"
METRICS = ("mse", "l1", "l1_mean", "cosine")


@pytest.fixture
def context(context_of: Callable[..., Context]) -> Context:
    return context_of(ipc=2)


@pytest.fixture
def view(context: Context, view_of: Callable[..., View]) -> View:
    return view_of(context, SMOOTH)


def block_of(context: Context, peers: Peers, counts: tuple[int, ...] = (5, 5, 5), seed: int = 0) -> Block:
    """Real batches of the first ``counts`` images of each class, and random stored images."""
    classes, ipc = context.spec.classes, context.ipc
    stored = Stream(seed).uniform(classes, ipc, *context.spec.shape)
    width, parts = max(counts), peers.parametrization.parts(ipc)
    real = torch.stack([context.data.images(context.data.class_rows(label)[:width]) for label in range(classes)])
    draws = tuple(
        peers.augmentation.draw(Stream(label), context.spec.shape, None) if peers.augmentation else {}
        for label in range(classes)
    )
    targets = torch.arange(classes)[:, None].expand(-1, parts)
    return Block(tuple(range(classes)), stored, targets, real, counts, draws)


def plain_loss(
    view: View, context: Context, real: Tensor, synthetic: Tensor, label: int, metric: str, dims: tuple[int, ...]
) -> Tensor:
    """The distance written out with an ordinary module; images in [0, 1]."""
    module = view.network._make().to(torch.float64)
    module.load_state_dict(view.weights)
    parameters = [parameter for parameter in module.parameters() if parameter.ndim in dims]
    sides = []
    for images in (real, synthetic):
        logits = module(context.spec.normalization.apply(images))
        loss = F.cross_entropy(logits, torch.full((len(images),), label))
        sides.append(torch.autograd.grad(loss, parameters, create_graph=True))
    total = torch.zeros((), dtype=torch.float64)
    for a, b in zip(*sides, strict=True):
        rows = (a.reshape(len(a), -1), b.reshape(len(b), -1))
        if metric == "mse":
            total = total + (a - b).pow(2).sum()
        elif metric == "l1":
            total = total + (a - b).abs().sum()
        elif metric == "l1_mean":
            total = total + (rows[0] - rows[1]).abs().mean(dim=1).sum()
        elif a.ndim > 1:
            total = total + (1 - F.cosine_similarity(*rows, dim=1)).sum()
    return total


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize(("bias", "classifier"), [(False, False), (True, False), (False, True), (True, True)])
def test_loss_and_gradient_equal_an_ordinary_module(
    context: Context, view: View, metric: str, bias: bool, classifier: bool
) -> None:
    peers = Peers(Partition(factor=2), None, context.spec)
    objective = GradientMatching(metric=metric, bias=bias, classifier=classifier)  # type: ignore[arg-type]
    block = block_of(context, peers)
    losses, gradients = objective.gradients(view, block, peers)
    dims = (4, *((1,) if bias else ()), *((2,) if classifier else ()))
    # The guard of 1e-6 in the cosine's denominator is not in the plain version.
    tolerance = 1e-3 if metric == "cosine" else 1e-11
    for label in range(3):
        stored = block.stored[label].clone().requires_grad_()
        decoded = peers.parametrization.decode(stored)
        expected = plain_loss(view, context, block.real[label], decoded, label, metric, dims)
        torch.testing.assert_close(losses[label], expected.detach(), rtol=tolerance, atol=1e-12)
        (slope,) = torch.autograd.grad(expected, stored)
        torch.testing.assert_close(gradients[label], slope, rtol=tolerance, atol=tolerance * float(slope.abs().max()))


@pytest.mark.parametrize("metric", METRICS)
def test_gradient_agrees_with_finite_differences(context: Context, view: View, metric: str) -> None:
    peers = Peers(Partition(factor=2), IDCAugment(operations=("color", "crop")), context.spec)
    objective = GradientMatching(metric=metric)  # type: ignore[arg-type]
    block = block_of(context, peers)
    _, gradients = objective.gradients(view, block, peers)
    step, direction = 1e-6, Stream(9).normal(*block.stored.shape)
    ends = [
        objective.gradients(view, replace(block, stored=block.stored + sign * step * direction), peers)[0]
        for sign in (1, -1)
    ]
    slope = (ends[0] - ends[1]) / (2 * step)
    torch.testing.assert_close((gradients * direction).sum(dim=(1, 2, 3, 4)), slope, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("metric", ["mse", "l1", "l1_mean"])
@pytest.mark.parametrize("augmentation", [None, IDCAugment()])
def test_the_gap_is_zero_when_synthetic_equals_real(
    context: Context, view: View, metric: str, augmentation: IDCAugment | None
) -> None:
    peers = Peers(Plain(), augmentation, context.spec)
    block = block_of(context, peers, counts=(2, 2, 2))
    block = replace(block, stored=block.real)
    losses, gradients = GradientMatching(metric=metric, bias=True, classifier=True).gradients(  # type: ignore[arg-type]
        view, block, peers
    )
    torch.testing.assert_close(losses, torch.zeros(3, dtype=torch.float64), rtol=0, atol=1e-12)
    if metric == "mse":
        torch.testing.assert_close(gradients, torch.zeros_like(gradients), rtol=0, atol=1e-12)


def test_the_gap_is_zero_in_normalized_space_too(context: Context, view: View) -> None:
    peers = Peers(Plain(space="normalized"), None, context.spec)
    block = block_of(context, peers, counts=(2, 2, 2))
    block = replace(block, stored=context.spec.normalization.apply(block.real))
    losses, _ = GradientMatching().gradients(view, block, peers)
    assert losses.max() < 1e-20


@pytest.mark.parametrize("metric", METRICS)
def test_the_order_of_real_images_does_not_matter(context: Context, view: View, metric: str) -> None:
    peers = Peers(Plain(), IDCAugment(), context.spec)
    objective = GradientMatching(metric=metric)  # type: ignore[arg-type]
    block = block_of(context, peers)
    found = objective.gradients(view, block, peers)
    turned = objective.gradients(view, replace(block, real=block.real.flip(1)), peers)
    for one, other in zip(found, turned, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)


def test_padding_does_not_matter(context: Context, view: View) -> None:
    peers = Peers(Plain(), None, context.spec)
    objective = GradientMatching()
    block = block_of(context, peers, counts=(5, 3, 1))
    losses, gradients = objective.gradients(view, block, peers)
    spoiled = block.real.clone()
    for position, count in enumerate(block.counts):
        spoiled[position, count:] = float("nan")
    again = objective.gradients(view, replace(block, real=spoiled), peers)
    assert torch.equal(again[0], losses) and torch.equal(again[1], gradients)
    alone = objective.gradients(view, replace(block, counts=(1, 1, 1)), peers)[0]
    assert alone[2] == losses[2] and alone[0] != losses[0]


def test_classes_do_not_influence_one_another(context: Context, view: View) -> None:
    peers = Peers(Partition(factor=2), IDCAugment(), context.spec)
    objective = GradientMatching()
    block = block_of(context, peers)
    losses, gradients = objective.gradients(view, block, peers)
    changed = replace(block, stored=block.stored * torch.tensor([1.0, 1.0, 0.5]).view(3, 1, 1, 1, 1))
    again = objective.gradients(view, changed, peers)
    assert torch.equal(again[0][:2], losses[:2]) and torch.equal(again[1][:2], gradients[:2])
    assert again[0][2] != losses[2]


def test_only_chosen_images_take_part(context: Context, view: View) -> None:
    parametrization = Partition(factor=2)
    peers = Peers(parametrization, None, context.spec)
    objective = GradientMatching()
    block = block_of(context, peers)
    chosen = torch.tensor([[0, 3, 5], [7, 1, 0], [2, 4, 6]])
    losses, _ = objective.gradients(view, replace(block, chosen=chosen), peers)
    for label in range(3):
        some = parametrization.decode(block.stored[label])[chosen[label]]
        expected = plain_loss(view, context, block.real[label], some, label, "mse", (4,))
        torch.testing.assert_close(losses[label], expected.detach(), rtol=1e-11, atol=1e-14)


def test_the_network_is_not_changed(context: Context, view: View) -> None:
    before = {name: tensor.clone() for name, tensor in view.weights.items()}
    peers = Peers(Plain(), None, context.spec)
    GradientMatching(bias=True).gradients(view, block_of(context, peers), peers)
    assert all(torch.equal(view.weights[name], tensor) for name, tensor in before.items())


def test_draws_depend_on_the_position_alone(context: Context) -> None:
    peers = Peers(Partition(factor=2), IDCAugment(), context.spec)
    objective = GradientMatching(synthetic_batch=3)
    seen = {}
    for moment in (Moment(0, 0, 2), Moment(0, 1, 2), Moment(1, 0, 2)):
        for label in range(2):
            draws, chosen = objective.draw(context, moment, label, peers)
            again, same = objective.draw(context, moment, label, peers)
            assert chosen is not None and same is not None
            assert torch.equal(chosen, same)
            assert all(torch.equal(draws[name], again[name]) for name in draws)
            assert len(set(chosen.tolist())) == 3 and chosen.min() >= 0 and chosen.max() < 8
            seen[moment.iteration, moment.step, label] = float(draws["brightness"])
    assert len(set(seen.values())) == len(seen)


def test_all_images_take_part_when_they_fit(context: Context) -> None:
    moment = Moment(0, 0, 1)
    peers = Peers(Partition(factor=2), None, context.spec)
    assert GradientMatching(synthetic_batch=8).draw(context, moment, 0, peers) == ({}, None)
    assert GradientMatching(synthetic_batch=7).draw(context, moment, 0, peers)[1] is not None
