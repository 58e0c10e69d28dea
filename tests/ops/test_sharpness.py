from __future__ import annotations

import pytest
import torch
from torch import Tensor

from limbeck.core.streams import Stream
from limbeck.ops.sharpness import ascend, descend


def drawn(key: int) -> dict[str, Tensor]:
    stream = Stream(key)
    return {"a": stream.normal(3, 2), "b": stream.normal(4)}


def flat(tensors: dict[str, Tensor]) -> Tensor:
    return torch.cat([tensor.flatten() for tensor in tensors.values()])


def test_a_plain_ascent_has_the_length_asked_for() -> None:
    weights, gradient = drawn(0), drawn(1)
    step = flat(ascend(weights, gradient, 0.3, adaptive=False)) - flat(weights)
    torch.testing.assert_close(step.norm(), torch.tensor(0.3, dtype=torch.float64))
    torch.testing.assert_close(step / step.norm(), flat(gradient) / flat(gradient).norm())


def test_an_adaptive_ascent_is_the_plain_one_of_rescaled_weights() -> None:
    weights, gradient = drawn(0), drawn(1)
    step = flat(ascend(weights, gradient, 0.3, adaptive=True)) - flat(weights)
    scaled = step / flat(weights).abs()  # where the step is w * (w g), so that |w| divides it
    torch.testing.assert_close(scaled.norm(), torch.tensor(0.3, dtype=torch.float64))
    assert (torch.sign(step) == torch.sign(flat(gradient))).all()


def test_without_a_gradient_weights_stay() -> None:
    weights = drawn(0)
    nothing = {name: torch.zeros_like(tensor) for name, tensor in weights.items()}
    for adaptive in (False, True):
        assert torch.equal(flat(ascend(weights, nothing, 0.3, adaptive)), flat(weights))


@pytest.mark.parametrize("alpha", [0.0, 0.4, 1.0])
def test_a_descent_leaves_out_what_only_the_clean_gradient_sees(alpha: float) -> None:
    clean, sharp = drawn(2), drawn(3)
    g0, g1 = flat(clean), flat(sharp)
    found = flat(descend(clean, sharp, alpha))
    across = g0 - (g0 @ g1) / (g1 @ g1) * g1
    torch.testing.assert_close(found, g1 - alpha * across)
    # What is taken away is orthogonal to the sharp gradient.
    torch.testing.assert_close(found @ g1, g1 @ g1)


def test_of_equal_gradients_nothing_is_taken_away() -> None:
    same = drawn(4)
    torch.testing.assert_close(flat(descend(same, same, 0.7)), flat(same), rtol=0, atol=1e-10)
