from __future__ import annotations

import torch
from torch import nn

from limbeck.networks import ShuffleNet
from limbeck.networks.shufflenet import ShuffleUnit


def test_the_map_is_halved_three_times() -> None:
    with torch.device("meta"):
        maps = ShuffleNet((1, 28, 28), 10)(torch.empty(2, 1, 28, 28), "blocks")
    assert [tuple(one.shape[1:]) for one in maps] == [(24, 28, 28), (200, 14, 14), (400, 7, 7), (800, 4, 4)]


def test_channels_of_the_two_groups_take_turns() -> None:
    """Without a shuffle the depthwise convolution would see the channels in their own order."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        unit = ShuffleUnit(40, 40, halve=False).eval()
        x = torch.rand(1, 40, 4, 4)
    seen: list[torch.Tensor] = []
    unit.depthwise.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    unit(x)
    reduced = unit.reduce(x)
    order = [0, 5, 1, 6, 2, 7, 3, 8, 4, 9]
    assert torch.equal(seen[0], reduced[:, order])


def test_a_unit_that_halves_keeps_its_input_behind_what_is_new() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        unit = ShuffleUnit(24, 16, halve=True).eval()
        x = torch.rand(2, 24, 8, 8)
    assert unit.reduce.conv.groups == 1 and unit.expand.conv.groups == 2
    found = unit(x)
    assert tuple(found.shape) == (2, 40, 4, 4)
    torch.testing.assert_close(found[:, 16:], nn.functional.avg_pool2d(x, 3, 2, 1))
