from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import limbeck as lb
from limbeck.core.batch import Moment, View
from limbeck.core.context import Context
from limbeck.core.contracts import Peers, State, Workload
from limbeck.core.errors import InputError
from limbeck.core.recipe import Recipe
from limbeck.data.images import ImageSet
from limbeck.data.splits import Data
from limbeck.engine.loop import Loop, LoopState
from limbeck.methods.dm import dm
from limbeck.methods.dsdm import dsdm
from limbeck.objectives.mean_embedding import MeanEmbedding
from limbeck.objectives.semantic_distribution import SemanticDistribution
from limbeck.objectives.siamese import Pair
from limbeck.pools.fresh import Fresh

ContextOf = Callable[..., Context]
NETWORK = "convnet2:width=4"
SIZE = 4 * 3 * 3


def recipe_of(factor: int = 2, **objective: Any) -> Recipe:
    """DSDM on random networks, small."""
    return dsdm("digits", factor=factor).with_(
        objective=SemanticDistribution(**objective),
        pool=Fresh(network=NETWORK),
        sampler__batch_size=6,
        curriculum__iterations=5,
        optimizer__lr=0.05,
    )


def pair_of(context: Context, real: int = 6, decoded: int = 3, memory: State | None = None) -> Pair:
    rows = context.data.class_rows(1)
    images = context.spec.normalization.apply(context.data.images(rows))
    return Pair(1, images[:real], images[-decoded:], torch.full((decoded,), 1), memory or {})


def terms(context: Context, pair: Pair, **objective: Any) -> tuple[float, Tensor]:
    """Loss and gradient of a class."""
    network = context.network(NETWORK)
    view = View(network, network.initial(context.streams("network")))
    losses, pulls = SemanticDistribution(**objective).pulls(view, [pair])
    return float(losses[0]), pulls[0]


def embeddings(context: Context, pair: Pair) -> tuple[Tensor, Tensor]:
    """Of both sides, by an ordinary module."""
    network = context.network(NETWORK)
    module = network._make().double()
    module.load_state_dict(network.initial(context.streams("network")))
    return module(pair.real, "embedding").detach(), module(pair.synthetic, "embedding").detach()


@pytest.mark.parametrize(("divisor", "correction"), [("n-1", 1), ("n", 0)])
@pytest.mark.parametrize("scale", ["code", "paper"])
def test_it_is_the_sum_of_its_terms(context_of: ContextOf, divisor: Any, correction: int, scale: Any) -> None:
    context = context_of()
    history = torch.linspace(-1, 1, 3 * SIZE, dtype=torch.float64).reshape(3, SIZE)
    pair = pair_of(context, memory={"steps": 8, "history": history})
    real, synthetic = embeddings(context, pair)
    covariances = [torch.cov(features.T, correction=correction) for features in (real, synthetic)]
    prototype = synthetic.mean(dim=0)
    expected = (real.mean(dim=0) - prototype).square().sum()
    expected = expected + 3 / SIZE * (covariances[0] - covariances[1]).square().sum()
    expected = expected + 0.4 / (SIZE if scale == "code" else 1) * (prototype - history[1]).square().sum()
    weights = {"covariance": 3.0, "history": 0.4, "history_after": 7}
    found, _ = terms(context, pair, divisor=divisor, history_scale=scale, **weights)
    assert found == pytest.approx(float(expected), rel=1e-11)


def test_without_its_terms_it_is_dm_to_the_bit(portion: Callable[..., ImageSet]) -> None:
    """A whole run of DSDM without covariance and history on random networks, and one of DM with DSDM's other parts."""
    ours = recipe_of(covariance=0.0, history=0.0)
    others = {slot: part for slot, part in ours.parts() if slot != "objective"}
    plain = dm("digits").with_(objective=MeanEmbedding(synthetic_batch=256), **others)
    train = portion()
    data = Data(train=train, validation=None, test=None, spec=train.spec)
    how = lb.Settings(progress="quiet", device="cpu")
    ends = [lb.distill(recipe, data, ipc=2, seed=7, settings=how).stored for recipe in (ours, plain)]
    assert torch.equal(ends[0], ends[1])
    for weights in ({"covariance": 0.0, "history_after": 0}, {"history": 0.0}):
        other = lb.distill(recipe_of(**weights), data, ipc=2, seed=7, settings=how).stored
        assert not torch.equal(other, ends[0])


@pytest.mark.parametrize(("real", "decoded"), [(6, 1), (1, 3), (1, 1)])
def test_one_image_on_a_side(context_of: ContextOf, real: int, decoded: int) -> None:
    context = context_of()
    pair = pair_of(context, real, decoded)
    alone = terms(context, pair, covariance=0.0)
    # N - 1 is 0: there is no covariance to speak of.
    found = terms(context, pair)
    assert found[0] == alone[0] and torch.equal(found[1], alone[1])
    value, pull = terms(context, pair, divisor="n")
    assert torch.isfinite(torch.tensor(value)) and torch.isfinite(pull).all()
    if decoded == 1:
        # Its covariance is 0 wherever it moves.
        torch.testing.assert_close(pull, alone[1], rtol=1e-10, atol=1e-14)
    else:
        assert value > alone[0]


@pytest.mark.parametrize("divisor", ["n-1", "n"])
def test_a_run_with_one_image_per_class_stays_finite(context_of: ContextOf, divisor: Any) -> None:
    loop = Loop(recipe_of(factor=1, divisor=divisor, history_after=0), context_of(ipc=1))
    state = loop.start()
    while state.ordinal < loop.length():
        state, losses = loop.step(state)
        assert torch.isfinite(losses).all() and torch.isfinite(state.stored).all()


@pytest.mark.parametrize(
    ("objective", "steps", "known", "used"),
    [
        ({"history_after": 2}, 2, True, False),
        ({"history_after": 2}, 3, True, True),
        ({"history_after": -1}, 0, False, False),
        ({"history_after": -1, "history_start": "zero"}, 0, False, True),
        ({"history_after": 0, "history_start": "zero"}, 0, False, False),
        ({"history_after": -1}, 1, True, True),
        ({"history_after": -1, "history": 0.0}, 1, True, False),
    ],
)
def test_when_the_history_counts(
    context_of: ContextOf, objective: dict[str, Any], steps: int, known: bool, used: bool
) -> None:
    context = context_of()
    memory: State = {"steps": steps}
    if known:
        memory["history"] = torch.ones(3, SIZE, dtype=torch.float64)
    pair = pair_of(context, memory=memory)
    found, alone = terms(context, pair, **objective)[0], terms(context, pair, **{**objective, "history": 0.0})[0]
    if not used:
        assert found == alone
        return
    prototype = embeddings(context, pair)[1].mean(dim=0)
    goal = memory.get("history", torch.zeros(3, SIZE, dtype=torch.float64))[1]
    assert found - alone == pytest.approx(float(0.2 / SIZE * (prototype - goal).square().sum()), rel=1e-6)


def prototypes(loop: Loop, state: LoopState, moment: Moment, stream: str = "history augmentation") -> Tensor:
    """Mean embeddings of the images as they are now, newly augmented, by an ordinary module."""
    context, recipe, view = loop.context, loop.recipe, loop.view(state)
    assert view is not None and recipe.augmentation is not None
    module = view.network._make().double()
    module.load_state_dict(view.weights)
    found = []
    for label, stored in enumerate(state.stored):
        images = context.spec.normalization.apply(recipe.parametrization.decode(stored))
        draws = recipe.augmentation.draw(context.streams(stream, moment.iteration, 0, label), context.spec.shape, None)
        found.append(module(recipe.augmentation.apply(images, draws), "embedding").mean(dim=0).detach())
    return torch.stack(found)


@pytest.mark.parametrize("start", ["mean", "zero"])
def test_the_running_mean_follows_the_updated_images(context_of: ContextOf, start: Any) -> None:
    loop = Loop(recipe_of(momentum=0.75, history_start=start), context_of())
    state, expected = loop.start(), torch.zeros(3, SIZE, dtype=torch.float64)
    assert state.parts["objective"] == {"steps": 0}
    for iteration in range(3):
        state, _ = loop.step(state)
        now = prototypes(loop, state, Moment(iteration, 0, 1))
        expected = now if iteration == 0 and start == "mean" else 0.75 * expected + 0.25 * now
        assert state.parts["objective"]["steps"] == iteration + 1
        torch.testing.assert_close(state.parts["objective"]["history"], expected, rtol=1e-10, atol=1e-12)
    # The augmentation is drawn anew, and not the one under which the images were matched.
    again = prototypes(loop, state, Moment(2, 0, 1), "augmentation")
    assert float((again - now).abs().max()) > 1e-3


def test_nothing_is_remembered_without_history(context_of: ContextOf) -> None:
    loop = Loop(recipe_of(history=0.0), context_of())
    state, _ = loop.step(loop.start())
    assert state.parts["objective"] == {"steps": 0}


def test_remembering_moves_no_statistics_of_batch_norm(context_of: ContextOf) -> None:
    context = context_of()
    recipe = recipe_of().with_(pool__network="convnet2:norm=batch,width=4")
    loop = Loop(recipe, context)
    state, _ = loop.step(loop.start())
    view = loop.view(state)
    assert view is not None
    # One pass of the real images and one of the decoded ones.
    assert int(view.weights["blocks.0.norm.num_batches_tracked"]) == 2
    objective, peers = recipe.objective, Peers(recipe.parametrization, recipe.augmentation, context.spec)
    assert objective is not None
    before = {name: tensor.clone() for name, tensor in view.weights.items()}
    after = objective.advance(state.parts["objective"], context, Moment(1, 0, 1), view, state.stored, peers)
    assert after["steps"] == 2
    assert all(torch.equal(view.weights[name], tensor) for name, tensor in before.items())


def test_a_killed_run_ends_in_the_same_bits(
    portion: Callable[..., ImageSet], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train = portion()
    data = Data(train=train, validation=None, test=None, spec=train.spec)
    recipe = recipe_of(history=5.0, history_scale="paper", history_after=1, momentum=0.5)
    how = lb.Settings(progress="quiet", device="cpu", checkpoint_minutes=0)

    def run(out: Path) -> Tensor:
        return lb.distill(recipe, data, ipc=2, seed=1, out=out, settings=how).stored

    expected, original, taken = run(tmp_path / "whole"), Loop.step, 0

    def dying(self: Loop, state: LoopState) -> tuple[LoopState, Tensor]:
        nonlocal taken
        taken += 1
        if taken == 4:
            raise KeyboardInterrupt
        return original(self, state)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Loop, "step", dying)
        run(tmp_path / "killed")
    assert not (tmp_path / "killed" / "distilled.json").exists()
    assert torch.equal(run(tmp_path / "killed"), expected)


def test_what_it_costs(context_of: ContextOf) -> None:
    load = Workload(iterations=5, steps=1, real=7, decoded=12)
    assert SemanticDistribution(history=0).passes(context_of(), load) == 3 * 5 * (7 + 3 * 12)
    assert SemanticDistribution().passes(context_of(), load) == 3 * 5 * (7 + 3 * 12 + 12)


@pytest.mark.parametrize("fields", [{"covariance": -1.0}, {"history": -0.1}, {"momentum": 1.1}, {"momentum": -0.1}])
def test_weights_that_make_no_sense_are_refused(context_of: ContextOf, fields: dict[str, float]) -> None:
    with pytest.raises(InputError, match="objective 'semantic_distribution' needs covariance >= 0"):
        SemanticDistribution(**fields).check(context_of())
