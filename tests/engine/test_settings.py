from __future__ import annotations

import pytest
import torch

from limbeck.core.errors import InputError
from limbeck.engine.settings import Settings


def test_auto_takes_a_gpu_only_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert Settings().torch_device() == torch.device("cpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert Settings().torch_device() == torch.device("cuda")
    assert Settings(device="cpu").torch_device() == torch.device("cpu")


def test_a_gpu_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(InputError, match="--device cpu"):
        Settings(device="cuda").torch_device()


def test_dtypes() -> None:
    assert Settings().torch_dtype() is torch.float32
    assert Settings(dtype="float64").torch_dtype() is torch.float64


@pytest.mark.parametrize("block", [0, -1])
def test_a_block_holds_a_class(block: int) -> None:
    with pytest.raises(InputError, match="--class-block"):
        Settings(class_block=block)


@pytest.mark.parametrize("minutes", [-1.0, float("nan")])
def test_minutes_between_checkpoints_are_no_less_than_zero(minutes: float) -> None:
    with pytest.raises(InputError, match="--checkpoint-minutes"):
        Settings(checkpoint_minutes=minutes)


@pytest.mark.parametrize("processes", [0, -2])
def test_somebody_must_compute(processes: int) -> None:
    with pytest.raises(InputError, match="--processes"):
        Settings(processes=processes)
