from __future__ import annotations

import pytest
import torch
from torch import Tensor

from limbeck.core.errors import RunError
from limbeck.core.recipe import Recipe
from limbeck.data import Data
from limbeck.engine.distill import make_context
from limbeck.engine.loop import Loop
from limbeck.engine.settings import Settings
from limbeck.methods.random import random
from tests.engine.tiny import tiny_dream, tiny_idc


def loop(recipe: Recipe, data: Data, block: int = 10, seed: int = 0) -> Loop:
    return Loop(recipe, make_context(recipe, data, 2, seed, Settings(device="cpu")), block)


def run(loop: Loop) -> tuple[Tensor, list[Tensor]]:
    state, losses = loop.start(), []
    while state.ordinal < loop.length():
        state, found = loop.step(state)
        losses.append(found)
    return state.stored, losses


@pytest.mark.parametrize("recipe", [tiny_idc(), tiny_dream()], ids=lambda recipe: recipe.name)
@pytest.mark.parametrize("block", [1, 3, 100])
def test_blocks_of_classes_change_nothing(recipe: Recipe, block: int, digits: Data) -> None:
    whole, losses = run(loop(recipe, digits))
    parts, others = run(loop(recipe, digits, block))
    assert torch.equal(whole, parts)
    assert all(torch.equal(one, other) for one, other in zip(losses, others, strict=True))


def test_a_recipe_without_objective_has_no_steps(digits: Data) -> None:
    picked = loop(random(), digits)
    assert picked.length() == 0
    state = picked.start()
    assert state.stored.shape == (10, 2, 1, 8, 8)
    assert state.drawn == -1
    assert picked.view(state) is None
    with pytest.raises(RunError, match="no steps"):
        picked.step(state)


def test_a_step_moves_the_images_of_every_class_and_counts(digits: Data) -> None:
    steps = loop(tiny_idc(), digits)
    assert steps.length() == 6
    state = steps.start()
    assert (state.ordinal, state.drawn) == (0, 0)
    before = state.stored.clone()
    after, losses = steps.step(state)
    assert after.ordinal == 1
    assert losses.shape == (10,)
    assert torch.isfinite(losses).all()
    assert ((after.stored - before).flatten(1).abs().amax(dim=1) > 0).all()


def test_each_outer_iteration_has_a_network_of_its_own(digits: Data) -> None:
    steps = loop(tiny_idc(iterations=3, steps=1), digits)
    state, drawn, weights = steps.start(), [], []
    while state.ordinal < steps.length():
        state, _ = steps.step(state)
        view = steps.view(state)
        assert view is not None
        drawn.append(state.drawn)
        weights.append(torch.cat([value.flatten() for value in view.weights.values()]))
    assert drawn == [0, 1, 2]
    assert not torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[1], weights[2])


def test_a_state_can_be_taken_up_by_another_loop(digits: Data) -> None:
    recipe = tiny_dream()
    expected, _ = run(loop(recipe, digits))
    first = loop(recipe, digits)
    state = first.start()
    for _ in range(4):
        state, _ = first.step(state)
    second = loop(recipe, digits)
    while state.ordinal < second.length():
        state, _ = second.step(state)
    assert torch.equal(state.stored, expected)


def test_nobody_touches_the_global_generator(digits: Data) -> None:
    before = torch.random.get_rng_state()
    run(loop(tiny_dream(), digits))
    assert torch.equal(torch.random.get_rng_state(), before)


def test_the_seed_decides(digits: Data) -> None:
    assert not torch.equal(run(loop(tiny_idc(), digits))[0], run(loop(tiny_idc(), digits, seed=1))[0])
