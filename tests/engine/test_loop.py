from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from limbeck.core.errors import RunError
from limbeck.core.recipe import Recipe
from limbeck.data import Data
from limbeck.engine.distill import distill, make_context
from limbeck.engine.loop import Loop, LoopState
from limbeck.engine.settings import Settings
from limbeck.engine.snapshots import read_snapshots
from limbeck.formats.native import load
from limbeck.methods.cafe import cafe
from limbeck.methods.random import random
from tests.engine.tiny import NETWORK, tiny_dream, tiny_idc


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


def short_lived() -> Recipe:
    """Three outer iterations of five steps, of which two are taken: any two accuracies count as standing still."""
    return cafe("digits").with_(
        sampler__batch_size=4,
        pool__network=NETWORK,
        pool__window=2,
        pool__outer=1.0,
        pool__images=4,
        pool__most_epochs=1,
        curriculum__iterations=3,
        curriculum__steps=5,
    )


def lives(data: Data) -> tuple[list[LoopState], list[float]]:
    """All states of such a run, and the losses between them."""
    steps = loop(short_lived(), data)
    states, losses = [steps.start()], []
    while states[-1].ordinal < steps.length():
        state, found = steps.step(states[-1])
        states.append(state)
        losses.append(float(found.sum()))
    return states, losses


def test_a_life_that_ends_early_takes_its_steps_along(digits: Data) -> None:
    states, _ = lives(digits)
    assert [state.ordinal for state in states] == [0, 1, 5, 6, 10, 11, 15]
    # A new network comes with the first step of the next iteration, not with the jump.
    assert [state.drawn for state in states] == [0, 0, 0, 1, 1, 2, 2]
    assert [state.parts["optimizer"]["iteration"] for state in states] == [0, 0, 0, 1, 1, 2, 2]
    steps = loop(short_lived(), digits)
    moments = [steps.recipe.curriculum.moment(state.ordinal) for state in states[:-1]]  # type: ignore[union-attr]
    assert [(moment.iteration, moment.step) for moment in moments] == [(0, 0), (0, 1), (1, 0), (1, 1), (2, 0), (2, 1)]


def test_a_pool_that_is_never_finished_takes_every_step(digits: Data) -> None:
    steps = loop(short_lived().with_(pool__outer=0.0, pool__inner=0.0), digits)
    state, seen = steps.start(), []
    while state.ordinal < 6:
        state, _ = steps.step(state)
        seen.append(state.ordinal)
    assert seen == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize(("lines", "expected"), [(500, [1, 5, 6, 10, 11, 15]), (5, [5, 6, 10, 15])])
def test_lines_of_the_log_follow_the_jumps(
    lines: int, expected: list[int], digits: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("limbeck.engine.run._LOG_LINES", lines)
    distill(short_lived(), digits, ipc=2, out=tmp_path / "run", settings=Settings(device="cpu", progress="quiet"))
    written = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in written] == expected
    # A line has the mean over the steps that were taken since the one before.
    states, losses = lives(digits)
    for before, line in zip([0, *expected], written, strict=False):
        taken = [loss for state, loss in zip(states[1:], losses, strict=True) if before < state.ordinal <= line["step"]]
        assert line["loss"] == pytest.approx(sum(taken) / len(taken), rel=1e-4)


def test_snapshots_are_taken_at_the_jump(digits: Data, tmp_path: Path) -> None:
    how = Settings(device="cpu", progress="quiet", snapshots=5)
    distill(short_lived(), digits, ipc=2, out=tmp_path / "run", settings=how)
    states, _ = lives(digits)
    found = read_snapshots(tmp_path / "run")
    assert [one.step for one in found] == [0, 3, 6, 9, 12]
    # Each has the images of the first state at or after its step.
    for one, position in zip(found, [0, 2, 3, 4, 6], strict=True):
        assert torch.equal(load(one.folder).stored, states[position].stored)


def test_a_run_with_jumps_resumes_to_the_bit(digits: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    how = replace(Settings(device="cpu", progress="quiet", snapshots=5), checkpoint_minutes=0)
    original, taken = Loop.step, 0

    def dying(self: Loop, state: LoopState) -> tuple[LoopState, Tensor]:
        nonlocal taken
        taken += 1
        if taken in (3, 5):  # at a jump, and within a life
            raise KeyboardInterrupt
        return original(self, state)

    monkeypatch.setattr(Loop, "step", dying)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            distill(short_lived(), digits, ipc=2, out=tmp_path / "run", settings=how)
    found = distill(short_lived(), digits, ipc=2, out=tmp_path / "run", settings=how)
    monkeypatch.undo()
    states, _ = lives(digits)
    assert torch.equal(found.stored, states[-1].stored)
    for one, position in zip(read_snapshots(tmp_path / "run"), [0, 2, 3, 4, 6], strict=True):
        assert torch.equal(load(one.folder).stored, states[position].stored)
