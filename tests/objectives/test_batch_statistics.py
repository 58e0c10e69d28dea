from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from limbeck.augmentations.jitter import Jitter
from limbeck.core.batch import Block, Moment, View
from limbeck.core.context import Context
from limbeck.core.contracts import Peers
from limbeck.core.errors import InputError
from limbeck.core.recipe import Recipe
from limbeck.core.streams import Stream
from limbeck.data.images import ImageSet
from limbeck.engine.loop import Loop
from limbeck.labelers.hard import Hard
from limbeck.methods.sre2l import sre2l
from limbeck.objectives.batch_statistics import BatchStatistics
from limbeck.parametrizations.partition import Partition
from limbeck.parametrizations.plain import Plain
from limbeck.pools.pretrained import Pretrained

NETWORK = "convnet2:width=4,norm=batch"
CLOSE = {"rtol": 1e-10, "atol": 1e-12}
KINDS = {
    "sre2l": BatchStatistics(mean=0.3, variance=0.3),
    "dwa": BatchStatistics(mean=0.2, variance=0.7, first=4.0),
    "squared": BatchStatistics(mean=0.2, variance=0.7, squared=True),
    "teacher": BatchStatistics(mean=0.2, variance=0.7, statistics="teacher"),
    "priors": BatchStatistics(mean=0.2, variance=0.0, total_variation=0.05, l2=0.02),
}
kinds = pytest.mark.parametrize("objective", KINDS.values(), ids=KINDS)


@dataclass(frozen=True)
class Case:
    """Two classes of three images, a network that was moved, and the one that it was."""

    context: Context
    view: View
    block: Block
    peers: Peers


def case(context: Context, parametrization: Any = None, shift: int = 3) -> Case:
    network = context.network(NETWORK)
    original = network.initial(Stream(1))
    for name in network.buffer_names():
        if name.endswith(("running_mean", "running_var")):
            original[name] = original[name] + Stream(len(name)).uniform(*original[name].shape)
    moved = {
        name: tensor + 0.1 * Stream(7).normal(*tensor.shape) if name in network.parameter_names() else tensor
        for name, tensor in original.items()
    }
    parametrization = parametrization or Plain(space="normalized")
    decoded = parametrization.parts(3)
    augmentation = Jitter(shift=shift)
    peers = Peers(parametrization, augmentation, context.spec)
    draws = augmentation.draw(Stream(5), context.spec.shape, None)
    block = Block(
        labels=(0, 1),
        stored=Stream(2).uniform(2, 3, *context.spec.shape),
        targets=torch.tensor([[0] * decoded, [1] * decoded]),
        real=torch.zeros(2, 0, *context.spec.shape),
        counts=(0, 0),
        draws=(draws, draws),
    )
    return Case(context, View(network, moved, train=False, original=original), block, peers)


def naive(case: Case, objective: BatchStatistics, stored: Tensor, weights: dict[str, Tensor]) -> Tensor:
    """The loss by the formulae, one pass for the cross-entropy and another for the statistics."""
    parametrization, spec = case.peers.parametrization, case.context.spec
    images = torch.cat([parametrization.decode(some) for some in stored])
    if parametrization.space == "unit":
        images = spec.normalization.apply(images)
    draws = case.block.draws[0]
    images = torch.roll(images, (int(draws["rows"]), int(draws["columns"])), (2, 3))
    module = case.view.network._make().double().eval()
    loss = F.cross_entropy(functional_call(module, weights, (images,)), case.block.targets.flatten())

    looked: list[tuple[str, Tensor]] = []
    for name, part in module.named_modules():
        if isinstance(part, nn.BatchNorm2d):
            part.register_forward_hook(lambda part, inputs, found, name=name: looked.append((name, inputs[0])))
    whose = case.view.original if objective.statistics == "teacher" else weights
    assert whose is not None
    functional_call(module, whose, (images,))
    for layer, (name, inputs) in enumerate(looked):
        mean = inputs.mean(dim=(0, 2, 3))
        variance = (inputs - mean.view(-1, 1, 1)).square().mean(dim=(0, 2, 3))
        power = 2 if objective.squared else 1
        means = (mean - weights[f"{name}.running_mean"]).square().sum().sqrt() ** power
        variances = (variance - weights[f"{name}.running_var"]).square().sum().sqrt() ** power
        factor = objective.first if layer == 0 else 1.0
        loss = loss + factor * (objective.mean * means + objective.variance * variances)
    pairs = [
        images[:, :, :, 1:] - images[:, :, :, :-1],
        images[:, :, 1:, :] - images[:, :, :-1, :],
        images[:, :, :-1, 1:] - images[:, :, 1:, :-1],
        images[:, :, 1:, 1:] - images[:, :, :-1, :-1],
    ]
    loss = loss + objective.total_variation * sum(pair.square().sum().sqrt() for pair in pairs)
    return loss + objective.l2 * images.square().sum().sqrt()


@kinds
@pytest.mark.parametrize(
    "parametrization", [Plain(space="normalized"), Partition(factor=2)], ids=["plain", "partition"]
)
def test_loss_and_gradient_by_hand(
    context_of: Callable[..., Context], objective: BatchStatistics, parametrization: Any
) -> None:
    given = case(context_of(), parametrization)
    losses, gradients = objective.gradients(given.view, given.block, given.peers)
    leaf = given.block.stored.clone().requires_grad_()
    wanted = naive(given, objective, leaf, given.view.weights)
    torch.testing.assert_close(losses.sum(), wanted.detach(), **CLOSE)
    torch.testing.assert_close(gradients, torch.autograd.grad(wanted, leaf)[0], **CLOSE)
    assert losses.shape == (2,) and gradients.shape == given.block.stored.shape
    # What a class contributes beyond its share of the statistics is its own cross-entropy.
    assert float((losses[0] - losses[1]).abs()) > 1e-6


@kinds
def test_one_class_alone(context_of: Callable[..., Context], objective: BatchStatistics) -> None:
    given = case(context_of())
    one = replace(
        given.block,
        labels=(1,),
        stored=given.block.stored[1:],
        targets=given.block.targets[1:],
        real=given.block.real[1:],
        counts=(0,),
        draws=given.block.draws[1:],
    )
    leaf = one.stored.clone().requires_grad_()
    value = objective.loss(given.view, one.one(0), given.peers)
    alone = replace(given, block=one)
    torch.testing.assert_close(value, naive(alone, objective, leaf, given.view.weights), **CLOSE)


@kinds
def test_gradients_in_the_weights_are_collected(context_of: Callable[..., Context], objective: BatchStatistics) -> None:
    given = case(context_of())
    collected: list[dict[str, Tensor]] = []
    plain = objective.gradients(given.view, given.block, given.peers)
    found = objective.gradients(replace(given.view, collect=collected.append), given.block, given.peers)
    torch.testing.assert_close(found, plain, **CLOSE)
    names = given.view.network.parameter_names()
    leaves = {name: given.view.weights[name].clone().requires_grad_() for name in names}
    loss = naive(given, objective, given.block.stored, {**given.view.weights, **leaves})
    wanted = torch.autograd.grad(loss, list(leaves.values()))
    (gradient,) = collected
    assert tuple(gradient) == names
    for name, one in zip(names, wanted, strict=True):
        torch.testing.assert_close(gradient[name], one, **CLOSE)


def test_what_was_left_in_the_shown_images_is_added(context_of: Callable[..., Context]) -> None:
    given, objective = case(context_of()), KINDS["dwa"]
    left = Stream(11).normal(6, 1, 8, 8)
    losses, plain = objective.gradients(given.view, given.block, given.peers)
    again, more = objective.gradients(replace(given.view, left=left), given.block, given.peers)
    assert torch.equal(losses, again)
    draws = given.block.draws[0]
    back = torch.roll(left, (-int(draws["rows"]), -int(draws["columns"])), (2, 3))
    torch.testing.assert_close(more - plain, back.view_as(plain), **CLOSE)


def test_the_moved_weights_serve_unless_the_teacher_s_are_asked_for(context_of: Callable[..., Context]) -> None:
    given = case(context_of())
    same = replace(given.view, original=None)
    for name in ("dwa", "teacher"):
        objective = KINDS[name]
        moved = objective.gradients(given.view, given.block, given.peers)[0].sum()
        alone = objective.gradients(same, given.block, given.peers)[0].sum()
        assert (float((moved - alone).abs()) > 1e-4) == (name == "teacher")


def test_one_transformation_for_all_classes(context_of: Callable[..., Context]) -> None:
    context = context_of()
    peers = Peers(Plain(space="normalized"), Jitter(shift=7), context.spec)
    by_step = []
    for step in range(6):
        first, *others = BatchStatistics().draws(context, Moment(0, step, 9), (0, 1, 2), peers)
        assert all(other[0] is first[0] and other[1] is None for other in others)
        by_step.append((int(first[0]["rows"]), int(first[0]["columns"])))
    assert len(set(by_step)) > 1
    assert BatchStatistics().draws(context, Moment(0, 0, 9), (0,), replace(peers, augmentation=None)) == [({}, None)]


def recipe(**changes: Any) -> Recipe:
    return sre2l("digits").with_(
        pool=Pretrained(network=NETWORK, epochs=1),
        labeler=Hard(),
        curriculum__steps=3,
        augmentation__shift=2,
        **changes,
    )


@pytest.mark.parametrize("changes", [{}, {"parametrization": Partition(factor=2)}])
def test_it_goes_with_other_pools_and_parametrizations(
    context_of: Callable[..., Context], changes: dict[str, Any]
) -> None:
    context, composed = context_of(), recipe(**changes)
    composed.check(context)
    loop = Loop(composed, context)
    state, losses = loop.start(), []
    for _ in range(3):
        before = state.stored
        state, found = loop.step(state)
        losses.append(float(found.sum()))
        assert ((state.stored - before).abs().amax(dim=(2, 3, 4)) > 0).all()
    assert losses[-1] < losses[0]


def test_classes_of_a_run_stand_in_one_batch_whatever_the_class_block(
    context_of: Callable[..., Context], portion: Callable[..., ImageSet]
) -> None:
    seen: list[int] = []

    class Counting(BatchStatistics):
        def gradients(self, view: View, block: Block, peers: Peers) -> tuple[Tensor, Tensor]:
            seen.append(len(block.labels))
            return super().gradients(view, block, peers)

    loop = Loop(recipe(objective=Counting()), context_of(portion(4, 6)), class_block=1)
    loop.step(loop.start())
    assert seen == [4]


def test_a_network_without_batch_norm_is_refused_with_the_list(context_of: Callable[..., Context]) -> None:
    wrong = recipe().with_(pool__network="convnet2:width=4")
    with pytest.raises(InputError) as caught:
        wrong.check(context_of())
    message = str(caught.value)
    assert message.startswith(
        "objective 'batch_statistics' needs a network with batch norm, and 'convnet2:width=4' has"
    )
    assert "convnet3:norm=batch" in message and "resnet18" in message and "vgg16" in message


@pytest.mark.parametrize("field", ["mean", "variance", "first", "total_variation", "l2"])
def test_negative_weights_are_refused(context_of: Callable[..., Context], field: str) -> None:
    BatchStatistics(**{field: 0.0}).check(context_of())
    with pytest.raises(InputError, match="'batch_statistics' needs weights of 0 or more"):
        BatchStatistics(**{field: -0.1}).check(context_of())
