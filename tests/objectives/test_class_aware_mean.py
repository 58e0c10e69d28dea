from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from limbeck.core.batch import View
from limbeck.core.context import Context
from limbeck.core.errors import InputError
from limbeck.engine.loop import Loop
from limbeck.methods.idm import idm
from limbeck.objectives.class_aware_mean import ClassAwareMean
from limbeck.objectives.mean_embedding import MeanEmbedding
from limbeck.objectives.siamese import Pair
from limbeck.pools.fresh import Fresh

ContextOf = Callable[..., Context]
NETWORK = "convnet2:width=4"


def case(context: Context, accuracy: float | None) -> tuple[View, Pair]:
    network = context.network(NETWORK)
    view = View(network, network.initial(context.streams("network")), train=False, accuracy=accuracy)
    images = context.spec.normalization.apply(context.data.images(context.data.class_rows(2)))
    return view, Pair(2, images[:5], images[5:9], torch.full((4,), 2))


def plainly(view: View, pair: Pair, weight: float) -> tuple[Tensor, Tensor]:
    """The formula with an ordinary module."""
    module = view.network._make().double().eval()
    module.load_state_dict(view.weights)
    leaf = pair.synthetic.clone().requires_grad_()
    real, synthetic = module(pair.real, "embedding").detach(), module(leaf, "embedding")
    value = (real.mean(dim=0) - synthetic.mean(dim=0)).square().sum()
    value = value + weight * F.cross_entropy(module(leaf), pair.targets)
    return value.detach(), torch.autograd.grad(value, leaf)[0]


@pytest.mark.parametrize(
    ("fields", "accuracy", "weight"),
    [
        ({"weight": 0.5}, 37.5, 0.5 * 37.5),
        ({"weight": 0.5}, 0.0, 0.0),
        ({"weight": 0.5}, None, 0.0),
        ({"weight": 0.5, "by_accuracy": False}, 37.5, 0.5),
        ({"weight": 0.5, "by_accuracy": False}, None, 0.5),
        ({"weight": 0.0}, 37.5, 0.0),
    ],
)
def test_the_weight_is_multiplied_by_the_accuracy_in_percent(
    context_of: ContextOf, fields: dict[str, Any], accuracy: float | None, weight: float
) -> None:
    view, pair = case(context_of(), accuracy)
    losses, (pull,) = ClassAwareMean(**fields).pulls(view, [pair])
    value, gradient = plainly(view, pair, weight)
    torch.testing.assert_close(losses[0], value, rtol=1e-12, atol=0)
    torch.testing.assert_close(pull, gradient, rtol=1e-10, atol=1e-14)
    if not weight:
        dm, _ = MeanEmbedding().pulls(view, [pair])
        torch.testing.assert_close(losses, dm, rtol=1e-13, atol=0)


def test_targets_are_those_of_the_labeler(context_of: ContextOf) -> None:
    view, pair = case(context_of(), None)
    other = replace(pair, targets=torch.tensor([0, 1, 2, 0]))
    objective = ClassAwareMean(by_accuracy=False)
    found, (pull,) = objective.pulls(view, [other])
    value, gradient = plainly(view, other, 0.5)
    torch.testing.assert_close(found[0], value, rtol=1e-12, atol=0)
    torch.testing.assert_close(pull, gradient, rtol=1e-10, atol=1e-14)
    assert not torch.equal(found, objective.pulls(view, [pair])[0])


def test_only_a_weight_by_accuracy_needs_one() -> None:
    assert "training accuracy" in ClassAwareMean().needs()
    assert "training accuracy" not in ClassAwareMean(by_accuracy=False).needs()
    assert "training accuracy" not in ClassAwareMean(weight=0).needs()


def test_a_constant_weight_works_with_networks_that_are_never_trained(context_of: ContextOf) -> None:
    recipe = idm("digits").with_(pool=Fresh(network=NETWORK), sampler__batch_size=6, curriculum__iterations=2)
    with pytest.raises(InputError, match=r"objective.* needs training accuracy, which no other part offers"):
        recipe.check()
    constant = recipe.with_(objective__by_accuracy=False)
    context = context_of()
    constant.check(context)
    ends = []
    for one in (constant, constant.with_(objective__weight=0.0)):
        loop = Loop(one, context)
        state, _ = loop.step(loop.start())
        ends.append(state.stored)
    assert not torch.equal(*ends)


@pytest.mark.parametrize("weight", [-0.1, float("nan")])
def test_a_weight_that_makes_no_sense_is_refused(context_of: ContextOf, weight: float) -> None:
    with pytest.raises(InputError, match="objective 'class_aware_mean' needs a weight of 0 or more"):
        ClassAwareMean(weight=weight).check(context_of())
