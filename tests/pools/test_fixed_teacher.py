from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from limbeck.core.batch import Moment
from limbeck.core.context import Context
from limbeck.core.contracts import Workload
from limbeck.core.errors import InputError
from limbeck.pools.fixed_teacher import FixedTeacher
from limbeck.training.teacher import Teacher

NETWORK = "convnet1:width=4,norm=batch"
TEACHER = Teacher(network=NETWORK, epochs=1)
POOL = FixedTeacher(teacher=TEACHER)


def test_the_teacher_looks_in_evaluation_mode_and_stays(context_of: Callable[..., Context]) -> None:
    context = context_of()
    state = POOL.init(context)
    wanted = TEACHER.load(context)
    for iteration in range(3):
        drawn = POOL.draw(state, context, iteration)
        view = POOL.view(drawn, context)
        assert not view.train and view.original is None and view.left is None and view.collect is None
        assert view.network is context.network(NETWORK) is POOL.architecture(context)
        assert all(torch.equal(view.weights[name], tensor) for name, tensor in wanted.items())
        unused = Moment(iteration, 0, 2)
        assert POOL.prepare(drawn, context, unused, lambda: pytest.fail("not needed")) is drawn
        assert POOL.advance(drawn, context, unused, lambda: pytest.fail("not needed")) is drawn
        assert not POOL.finished(drawn, context)
    assert not POOL.chained()


def test_it_was_trained(context_of: Callable[..., Context]) -> None:
    context = context_of()
    weights, fresh = POOL.init(context)["teacher"], replace(TEACHER, weights="random").load(context)
    (mean,) = (name for name in weights if name.endswith("running_mean"))
    assert weights[mean].abs().max() > 0 and not fresh[mean].any()


def test_it_costs_its_training(context_of: Callable[..., Context]) -> None:
    context, load = context_of(), Workload(1, 10, 0, 2)
    assert POOL.passes(context, load) == 3 * len(context.data)
    assert FixedTeacher(teacher=replace(TEACHER, weights="random")).passes(context, load) == 0
    assert POOL.copies() == 1


def test_a_teacher_that_cannot_be_had_is_refused(context_of: Callable[..., Context], tmp_path: Path) -> None:
    POOL.check(context_of())
    missing = FixedTeacher(teacher=replace(TEACHER, weights=str(tmp_path / "none.safetensors")))
    with pytest.raises(InputError, match=r"the teacher of pool 'fixed_teacher' has weights .* which is no file"):
        missing.check(context_of())
