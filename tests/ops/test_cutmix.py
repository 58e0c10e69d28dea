from __future__ import annotations

import pytest
import torch

from limbeck.core.streams import Stream
from limbeck.ops import cutmix


@pytest.mark.parametrize("lam", [0.0, 0.3, 0.75, 1.0])
def test_ratio_is_the_share_of_pixels_kept(lam: float) -> None:
    stream = Stream(0)
    for _ in range(20):
        row, col = int(stream.integers(0, 11)), int(stream.integers(0, 7))
        box = cutmix.box(lam, row, col, 12, 8)
        x = torch.stack([torch.zeros(1, 12, 8), torch.ones(1, 12, 8)])
        mixed = cutmix.mix(x, torch.tensor([1, 0]), box)
        assert cutmix.ratio(box, 12, 8) == pytest.approx(1 - float(mixed[0].mean()))
        assert torch.equal(mixed[1], 1 - mixed[0])


def test_whole_image_is_kept_when_lam_is_one() -> None:
    x = Stream(1).normal(4, 3, 5, 5)
    box = cutmix.box(1.0, 2, 2, 5, 5)
    assert torch.equal(cutmix.mix(x, torch.tensor([1, 2, 3, 0]), box), x)
    assert cutmix.ratio(box, 5, 5) == 1.0


def test_mix_leaves_its_input_alone_and_has_a_gradient() -> None:
    x = Stream(2).normal(3, 1, 4, 4).requires_grad_()
    before = x.detach().clone()
    partner = torch.tensor([2, 0, 1])
    box = cutmix.box(0.5, 1, 3, 4, 4)
    cutmix.mix(x, partner, box)
    assert torch.equal(x, before)
    assert torch.autograd.gradcheck(lambda x: cutmix.mix(x, partner, box), x)
