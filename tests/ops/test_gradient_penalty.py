from __future__ import annotations

import pytest
import torch

from limbeck.core.streams import Stream
from limbeck.ops.gradient_penalty import penalties


@pytest.mark.parametrize("one_sided", [False, True])
@pytest.mark.parametrize("channelwise", [False, True])
def test_penalties_equal_plain_loops(channelwise: bool, one_sided: bool) -> None:
    slopes, target = 0.6 * Stream(0).normal(5, 3, 2, 4), 1.0
    found = penalties(slopes, target, channelwise=channelwise, one_sided=one_sided)
    for image, value in zip(slopes, found, strict=True):
        lengths = [image[:, i, j] for i in range(2) for j in range(4)] if channelwise else [image]
        gaps = [float(one.square().sum().sqrt()) - target for one in lengths]
        gaps = [max(gap, 0.0) if one_sided else gap for gap in gaps]
        assert float(value) == pytest.approx(sum(gap**2 for gap in gaps) / len(gaps), abs=1e-12)


def test_one_sided_and_two_sided_differ_below_the_target() -> None:
    short = torch.full((1, 3, 2, 2), 0.01, dtype=torch.float64)
    for channelwise in (False, True):
        assert float(penalties(short, 1.0, channelwise=channelwise, one_sided=True)) == 0
        assert float(penalties(short, 1.0, channelwise=channelwise, one_sided=False)) > 0.5


@pytest.mark.parametrize("channelwise", [False, True])
def test_a_slope_of_zero_has_a_gradient_all_the_same(channelwise: bool) -> None:
    slopes = torch.zeros(2, 3, 2, 2, dtype=torch.float64, requires_grad=True)
    value = penalties(slopes, 1.0, channelwise=channelwise, one_sided=False)
    assert value.tolist() == [1.0, 1.0]
    assert torch.equal(torch.autograd.grad(value.sum(), slopes)[0], torch.zeros_like(slopes))
