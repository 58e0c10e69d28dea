"""Predictions: operations by hand count, memory by what a run took, and what to lower."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from limbeck import registry
from limbeck.core.context import Context
from limbeck.core.recipe import Recipe
from limbeck.data.splits import Data
from limbeck.engine import plan as planning
from limbeck.engine.distill import distill, make_context
from limbeck.engine.plan import disk_bytes, memory_bytes, plan, shortage
from limbeck.engine.settings import Settings
from limbeck.engine.workload import flops, workload
from limbeck.methods.dm import dm
from limbeck.methods.forgetting import forgetting
from limbeck.methods.herding import herding
from limbeck.methods.idc import idc
from limbeck.methods.random import random
from limbeck.pools.experts import Experts
from limbeck.training.expert_training import ExpertTraining
from limbeck.training.settings import Training
from tests.engine.tiny import tiny_dream, tiny_idc

QUIET = Settings(device="cpu", progress="quiet")


def needed(recipe: Recipe, context: Context, class_block: int = 10) -> int:
    """Memory by the shapes alone; what the process holds changes while tests run."""
    return int(sum(planning._memory_by_cause(recipe, context, class_block).values()))


def test_a_baseline_costs_the_training_of_its_network(digits: Data) -> None:
    recipe = herding("digits").with_(pool__epochs=2)
    context = make_context(recipe, digits, 1, 0, QUIET)
    assert recipe.pool.passes(context, workload(recipe, context)) == 3 * 2 * len(digits.train)
    assert flops(random(), make_context(random(), digits, 1, 0, QUIET)) == 0.0
    found = plan(recipe, context, Path())
    assert found.steps == 0 and found.seconds > 0


def test_an_initializer_that_trains_its_own_network_is_counted(digits: Data) -> None:
    recipe = forgetting("digits").with_(initializer__epochs=3)
    context = make_context(recipe, digits, 1, 0, QUIET)
    network = context.network(recipe.initializer.network)
    assert flops(recipe, context) == 3 * 3 * len(digits.train) * network.flops(digits.spec.shape)
    found = plan(recipe, context, Path())
    assert found.steps == 0 and found.preparation_seconds > 0


def test_a_plan_is_about_what_the_run_takes(digits: Data, tmp_path: Path) -> None:
    recipe = tiny_dream()
    context = make_context(recipe, digits, 1, 0, QUIET)
    found = plan(recipe, context, tmp_path / "run")
    assert found.steps == recipe.curriculum.length()
    assert 0 < found.step_seconds < 10 and found.seconds >= found.steps * found.step_seconds
    assert found.remedies == () and found.memory_bytes < found.memory_free_bytes
    distill(recipe, digits, ipc=1, out=tmp_path / "run", settings=QUIET)
    written = sum(path.stat().st_size for path in (tmp_path / "run").rglob("*") if path.is_file())
    assert 10 * 64 * 4 < disk_bytes(recipe, context) < 100 * written


@pytest.mark.parametrize("name", [*sorted(registry.methods()), "dasm on mtt", "dasm on ast"])
def test_every_method_can_be_planned(name: str, digits: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def once(run: Callable[[], object], device: torch.device) -> tuple[float, float]:
        run()
        return 0.001, 0.0

    monkeypatch.setattr(planning, "_seconds", once)  # one eager call of everything that a plan would measure
    name, _, base = name.partition(" on ")
    under = registry.method(base).recipe("digits") if base else None
    recipe = registry.method(name).recipe(None if name == "random" else "digits", under)
    settings = replace(QUIET, compile="off")
    found = plan(recipe, make_context(recipe, digits, 2, 0, settings), tmp_path)
    assert bool(found.steps) == (recipe.objective is not None)
    assert (found.seconds > 0) == (name != "random")


def test_memory_grows_with_what_is_in_it(digits: Data) -> None:
    def at(ipc: int, **changes: object) -> int:
        recipe = idc("digits").with_(**changes)
        return needed(recipe, make_context(recipe, digits, ipc, 0, QUIET))

    assert at(10) > at(1)
    assert at(1, pool__network="convnet3") > at(1)
    assert at(60, objective__synthetic_batch=10) < at(60)


def test_what_is_short_is_named(digits: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = tiny_idc()
    context = make_context(recipe, digits, 1, 0, QUIET)
    assert shortage(recipe, context, tmp_path) == ()
    monkeypatch.setattr(planning, "_free_memory", lambda device: 1000)
    monkeypatch.setattr(planning, "free_bytes", lambda out: 1000)
    memory, disk = shortage(recipe, context, tmp_path)
    assert "memory" in memory and "lower" in memory
    assert "disk" in disk and "--out" in disk
    assert len(shortage(recipe, context, None)) == 1


def test_distill_warns(
    digits: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(planning, "free_bytes", lambda out: 1000)
    plain = replace(QUIET, progress="plain")
    distill(tiny_idc(1, 1), digits, ipc=1, out=tmp_path / "run", settings=plain)
    assert "warning: about" in capsys.readouterr().err


def test_vectorized_classes_are_in_memory_together(digits: Data) -> None:
    recipe = idc("digits")
    one, all_ = (
        needed(recipe, make_context(recipe, digits, 10, 0, replace(QUIET, blocks=blocks)))
        for blocks in ("loop", "vmap")
    )
    assert all_ > one
    context = make_context(recipe, digits, 10, 0, QUIET)
    assert needed(recipe, context, 1) < needed(recipe, context, 10)
    assert memory_bytes(recipe, context) > needed(recipe, context)
    assert torch.get_default_dtype() == torch.float32


def test_matrices_that_whiten_are_counted(digits: Data, whitened: Data) -> None:
    recipe = tiny_idc()
    plain, white = (make_context(recipe, data, 1, 0, QUIET) for data in (digits, whitened))
    assert disk_bytes(recipe, white) - disk_bytes(recipe, plain) == 4 * 64 * 66
    by_cause = [planning._memory_by_cause(recipe, context, 10) for context in (plain, white)]
    (cause,) = by_cause[1].keys() - by_cause[0].keys()
    assert by_cause[1][cause] == 2 * 64 * 64 * 4 and "--normalization measured" in cause


def test_the_training_of_experts_is_part_of_the_preparation(
    context_of: Callable[..., Context], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planning, "_seconds", lambda run, device: (0.001, 0.0))
    course = ExpertTraining(training=Training(lr=0.02, batch_size=16), epochs=6)
    pool = Experts(network="convnet1:width=4", count=3, course=course, span=1, starts=2)
    context = context_of(dtype=torch.float32)
    few = plan(dm("small").with_(pool=pool), context, tmp_path)
    many = plan(dm("small").with_(pool=pool, pool__count=3000), context, tmp_path)
    assert many.preparation_seconds == pytest.approx(1000 * few.preparation_seconds, rel=0.01)
    assert many.disk_bytes == few.disk_bytes  # they lie in the cache, and a checkpoint holds a piece


def test_what_was_trained_before_costs_nothing(
    context_of: Callable[..., Context], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    course = ExpertTraining(training=Training(lr=0.02, batch_size=16), epochs=6)
    recipe = dm("small").with_(pool=Experts(network="convnet1:width=4", count=3000, course=course, span=1, starts=2))
    context = context_of(dtype=torch.float32)
    monkeypatch.setattr(planning, "_seconds", lambda run, device: (0.001, 0.0))
    new = plan(recipe, context, tmp_path)
    monkeypatch.setattr(Experts, "kept", lambda self, context: 0.75)
    few = plan(recipe, context, tmp_path)
    assert few.preparation_seconds == pytest.approx(new.preparation_seconds / 4, rel=0.01)
    assert few.step_seconds == new.step_seconds
