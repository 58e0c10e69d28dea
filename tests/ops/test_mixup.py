from __future__ import annotations

import torch

from limbeck.core.streams import Stream
from limbeck.ops.mixup import mix


def test_each_image_is_blended_with_its_partner() -> None:
    images, partner = Stream(0).normal(4, 2, 3, 3), torch.tensor([2, 0, 3, 1])
    mixed = mix(images, partner, 0.7)
    for row, other in enumerate(partner.tolist()):
        torch.testing.assert_close(mixed[row], 0.7 * images[row] + 0.3 * images[other])
    assert torch.equal(mix(images, partner, 1.0), images) and torch.equal(mix(images, partner, 0.0), images[partner])


def test_gradients() -> None:
    images = Stream(0).normal(3, 1, 2, 2).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: mix(x, torch.tensor([1, 2, 0]), 0.3), images)
