from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.func import functional_call

from limbeck.augmentations.jitter import Jitter
from limbeck.core.batch import Moment
from limbeck.core.context import Context
from limbeck.core.contracts import Workload
from limbeck.core.errors import InputError
from limbeck.core.network import Weights
from limbeck.core.recipe import Recipe
from limbeck.core.streams import Stream
from limbeck.engine.loop import Loop
from limbeck.methods.dwa import dwa
from limbeck.objectives.mean_embedding import MeanEmbedding
from limbeck.pools.adjusted_teacher import AdjustedTeacher
from limbeck.samplers.random import Random
from limbeck.training.teacher import Teacher

NETWORK = "convnet1:width=4,norm=batch"
POOL = AdjustedTeacher(teacher=Teacher(network=NETWORK, epochs=1), steps=4, magnitude=0.2)
IMAGES, TARGETS = Stream(3).normal(6, 1, 8, 8), torch.tensor([0, 1, 2, 0, 1, 2])
FIRST = Moment(0, 0, 5)


def prepared(pool: AdjustedTeacher, context: Context, moment: Moment = FIRST) -> dict[str, Any]:
    state = pool.draw(pool.init(context), context, moment.iteration)
    return pool.prepare(state, context, moment, lambda: (IMAGES, TARGETS))


def names_of(context: Context) -> tuple[str, ...]:
    return context.network(NETWORK).parameter_names()


def way(state: dict[str, Any], context: Context) -> Tensor:
    """From the teacher's weights to the moved ones, all parameters in one vector."""
    return torch.cat([(state["moved"][name] - state["teacher"][name]).flatten() for name in names_of(context)])


def entropy(weights: Weights, context: Context, images: Tensor = IMAGES, targets: Tensor = TARGETS) -> Tensor:
    module = context.network(NETWORK)._make().double().eval()
    return F.cross_entropy(functional_call(module, weights, (images,)), targets)


def slopes(weights: Weights, context: Context, images: Tensor = IMAGES, targets: Tensor = TARGETS) -> Weights:
    leaves = {name: weights[name].clone().requires_grad_() for name in names_of(context)}
    value = entropy({**weights, **leaves}, context, images, targets)
    return dict(zip(leaves, torch.autograd.grad(value, list(leaves.values())), strict=True))


def test_steps_go_up_by_hand(context_of: Callable[..., Context]) -> None:
    context = context_of()
    state = prepared(POOL, context)
    weights = dict(state["teacher"])
    for _ in range(4):
        gradient = slopes(weights, context)
        norm = torch.cat([one.flatten() for one in gradient.values()]).norm()
        weights = {**weights, **{name: weights[name] + 0.05 * one / norm for name, one in gradient.items()}}
    for name, tensor in weights.items():
        torch.testing.assert_close(state["moved"][name], tensor, rtol=1e-10, atol=1e-12)
    assert way(state, context).norm() <= 0.2 * (1 + 1e-12)
    assert entropy(state["moved"], context) > entropy(state["teacher"], context)
    # Running statistics stay, and so does the teacher.
    assert all(
        torch.equal(state["moved"][name], state["teacher"][name]) for name in context.network(NETWORK).buffer_names()
    )
    again = POOL.init(context)["teacher"]
    assert all(torch.equal(state["teacher"][name], tensor) for name, tensor in again.items())
    assert state["left"] is None and state["standing"] == {}


@pytest.mark.parametrize("magnitude", [0.0, 0.015, 1.0])
@pytest.mark.parametrize("steps", [1, 3])
def test_the_way_is_at_most_rho(context_of: Callable[..., Context], magnitude: float, steps: int) -> None:
    context = context_of()
    length = way(prepared(dataclasses.replace(POOL, steps=steps, magnitude=magnitude), context), context).norm()
    assert length <= magnitude * (1 + 1e-9)
    if steps == 1:
        assert length == pytest.approx(magnitude, rel=1e-9)


def test_as_printed_the_gradient_is_not_normalized(context_of: Callable[..., Context]) -> None:
    context = context_of()
    state = prepared(dataclasses.replace(POOL, steps=1, direction="printed"), context)
    gradient = slopes(state["teacher"], context)
    wanted = 0.2 * torch.cat([gradient[name].flatten() for name in names_of(context)])
    torch.testing.assert_close(way(state, context), wanted, rtol=1e-9, atol=1e-12)


def test_random_directions_have_the_same_length_and_repeat_by_key(context_of: Callable[..., Context]) -> None:
    pool = dataclasses.replace(POOL, direction="random")
    context = context_of()
    nothing: Any = lambda: pytest.fail("random steps look at no image")  # noqa: E731
    state = pool.draw(pool.init(context), context, 0)
    ways = []
    for steps in range(5):
        part = dataclasses.replace(pool, steps=steps, magnitude=0.05 * steps)
        after = part.prepare(state, context, FIRST, nothing)
        ways.append(way(after, context))
    for before, after in itertools.pairwise(ways):
        # The first steps of a longer way are those of the shorter one.
        assert (after - before).norm() == pytest.approx(0.05, rel=1e-9)
    assert torch.equal(way(prepared(pool, context_of()), context), ways[-1])
    assert not torch.equal(way(prepared(pool, context_of(seed=1)), context), ways[-1])
    assert not torch.equal(way(prepared(pool, context, Moment(1, 0, 5)), context), ways[-1])


@pytest.mark.parametrize("direction", ["normalized", "random"])
def test_no_steps_move_nothing(context_of: Callable[..., Context], direction: Any) -> None:
    context = context_of()
    pool = dataclasses.replace(POOL, steps=0, direction=direction)
    state = prepared(pool, context)
    view = pool.view(state, context)
    assert all(torch.equal(view.weights[name], tensor) for name, tensor in state["teacher"].items())


def test_gradients_left_in_the_images_serve_once(context_of: Callable[..., Context]) -> None:
    context, pool = context_of(), dataclasses.replace(POOL, accumulate=True)
    state = prepared(pool, context)
    total, weights = torch.zeros_like(IMAGES), dict(state["teacher"])
    for step in range(4):
        leaf = IMAGES.clone().requires_grad_()
        (pull,) = torch.autograd.grad(entropy(weights, context, leaf), leaf)
        total = total + pull
        weights = prepared(dataclasses.replace(POOL, steps=step + 1, magnitude=0.05 * (step + 1)), context)["moved"]
    left = pool.view(state, context).left
    assert left is not None
    torch.testing.assert_close(left, total, rtol=1e-9, atol=1e-12)
    after = pool.advance(state, context, FIRST, lambda: pytest.fail("not needed"))
    assert pool.view(after, context).left is None
    assert pool.view(after, context).weights is state["moved"]
    # Weights that are restored for every group collect nothing.
    assert pool.view(state, context).collect is None


def test_weights_are_restored_for_each_group_or_last_for_an_image(context_of: Callable[..., Context]) -> None:
    context = context_of()
    for restore in ("group", "image"):
        pool = dataclasses.replace(POOL, restore=restore)
        state = prepared(pool, context)
        second = pool.draw(state, context, 1)
        begins = pool.view(second, context).weights
        lasts = restore == "image"
        assert pool.chained() is lasts
        assert (begins is state["moved"]) is lasts and (begins is state["teacher"]) is not lasts
        original = pool.view(second, context).original
        assert original is state["teacher"]


# A whole chain of two groups against code that does it by hand.


def composed(**fields: Any) -> Recipe:
    return dwa("digits").with_(
        pool=dataclasses.replace(POOL, **fields),
        curriculum__steps=3,
        curriculum__classes=2,
        augmentation__shift=2,
        objective__mean=0.05,
        objective__variance=0.3,
        optimizer__clamp=False,
    )


def naive_chain(context: Context, recipe: Recipe, accumulate: bool) -> tuple[list[Weights], list[Tensor]]:
    """Weights that each group ends with, and its images: one module whose gradients nobody clears."""
    module = context.network(NETWORK)._make().double().eval()
    module.load_state_dict(recipe.pool.init(context)["teacher"])  # type: ignore[union-attr]
    parameters = list(module.parameters())
    looked: list[tuple[Any, Tensor]] = []
    for part in module.modules():
        if isinstance(part, torch.nn.BatchNorm2d):
            part.register_forward_pre_hook(lambda part, inputs: looked.append((part, inputs[0])))
    ends, found = [], []
    for group in recipe.curriculum.groups(context):  # type: ignore[union-attr]
        inner = dataclasses.replace(context, group=group)
        images = context.spec.normalization.apply(recipe.initializer.images(inner, recipe.parametrization, None))
        images = images.flatten(0, 1).requires_grad_()
        targets = torch.tensor(list(group.labels))
        optimizer = torch.optim.Adam([images], lr=recipe.optimizer.lr, betas=(0.5, 0.9))  # type: ignore[union-attr]
        for step in range(3):
            stream = context.streams("augmentation", group.number, step)
            draws = Jitter(shift=2).draw(stream, context.spec.shape, None)
            shift = (int(draws["rows"]), int(draws["columns"]))
            if step == 0:
                for turn in range(4):
                    if not accumulate or turn:
                        module.zero_grad()
                    F.cross_entropy(module(images.roll(shift, (2, 3))), targets).backward()
                    norm = torch.cat([one.grad.flatten() for one in parameters]).norm()
                    with torch.no_grad():
                        for one in parameters:
                            one += 0.05 * one.grad / (norm + 1e-12)
                module.zero_grad()
                if not accumulate:
                    images.grad = None
            looked.clear()
            loss = F.cross_entropy(module(images.roll(shift, (2, 3))), targets)
            for layer, (part, inputs) in enumerate(looked):
                factor = 10.0 if layer == 0 else 1.0
                variance, mean = torch.var_mean(inputs, (0, 2, 3), correction=0)
                loss = loss + factor * 0.05 * (mean - part.running_mean).norm()
                loss = loss + factor * 0.3 * (variance - part.running_var).norm()
            loss.backward()
            optimizer.param_groups[0]["lr"] = recipe.optimizer.step_size(Moment(0, step, 3, step / 3))  # type: ignore
            optimizer.step()
            images.grad = None
        ends.append({name: tensor.detach().clone() for name, tensor in module.state_dict().items()})
        found.append(images.detach())
    return ends, found


@pytest.mark.parametrize("accumulate", [False, True])
def test_weights_and_gradients_that_last_by_hand(context_of: Callable[..., Context], accumulate: bool) -> None:
    context, recipe = context_of(ipc=1), composed(restore="image", accumulate=accumulate)
    recipe.check(context)
    assert recipe.curriculum is not None
    ends, images = naive_chain(context, recipe, accumulate)
    pool = None
    for group, wanted, shown in zip(recipe.curriculum.groups(context), ends, images, strict=True):
        loop = Loop(recipe, dataclasses.replace(context, group=group))
        state = loop.start(pool)
        for _ in range(loop.length()):
            state, _ = loop.step(state)
        pool = state.parts["pool"]
        torch.testing.assert_close(state.stored.flatten(0, 1), shown, rtol=1e-7, atol=1e-9)
        for name in names_of(context):
            torch.testing.assert_close(pool["moved"][name], wanted[name], rtol=1e-8, atol=1e-10)


def test_accumulating_needs_an_objective_that_adds_what_is_left(context_of: Callable[..., Context]) -> None:
    composed(accumulate=True).check(context_of())
    other = composed(accumulate=False).with_(objective=MeanEmbedding(), sampler=Random(batch_size=4))
    other.check()
    with pytest.raises(InputError, match=r"pool 'adjusted_teacher' .* needs gradients left over, which no other part"):
        other.with_(pool__accumulate=True).check()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"steps": -1}, "needs steps >= 0 and magnitude >= 0, not -1"),
        ({"magnitude": -0.1}, "needs steps >= 0 and magnitude >= 0"),
        ({"magnitude": float("nan")}, "needs steps >= 0 and magnitude >= 0"),
        ({"accumulate": True, "direction": "random"}, "set one of the two"),
    ],
)
def test_what_makes_no_sense_is_refused(
    context_of: Callable[..., Context], fields: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        dataclasses.replace(POOL, **fields).check(context_of())


def test_what_it_costs(context_of: Callable[..., Context]) -> None:
    context, load = context_of(ipc=2), Workload(1, 5, 0, 2)
    training = 3.0 * len(context.data)
    assert POOL.passes(context, load) == training + 3 * 4 * 3 * 2
    assert dataclasses.replace(POOL, direction="random").passes(context, load) == training
    assert [dataclasses.replace(POOL, accumulate=a, restore="image").copies() for a in (False, True)] == [2, 3]
