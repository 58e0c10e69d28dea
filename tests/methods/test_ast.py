from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from limbeck.cli.overrides import apply
from limbeck.core.context import Context
from limbeck.core.errors import InputError
from limbeck.core.recipe import Recipe
from limbeck.data.images import ImageSet
from limbeck.initializers.clustered import Clustered
from limbeck.initializers.real import Real
from limbeck.labelers.hard import Hard
from limbeck.methods.ast import PRESETS, ast
from limbeck.methods.mtt import mtt
from limbeck.objectives.trajectory_matching import TrajectoryMatching
from limbeck.pools.experts import Experts
from limbeck.training.clustering import Clustering
from limbeck.training.expert_training import ExpertTraining
from limbeck.training.settings import Training
from tests.methods.trajectories import DSA, Column, check_what_all_share, column, matching_loss, run, tiny

# The authors' scripts, and FTD's and MTT's settings where these have none.
TABLE: dict[tuple[str, int], Column] = {
    ("cifar10", 1): ("zca", 50, 2, 2, 0, 100, 1e-7, 0.01),
    ("cifar10", 10): ("zca", 30, 2, 20, 0, 100, 1e-6, 0.01),
    ("cifar10", 50): ("zca", 30, 2, 40, 0, 1000, 1e-5, 0.01),
    ("cifar100", 1): ("channels", 40, 3, 15, 0, 100, 1e-5, 0.01),
    ("cifar100", 10): ("channels", 20, 2, 30, 128, 1000, 1e-5, 0.01),
    ("cifar100", 50): ("channels", 80, 2, 40, 700, 1000, 1e-5, 0.01),
    ("tiny-imagenet", 1): ("channels", 10, 2, 10, 0, 10_000, 1e-4, 0.01),
    ("tiny-imagenet", 10): ("channels", 20, 2, 40, 500, 10_000, 1e-4, 0.01),
    ("imagenet10", 1): ("channels", 20, 2, 10, 0, 100_000, 1e-6, 0.01),
    ("imagenet10", 10): ("channels", 20, 2, 10, 20, 100_000, 1e-6, 0.01),
}
NETWORKS = {"cifar10": "convnet3", "cifar100": "convnet3", "tiny-imagenet": "convnet4", "imagenet10": "convnet5"}
EXPERT = Training(lr=0.003, momentum=0.9, weight_decay=1e-3, batch_size=256, augmentation=DSA)
SMOOTH = {
    "paper": ExpertTraining(
        training=EXPERT,
        epochs=50,
        drops=(25,),
        drop_factor=0.5,
        clip=(0.5, 0.6, 0.7, 0.8, 0.9),
        penalty="sample",
        penalty_weight=1.0,
    ),
    "official": ExpertTraining(
        training=EXPERT,
        epochs=50,
        drops=(27,),
        drop_factor=0.6,
        clip=(0.50, 0.55, 0.60, 0.65, 0.70, 0.75, 0.80, 0.85, 0.90, 0.95),
        penalty="channel",
        penalty_weight=2.0,
    ),
}
STUDENT: dict[str, dict[str, Any]] = {
    "paper": {"points": "paper", "perturb": "filters", "alpha": 0.1, "student_momentum": 0.0},
    "official": {"points": "official", "perturb": "tensors", "alpha": 1.0, "student_momentum": 0.9},
}
FEATURES: dict[str, Any] = {"paper": "embedding", "official": "logits"}


def fields(*arguments: Any, **options: Any) -> Any:
    """The recipe, for reading the fields of its parts."""
    return ast(*arguments, **options)


@pytest.mark.parametrize("follows", ["paper", "official"])
@pytest.mark.parametrize(("preset", "ipc"), TABLE)
def test_the_published_settings(preset: str, ipc: int, follows: str) -> None:
    recipe = fields(preset if follows == "paper" else f"{preset}-official", ipc)
    normalization, steps, span, starts, batch, _, lr_step, student_lr = TABLE[preset, ipc]
    assert column(recipe) == TABLE[preset, ipc]
    check_what_all_share(recipe)
    assert recipe.objective == TrajectoryMatching(
        student_steps=steps,
        student_lr=student_lr,
        lr_step=lr_step,
        synthetic_batch=batch,
        balance=True,
        balance_base=5.0,
        intermediate="equal",
        **STUDENT[follows],
    )
    course = recipe.pool.course
    assert course.clip == pytest.approx(SMOOTH[follows].clip, abs=1e-12)
    assert recipe.pool == Experts(
        network=NETWORKS[preset],
        count=50,
        course=replace(SMOOTH[follows], clip=course.clip),
        span=span,
        starts=starts,
        normalization=normalization,
    )
    assert recipe.initializer == Clustered(clusters=10, clustering=Clustering(features=FEATURES[follows]))
    assert recipe.labeler == Hard() and recipe.optimizer.average == 0
    assert recipe.references == ("shen2023ast", "cazenavette2022mtt")


@pytest.mark.parametrize("follows", ["paper", "official"])
def test_the_loss_of_experts_rises_and_their_step_size_drops_once(follows: str) -> None:
    course = fields("cifar10" if follows == "paper" else "cifar10-official").pool.course
    rising = {"paper": [0.5, 0.6, 0.7, 0.8, 0.9], "official": [0.5 + 0.05 * epoch for epoch in range(10)]}[follows]
    assert [course.factor(epoch) for epoch in range(50)] == pytest.approx(rising + [1.0] * (50 - len(rising)))
    before, after = {"paper": (25, 0.0015), "official": (27, 0.0018)}[follows]
    assert [course.lr(epoch) for epoch in range(50)] == pytest.approx([0.003] * before + [after] * (50 - before))


@pytest.mark.parametrize(
    ("preset", "ipc", "taken"), [("cifar10", 3, 1), ("cifar100-official", 20, 10), ("imagenet10", 50, 10)]
)
def test_an_ipc_without_settings_takes_those_of_the_nearest_by_ratio(preset: str, ipc: int, taken: int) -> None:
    assert ast(preset, ipc) == ast(preset, taken)
    assert ast() == ast("cifar10", 10)


@pytest.mark.parametrize("preset", ["small", "digits", "small-official", "digits-official"])
def test_ours_are_shortened(preset: str) -> None:
    recipe, base = fields(preset), mtt(preset.removesuffix("-official"))
    course = recipe.pool.course
    assert (recipe.pool.count, course.epochs) == ((8, 12) if preset.startswith("digits") else (2, 5))
    assert course.training.batch_size == base.pool.course.training.batch_size  # type: ignore[union-attr]
    assert course.training.augmentation == base.augmentation
    # What changes with the epochs does so while pieces are read.
    assert 0 < len(course.clip) <= 5 and 0 < course.drops[0] < recipe.pool.starts - 1 + recipe.pool.span
    # Momentum, of the experts and of the student, takes smaller first steps.
    assert recipe.objective.student_lr == base.objective.student_lr / (20 if "official" in preset else 2)  # type: ignore[union-attr]
    assert column(recipe)[:-1] == column(base)[:-1] and recipe.curriculum == base.curriculum


OFF = ["--objective.no-balance", "--objective.intermediate", "off", "--objective.perturb", "off"]
"""The student of MTT."""
PLAIN_START = "initializer=real"
Row = tuple[Callable[..., Recipe], list[str], list[str], dict[str, Any]]
PLAIN_STUDENT: dict[str, Any] = {
    "initializer": Real(),
    "objective__balance": False,
    "objective__intermediate": "off",
    "objective__perturb": "off",
}


def without(*kept: str) -> dict[str, Any]:
    """AST with MTT's start and student, but for some of what AST adds."""
    return {name: value for name, value in PLAIN_STUDENT.items() if name not in kept}


ABLATIONS: dict[str, Row] = {
    "table 1, SGD": (mtt, [], [], {}),
    "table 1, momentum": (
        mtt,
        [],
        ["--pool.course.training.momentum", "0.9"],
        {"pool__course__training__momentum": 0.9},
    ),
    "table 1, Adam": (
        mtt,
        [],
        ["--pool.course.training.optimizer", "adam", "--pool.course.training.lr", "0.001"],
        {"pool__course__training__optimizer": "adam", "pool__course__training__lr": 0.001},
    ),
    "table 2, representative start": (
        mtt,
        ["initializer=clustered"],
        ["--initializer.clusters", "10"],
        {"initializer": Clustered(clusters=10)},
    ),
    "table 2, balance": (mtt, [], ["--objective.balance"], {"objective__balance": True}),
    "table 6, momentum": (
        ast,
        [PLAIN_START],
        [*OFF, "--pool.course.penalty", "none", "--pool.course.clip"],
        {**without(), "pool__course__penalty": "none", "pool__course__clip": ()},
    ),
    "table 6, and penalty": (
        ast,
        [PLAIN_START],
        [*OFF, "--pool.course.clip"],
        {**without(), "pool__course__clip": ()},
    ),
    "table 6, and factor; table 7, smooth experts": (ast, [PLAIN_START], OFF, without()),
    "table 7, and start": (ast, [], OFF, without("initializer")),
    "table 7, and balance": (ast, [], OFF[1:], without("initializer", "objective__balance")),
    "table 7, and way": (
        ast,
        [],
        OFF[3:],
        without("initializer", "objective__balance", "objective__intermediate"),
    ),
    "table 7, and perturbation": (ast, [], [], {}),
    "figure 5, dropout": (ast, [], ["--objective.weight-dropout", "0.1"], {"objective__weight_dropout": 0.1}),
    "figure 5, weights of the way": (
        ast,
        [],
        ["--objective.intermediate", "varied"],
        {"objective__intermediate": "varied"},
    ),
    "figure 5, near starts": (ast, [], ["--pool.start-range", "5"], {"pool__start_range": 5}),
    "step size of experts": (ast, [], ["--pool.course.training.lr", "0.01"], {"pool__course__training__lr": 0.01}),
    "experts as before": (ast, [], ["--pool.course.drops"], {"pool__course__drops": ()}),
    "one tensor at a time": (
        ast,
        [],
        ["--objective.perturb", "tensors", "--objective.alpha", "1"],
        {"objective__perturb": "tensors", "objective__alpha": 1.0},
    ),
}


@pytest.mark.parametrize(("preset", "ipc"), [("cifar100", 10), ("tiny-imagenet", 1), ("digits", 10)])
@pytest.mark.parametrize("row", ABLATIONS)
def test_the_ablations_of_the_paper(row: str, preset: str, ipc: int, context_of: Callable[..., Context]) -> None:
    method, swaps, flags, changes = ABLATIONS[row]
    recipe = method(preset, ipc).with_(**changes)
    assert apply(method(preset, ipc), swaps, flags, "limbeck") == recipe
    recipe.check()
    # The parts accept it; images of eight pixels are too small for the deeper networks alone.
    recipe.with_(pool__network="convnet2:width=4").check(context_of())


def test_every_ablation_is_another_recipe() -> None:
    recipes = [method("cifar100", 10).with_(**changes) for method, _, _, changes in ABLATIONS.values()]
    for one, other in itertools.combinations(recipes, 2):
        assert one != other


@pytest.mark.parametrize("preset", ["digits", "digits-official"])
def test_what_it_adds_is_felt_one_after_the_other(preset: str, context_of: Callable[..., Context]) -> None:
    """Table 7 and figure 5 on digits: each switch makes other images."""
    rows = ("table 7", "figure 5, dropout", "figure 5, weights")
    ends = {}
    for name, (method, _, _, changes) in ABLATIONS.items():
        if name.startswith(rows) or "table 7" in name:
            ends[name] = run(tiny(method(preset).with_(**changes), 2), context_of())[1][-1].stored
    assert len(ends) == 7
    for one, other in itertools.combinations(ends, 2):
        assert not torch.allclose(ends[one], ends[other], rtol=1e-6, atol=1e-9), (one, other)


def test_without_its_student_and_start_on_the_same_experts_it_is_mtt(context_of: Callable[..., Context]) -> None:
    off = tiny(ast("digits").with_(**without()))
    smooth = fields("digits")
    same = {"pool__course": smooth.pool.course, "objective__student_lr": smooth.objective.student_lr}
    plain = tiny(mtt("digits").with_(**same))
    one, other = (run(recipe, context_of())[1][-1].stored for recipe in (off, plain))
    assert torch.equal(one, other)


@pytest.mark.parametrize("ipc", [1, 3, 10, 12])
def test_it_starts_with_distinct_real_images_of_each_class(
    ipc: int, context_of: Callable[..., Context], portion: Callable[..., ImageSet]
) -> None:
    data = portion(3, 20)
    context = context_of(data, ipc=ipc)
    _, states = run(tiny(ast("digits"), 1), context)
    normalized = context.spec.normalization.apply(context.data.images(torch.arange(len(data))))
    for label in range(3):
        images = states[0].stored[label].flatten(1)
        members = normalized[data.labels == label].flatten(1)
        rows = torch.cdist(images, members).argmin(dim=1)
        torch.testing.assert_close(images, members[rows], rtol=0, atol=1e-12)
        assert len(set(rows.tolist())) == ipc


@pytest.mark.parametrize("preset", ["digits", "digits-official"])
def test_a_short_run_lowers_the_loss(
    preset: str, context_of: Callable[..., Context], portion: Callable[..., ImageSet]
) -> None:
    context = context_of(portion(3, 40), ipc=2, dtype=torch.float32)
    recipe: Any = tiny(ast(preset), 30, objective__student_lr=0.002, objective__lr_step=0.0, objective__student_steps=8)
    if preset == "digits":  # the paper's perturbation is as long as the way itself
        recipe = recipe.with_(objective__alpha=0.01)
    loop, states = run(recipe.with_(optimizer__lr=20.0), context)
    before, after = (matching_loss(loop, states[0], state.stored) for state in (states[0], states[-1]))
    # A sum of two terms: 2 is a student that stays.
    assert after < before - 0.04 and after < 2


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_make_sense(preset: str) -> None:
    for ipc in (1, 10, 50):
        ast(preset, ipc).check()


@pytest.mark.parametrize("preset", ["cifar1000", "cifar10-code", "digits-official-official"])
def test_an_unknown_preset_is_refused(preset: str) -> None:
    with pytest.raises(InputError, match=rf"unknown preset of ast '{preset}'"):
        ast(preset)
