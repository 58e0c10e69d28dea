from __future__ import annotations

import pytest
import torch
from torch import nn

from limbeck.networks import MobileNetV2
from limbeck.networks.mobilenet import InvertedResidual


def test_the_map_is_halved_three_times() -> None:
    with torch.device("meta"):
        maps = MobileNetV2((3, 32, 48), 10)(torch.empty(2, 3, 32, 48), "blocks")
    assert [tuple(one.shape[1:]) for one in maps] == [
        (32, 32, 48),
        (16, 32, 48),
        (24, 32, 48),
        (32, 16, 24),
        (64, 8, 12),
        (96, 8, 12),
        (160, 4, 6),
        (320, 4, 6),
        (1280, 4, 6),
    ]


@pytest.mark.parametrize(("inputs", "outputs", "stride"), [(4, 4, 1), (4, 6, 1), (4, 4, 2)])
def test_shortcuts(inputs: int, outputs: int, stride: int) -> None:
    """A unit whose last norm is silenced gives out its shortcut: the input, its projection, or nothing."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        unit = InvertedResidual(inputs, outputs, 6, stride).eval()
        x = torch.randn(2, inputs, 8, 8)
    nn.init.zeros_(unit.project.norm.weight)
    found = unit(x)
    if stride == 2:
        assert torch.equal(found, torch.zeros(2, outputs, 4, 4))
    elif inputs == outputs:
        assert torch.equal(found, x)
    else:
        assert unit.shortcut is not None and unit.shortcut.conv.kernel_size == (1, 1)
        torch.testing.assert_close(found, unit.shortcut(x))
