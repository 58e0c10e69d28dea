from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from limbeck.core.context import Context
from limbeck.core.errors import InputError
from limbeck.core.guard import Guard
from limbeck.data import Data
from limbeck.data.images import ImageSet
from limbeck.initializers.clustered import Clustered
from limbeck.initializers.noise import Noise
from limbeck.initializers.real import Real
from limbeck.labelers.by_pool import ByPool
from limbeck.labelers.hard import Hard
from limbeck.methods.dream import dream
from limbeck.methods.dsa import dsa
from limbeck.methods.mtt import PRESETS, mtt
from limbeck.objectives.trajectory_matching import TrajectoryMatching
from limbeck.parametrizations.partition import Partition
from limbeck.pools.experts import Experts
from limbeck.pools.fresh import Fresh
from limbeck.samplers.representative import Representative
from tests.methods.trajectories import (
    COMMON,
    SGD_EXPERTS,
    Column,
    check_what_all_share,
    column,
    matching_loss,
    run,
    tiny,
)

# The authors' list: ZCA, N, M, T+, batch of S, step size of images, of beta, beta at first.
TABLE: dict[tuple[str, int], Column] = {
    ("cifar10", 1): ("zca", 50, 2, 2, 0, 100, 1e-7, 0.01),
    **COMMON,
    ("imagenet10", 1): ("channels", 20, 2, 10, 0, 100_000, 1e-6, 0.01),
    ("imagenet10", 10): ("channels", 20, 2, 10, 20, 100_000, 1e-6, 0.01),
    # Without whitening, by others.
    ("cifar10-channels", 1): ("channels", 50, 2, 5, 0, 1000, 1e-7, 0.01),
    ("cifar10-channels", 10): ("channels", 30, 2, 15, 0, 1000, 1e-5, 0.01),
    ("cifar10-channels", 50): ("channels", 30, 2, 40, 0, 1000, 1e-5, 0.001),
}
NETWORKS = {
    "cifar10": "convnet3",
    "cifar10-channels": "convnet3",
    "cifar100": "convnet3",
    "tiny-imagenet": "convnet4",
    "imagenet10": "convnet5",
}


def fields(*arguments: Any, **options: Any) -> Any:
    """The recipe, for reading the fields of its parts."""
    return mtt(*arguments, **options)


@pytest.mark.parametrize(("preset", "ipc"), TABLE)
def test_the_published_settings(preset: str, ipc: int) -> None:
    recipe = fields(preset, ipc)
    normalization, steps, span, starts, batch, lr, lr_step, student_lr = TABLE[preset, ipc]
    assert column(recipe) == TABLE[preset, ipc]
    check_what_all_share(recipe)
    assert recipe.objective == TrajectoryMatching(
        student_steps=steps, student_lr=student_lr, lr_step=lr_step, synthetic_batch=batch
    )
    assert recipe.pool == Experts(
        network=NETWORKS[preset],
        count=100,
        course=SGD_EXPERTS,
        span=span,
        starts=starts,
        normalization=normalization,
    )
    assert (recipe.initializer, recipe.labeler, recipe.optimizer.lr) == (Real(), Hard(), lr)
    assert recipe.optimizer.average == 0
    assert recipe.references == ("cazenavette2022mtt",)


def test_what_the_defaults_add_and_leave_out() -> None:
    objective = fields().objective
    # Numbered deviations from the authors' code: a positive step size in small steps, and a guard.
    assert (objective.rate, objective.rate_limit, objective.guard) == ("positive", 0.1, Guard())
    assert (objective.engine, objective.tesla_scale, objective.labels) == ("adjoint", 1.0, "hard")
    off = (objective.balance, objective.intermediate, objective.perturb, objective.student_momentum)
    assert off == (False, "off", "off", 0.0) and objective.weight_dropout == 0
    assert fields() == fields("cifar10", 10)


@pytest.mark.parametrize(
    ("preset", "ipc", "taken"),
    [
        ("cifar10", 3, 1),
        ("cifar10", 4, 10),
        ("cifar10", 22, 10),
        ("cifar10", 23, 50),
        ("cifar10", 1000, 50),
        ("imagenet10", 50, 10),
        ("cifar100", 2, 1),
        ("tiny-imagenet", 20, 10),
    ],
)
def test_an_ipc_without_settings_takes_those_of_the_nearest_by_ratio(preset: str, ipc: int, taken: int) -> None:
    assert mtt(preset, ipc) == mtt(preset, taken)
    assert column(mtt(preset, ipc)) == TABLE[preset, taken]


@pytest.mark.parametrize(("preset", "experts"), [("small", 4), ("digits", 8)])
def test_ours_are_for_a_cpu(preset: str, experts: int) -> None:
    recipe = fields(preset)
    assert recipe == mtt(preset, 50)
    assert (recipe == mtt(preset, 1)) == (preset == "digits")
    assert recipe.pool.normalization == "any" and recipe.pool.count == experts
    assert recipe.curriculum.iterations <= 600
    assert recipe.pool.starts - 1 + recipe.pool.span <= recipe.pool.course.epochs <= 12
    # What is kept in [0, 1] can be stored in 8 bits.
    assert recipe.parametrization.space == "unit" and recipe.optimizer.clamp is True


def test_more_images_per_class_are_shown_in_parts_on_a_cpu() -> None:
    """A step of the images shows a student at most 400 of them, some more than at one image per class of ten."""
    for ipc in (1, 10, 50):
        objective = mtt("small", ipc).objective
        shown = objective.student_steps * (objective.synthetic_batch or 10 * ipc)  # type: ignore[union-attr]
        assert shown <= 400, ipc


def test_data_normalized_otherwise_are_refused(
    digits: Data, whitened: Data, context_of: Callable[..., Context]
) -> None:
    def context(data: Data) -> Context:
        return context_of(ImageSet(data.train.pixels[:50], data.train.labels[:50], data.spec), ipc=1)

    for ipc, fitting, other, remedy in (
        (10, whitened, digits, "--normalization zca"),
        (50, digits, whitened, "without --normalization"),
    ):
        recipe = mtt("cifar10", ipc)
        recipe.check(context(fitting))
        with pytest.raises(InputError, match=remedy):
            recipe.check(context(other))
        recipe.with_(pool__normalization="any").check(context(other))


def test_a_sampler_that_nobody_uses_is_refused() -> None:
    rest = dream(base=mtt())
    with pytest.raises(InputError) as caught:
        rest.with_(sampler=Representative()).check()
    assert str(caught.value) == (
        "sampler 'representative' of recipe 'dream' would have no effect: objective 'trajectory_matching' never uses "
        "real batches; leave the slot 'sampler' empty (none)."
    )
    # Without it the rest of DREAM is the representative start of table 2 of AST.
    rest.check()
    assert rest == mtt().with_(
        initializer=Clustered(), name="dream", base="mtt", references=("liu2023dream", "cazenavette2022mtt")
    )


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        (mtt().with_(pool=Fresh()), "needs expert trajectories.*fill the slot 'pool'"),
        (mtt().with_(pool=None), "needs expert trajectories.*fill the slot 'pool'"),
        (mtt().with_(objective=dsa().objective), "needs real batches.*fill the slot 'sampler'"),
        (dsa().with_(labeler=ByPool()), "needs labelling networks.*fill the slot 'pool'"),
    ],
)
def test_what_does_not_go_together_is_refused_with_a_remedy(recipe: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        recipe.check()


def test_a_short_run_lowers_the_loss(context_of: Callable[..., Context], portion: Callable[..., ImageSet]) -> None:
    context = context_of(portion(3, 40), ipc=2, dtype=torch.float32)
    recipe = tiny(mtt("digits"), 30, objective__student_lr=0.01, optimizer__lr=20.0, objective__student_steps=8)
    loop, states = run(recipe, context)
    before, after = (matching_loss(loop, states[0], state.stored) for state in (states[0], states[-1]))
    assert after < 0.5 * before < 0.5
    # The step size is learnt, with the images, and stays positive.
    rates = [loop.figures(state)["student_lr"] for state in states]
    assert len(set(rates)) > 10 and min(rates) > 0


def test_it_runs_from_noise(context_of: Callable[..., Context]) -> None:
    _, states = run(tiny(mtt("digits"), initializer=Noise(space="normalized")), context_of())
    assert torch.isfinite(states[-1].stored).all()


@pytest.mark.parametrize("factor", [2, 3])
def test_packed_images_are_matched(factor: int, context_of: Callable[..., Context]) -> None:
    # Stored images are in [0, 1] there, whose step size is smaller by the square of the standard deviation.
    packed = Partition(factor=factor)
    recipe = tiny(mtt("digits"), 20, parametrization=packed, optimizer__lr=2.0, objective__student_lr=0.1)
    loop, states = run(recipe, context_of())
    first, last = states[0].stored, states[-1].stored
    assert first.shape == last.shape == (3, 2, 1, 8, 8)
    # A step of the student has all decoded images, and each of the stored ones moves.
    block = loop._block((0, 1, 2), first, states[0].parts, loop.moment(0))
    assert len(block.draws[0]["batch/0"]) == 3 * packed.parts(2)
    assert ((last - first).abs().amax(dim=(2, 3, 4)) > 0).all()
    assert matching_loss(loop, states[0], last) < matching_loss(loop, states[0], first)


def test_labels_by_all_experts_travel_with_the_set(context_of: Callable[..., Context]) -> None:
    recipe: Any = tiny(mtt("digits"), labeler=ByPool())
    loop, states = run(recipe, context_of())
    stored, learnt = loop.result(states[-1])
    labels = learnt["labels"]
    assert labels.shape == (3, 2, 3) and set(learnt) == {"labels", "student_lr"}
    torch.testing.assert_close(labels.sum(dim=2), torch.ones(3, 2))
    # Mean over the experts at epoch T+ - 1 + M of what they say of the finished images.
    said = []
    for expert in states[-1].parts["pool"]["snapshots"]:
        weights = expert[str(recipe.pool.starts - 1 + recipe.pool.span)]
        network = loop.context.network(recipe.pool.network)
        said.append(network(weights, states[-1].stored.flatten(0, 1), train=False).softmax(dim=1))
    expected = torch.stack(said).mean(dim=0).view(3, 2, 3).float()
    assert len(said) == 2 and not torch.allclose(said[0], said[1], atol=1e-3)
    torch.testing.assert_close(labels, expected)
    # They are for those who use the set: the student is taught classes, and so the images are the same.
    hard = run(replace(recipe, labeler=Hard()), context_of())[1]
    assert torch.equal(hard[-1].stored.float(), stored)


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_make_sense(preset: str) -> None:
    for ipc in (1, 10, 50):
        mtt(preset, ipc).check()


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(InputError, match=r"unknown preset of mtt 'cifar1000'; did you mean 'cifar100'\?"):
        mtt("cifar1000")
    with pytest.raises(InputError, match="mtt needs at least 1 image per class, not 0"):
        mtt("cifar10", 0)
