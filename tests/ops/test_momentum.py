from __future__ import annotations

import pytest
import torch

from limbeck.core.streams import Stream
from limbeck.ops import momentum


@pytest.mark.parametrize("mu", [0.0, 0.5, 0.9, 1.0])
def test_coast_equals_steps_without_gradient(mu: float) -> None:
    stream = Stream(0)
    x, v = stream.normal(5, 2), stream.normal(5, 2)
    expected_x, expected_v = x, v
    for steps in range(6):
        for form in (steps, torch.tensor(steps), torch.full((5,), steps)):
            found_x, found_v = momentum.coast(x, v, 0.3, mu, form)
            torch.testing.assert_close(found_x, expected_x, rtol=1e-13, atol=1e-13)
            torch.testing.assert_close(found_v, expected_v, rtol=1e-13, atol=1e-13)
        expected_x, expected_v = momentum.step(expected_x, expected_v, torch.zeros_like(expected_x), 0.3, mu)


@pytest.mark.parametrize("mu", [0.0, 0.5, 0.9])
@pytest.mark.parametrize("classes", [1, 3, 10])
def test_round_of_all_classes_equals_torch_sgd_class_by_class(mu: float, classes: int) -> None:
    stream = Stream(1)
    start = stream.normal(classes, 2, 3)
    target = stream.normal(classes, 2, 3)

    stored = start.clone().requires_grad_()
    optimizer = torch.optim.SGD([stored], lr=0.2, momentum=mu)
    for _ in range(4):
        for c in range(classes):
            optimizer.zero_grad()
            # A gradient that depends on where the images are at the class's own turn.
            (stored[c] - target[c]).pow(4).sum().backward()
            torch.nn.utils.clip_grad_value_([stored], 1.0)
            optimizer.step()

    x, v = start, torch.zeros_like(start)
    turns = torch.arange(classes)
    for _ in range(4):
        x, v = momentum.coast(x, v, 0.2, mu, turns)
        gradient = (4 * (x - target).pow(3)).clamp(-1.0, 1.0)
        x, v = momentum.step(x, v, gradient, 0.2, mu)
        x, v = momentum.coast(x, v, 0.2, mu, classes - 1 - turns)
    torch.testing.assert_close(x, stored.detach(), rtol=1e-12, atol=1e-12)


def test_float32_stays_float32() -> None:
    x = torch.ones(3, 2)
    found, velocity = momentum.coast(x, x, 0.1, 0.5, torch.arange(3))
    assert found.dtype == velocity.dtype == torch.float32
