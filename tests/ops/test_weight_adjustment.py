from __future__ import annotations

import pytest
import torch

from limbeck.core.streams import Stream
from limbeck.ops.weight_adjustment import ascend, global_norm

WEIGHTS = {"a": Stream(0).normal(3, 2), "b": Stream(1).normal(4), "running": Stream(2).normal(4)}
GRADIENT = {"a": Stream(3).normal(3, 2), "b": Stream(4).normal(4)}


def flat(weights: dict[str, torch.Tensor]) -> torch.Tensor:
    return torch.cat([weights[name].flatten() for name in ("a", "b")])


def test_one_norm_over_all_tensors() -> None:
    torch.testing.assert_close(global_norm(GRADIENT), flat(GRADIENT).square().sum().sqrt(), rtol=1e-14, atol=0)


@pytest.mark.parametrize("normalized", [True, False])
def test_one_step_up(normalized: bool) -> None:
    before = {name: tensor.clone() for name, tensor in WEIGHTS.items()}
    moved = ascend(WEIGHTS, GRADIENT, 0.25, normalized)
    way = flat(moved) - flat(WEIGHTS)
    wanted = 0.25 * flat(GRADIENT) / (flat(GRADIENT).norm() if normalized else 1)
    torch.testing.assert_close(way, wanted, rtol=1e-11, atol=1e-13)
    assert moved["running"] is WEIGHTS["running"]
    assert all(torch.equal(WEIGHTS[name], tensor) for name, tensor in before.items())
    assert list(moved) == list(WEIGHTS)


def test_no_gradient_moves_nothing() -> None:
    still = {name: torch.zeros_like(tensor) for name, tensor in GRADIENT.items()}
    moved = ascend(WEIGHTS, still, 0.25, normalized=True)
    assert torch.equal(flat(moved), flat(WEIGHTS))
