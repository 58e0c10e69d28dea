from __future__ import annotations

import pytest
import torch

from limbeck.core.streams import Stream
from limbeck.ops import adamw


@pytest.mark.parametrize("betas", [(0.9, 0.999), (0.5, 0.9), (0.0, 0.99)])
def test_steps_equal_torch_adamw_with_two_groups(betas: tuple[float, float]) -> None:
    stream = Stream(0)
    begin = [stream.normal(4, 3), stream.normal(4), stream.normal(2, 3, 2)]
    theirs = [tensor.clone().requires_grad_() for tensor in begin]
    optimizer = torch.optim.AdamW(
        [{"params": [theirs[0], theirs[2]]}, {"params": [theirs[1]], "weight_decay": 0.0}],
        lr=0.05,
        betas=betas,
        weight_decay=0.2,
    )
    ours = [tensor.clone() for tensor in begin]
    first, second = ([torch.zeros_like(tensor) for tensor in begin] for _ in range(2))
    for number in range(1, 8):
        gradients = [stream.normal(*tensor.shape) for tensor in begin]
        for tensor, gradient in zip(theirs, gradients, strict=True):
            tensor.grad = gradient.clone()
        optimizer.step()
        adamw.step(ours, gradients, first, second, [ours[0], ours[2]], number, 0.05, betas, 0.2)
        for own, other in zip(ours, theirs, strict=True):
            torch.testing.assert_close(own, other.detach(), rtol=1e-13, atol=1e-14)
