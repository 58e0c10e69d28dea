from __future__ import annotations

import warnings

import pytest
import torch
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, SequentialLR

from limbeck.core.errors import InputError
from limbeck.training.schedules import CONSTANT, Schedule


def test_a_constant_step_size_stays() -> None:
    assert [CONSTANT.factor(epoch, 5) for epoch in range(5)] == [1.0] * 5


@pytest.mark.parametrize(("warmup", "share", "epochs"), [(0, 0.01, 20), (5, 0.01, 50), (3, 0.25, 9), (1, 0.5, 2)])
def test_a_cosine_with_warmup_is_torch_s(warmup: int, share: float, epochs: int) -> None:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    cosine = CosineAnnealingLR(optimizer, T_max=epochs - warmup)
    scheduler = (
        SequentialLR(optimizer, [LinearLR(optimizer, share, total_iters=warmup), cosine], [warmup])
        if warmup
        else cosine
    )
    expected = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch complains about how it calls its own schedulers
        for _ in range(epochs):
            expected.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            scheduler.step()
    schedule = Schedule(kind="cosine", warmup=warmup, warmup_factor=share)
    assert [schedule.factor(epoch, epochs) for epoch in range(epochs)] == pytest.approx(expected, abs=1e-12)
    assert schedule.factor(warmup, epochs) == 1.0


def test_a_constant_step_size_may_rise_first() -> None:
    schedule = Schedule(warmup=2, warmup_factor=0.5)
    assert [schedule.factor(epoch, 4) for epoch in range(4)] == [0.5, 0.75, 1.0, 1.0]


def test_nothing_is_left_after_the_last_epoch() -> None:
    assert Schedule(kind="cosine", warmup=3).factor(3, 3) == 0.0
    assert Schedule(kind="cosine").factor(10, 10) == 0.0


@pytest.mark.parametrize("wrong", [{"warmup": -1}, {"warmup_factor": 0.0}, {"warmup_factor": 1.5}])
def test_values_out_of_range(wrong: dict[str, float]) -> None:
    with pytest.raises(InputError, match=r"the schedule of the teacher needs warmup >= 0 and 0 < warmup_factor <= 1"):
        Schedule(**wrong).check("the teacher")  # type: ignore[arg-type]


def test_a_cosine_to_half_is_the_first_half_of_one_twice_as_long() -> None:
    half, whole = Schedule(kind="cosine_to_half"), Schedule(kind="cosine")
    assert [half.factor(epoch, 10) for epoch in range(11)] == [whole.factor(epoch, 20) for epoch in range(11)]
    assert half.factor(10, 10) == pytest.approx(0.5)
