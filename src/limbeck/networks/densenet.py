"""The "DenseNet-121" of the IDC and DREAM tables, which has a growth rate of 12 instead of 32.

Source: Huang et al., "Densely connected convolutional networks" (2017), in the form of Kim et al. (IDC, ICML
2022).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from limbeck.core.errors import InputError
from limbeck.networks.blocks import BlockNetwork, GlobalAverage, require_positive

__all__ = ["DenseNet"]

LAYERS_PER_STAGE = (6, 12, 24, 16)


class DenseNet(BlockNetwork):
    """3x3 stem with two growths of channels, four dense stages (6, 12, 24, 16 layers), average, linear layer.

    A transition between stages halves channels, rows and columns. ``blocks`` holds the stem and the four
    stages, each with the transition or the last norm that follows it.

    Args:
        shape: ``(C, H, W)`` of one image.
        classes: number of classes.
        growth: channels that a layer adds; the papers' tables use 12.
    """

    def __init__(self, shape: tuple[int, int, int], classes: int, *, growth: int = 12) -> None:
        require_positive(growth=growth)
        if min(shape[1:]) < 8:
            raise InputError(
                f"images of {shape[1]} x {shape[2]} pixels are too small for this DenseNet, which halves "
                "them 3 times; use at least 8 x 8"
            )
        channels = 2 * growth
        blocks: list[nn.Module] = [nn.Conv2d(shape[0], channels, 3, padding=1, bias=False)]
        for stage, layers in enumerate(LAYERS_PER_STAGE):
            parts: list[nn.Module] = [DenseLayer(channels + index * growth, growth) for index in range(layers)]
            channels += layers * growth
            parts += [nn.BatchNorm2d(channels), nn.ReLU()]
            if stage < len(LAYERS_PER_STAGE) - 1:
                parts += [nn.Conv2d(channels, channels // 2, 1, bias=False), nn.AvgPool2d(2)]
                channels //= 2
            blocks.append(nn.Sequential(*parts))
        super().__init__(blocks, GlobalAverage(), channels, classes)


class DenseLayer(nn.Module):
    """Bottleneck (1x1 to four growths, 3x3 to one) whose output is put in front of its input.

    Args:
        inputs: channels of the input ``[B, inputs, H, W]``; the output has ``growth`` more.
        growth: channels added.
    """

    def __init__(self, inputs: int, growth: int) -> None:
        super().__init__()
        self.new = nn.Sequential(
            nn.BatchNorm2d(inputs),
            nn.ReLU(),
            nn.Conv2d(inputs, 4 * growth, 1, bias=False),
            nn.BatchNorm2d(4 * growth),
            nn.ReLU(),
            nn.Conv2d(4 * growth, growth, 3, padding=1, bias=False),
        )

    def forward(self, x: Tensor) -> Tensor:
        """``[B, growth + inputs, H, W]``, the new channels first."""
        return torch.cat([self.new(x), x], dim=1)
