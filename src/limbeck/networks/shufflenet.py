"""ShuffleNet (version 1, two groups) for small images: the "ShuffleNetV2" of DWA's tables on CIFAR.

Sources: Zhang et al., "ShuffleNet: an extremely efficient convolutional neural network for mobile devices" (2018),
in the form of Du et al., "Diversity-driven synthesis: enhancing dataset distillation through directed weight
adjustment" (DWA, NeurIPS 2024).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from limbeck.networks.blocks import BlockNetwork, GlobalAverage, conv_norm

__all__ = ["ShuffleNet"]

STAGES = ((200, 4), (400, 8), (800, 4))
"""Output channels and units of each stage."""
STEM = 24
GROUPS = 2


class ShuffleNet(BlockNetwork):
    """1x1 stem and three stages, each of which halves the map, average, linear layer.

    Unlike in the paper, the 3x3 convolution is followed by a ReLU. ``blocks`` holds the outputs of the stem and of
    each stage. Weights start from the framework's defaults.

    Args:
        shape: ``(C, H, W)`` of one image.
        classes: number of classes.
    """

    def __init__(self, shape: tuple[int, int, int], classes: int) -> None:
        blocks: list[nn.Module] = [conv_norm(shape[0], STEM, activation="relu")]
        channels = STEM
        for outputs, units in STAGES:
            row: list[nn.Module] = [ShuffleUnit(channels, outputs - channels, halve=True)]
            row += [ShuffleUnit(outputs, outputs, halve=False) for _ in range(units - 1)]
            blocks.append(nn.Sequential(*row))
            channels = outputs
        super().__init__(blocks, GlobalAverage(), channels, classes)


class ShuffleUnit(nn.Module):
    """1x1 in groups, shuffle, 3x3 on each channel, 1x1 in groups; ``[B, inputs, H, W]`` to ``[B, ., H', W']``.

    Args:
        inputs: channels of the input.
        new: channels that the convolutions give out; they are added to the input or, where the map is halved, put in
            front of its average-pooled copy.
        halve: whether the map is halved.
    """

    def __init__(self, inputs: int, new: int, *, halve: bool) -> None:
        super().__init__()
        inner = new // 4
        # The stem has too few channels for groups.
        self.groups = 1 if inputs == STEM else GROUPS
        self.reduce = conv_norm(inputs, inner, groups=self.groups, activation="relu")
        stride = 2 if halve else 1
        self.depthwise = conv_norm(inner, inner, 3, stride=stride, groups=inner, activation="relu")
        self.expand = conv_norm(inner, new, groups=GROUPS)
        self.shortcut = nn.AvgPool2d(3, 2, 1) if halve else None
        self.activation = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """The unit's output ``[B, new, H, W]``, or ``[B, new + inputs, H', W']`` where the map is halved."""
        inner = self.reduce(x).unflatten(1, (self.groups, -1)).transpose(1, 2).flatten(1, 2)
        new = self.expand(self.depthwise(inner))
        return self.activation(new + x if self.shortcut is None else torch.cat([new, self.shortcut(x)], dim=1))
