"""MLP, LeNet and AlexNet as in the cross-architecture tables of DC and DSA.

Sources: LeCun et al., "Gradient-based learning applied to document recognition" (1998); Krizhevsky, Sutskever
and Hinton, "ImageNet classification with deep convolutional neural networks" (2012); sizes from Zhao, Mopuri
and Bilen, "Dataset condensation with gradient matching" (DC, ICLR 2021). Weights start from the framework's
defaults.
"""

from __future__ import annotations

import math
from typing import Literal

from torch import nn

from limbeck.networks.blocks import BlockNetwork, Pooling, conv_block, require_choice, require_positive

__all__ = ["MLP", "AlexNet", "LeNet"]


class MLP(BlockNetwork):
    """Two hidden layers with ReLU on the flat image; ``blocks`` holds the two hidden vectors ``[B, width]``.

    Args:
        shape: ``(C, H, W)`` of one image.
        classes: number of classes.
        width: numbers per hidden layer.
    """

    def __init__(self, shape: tuple[int, int, int], classes: int, *, width: int = 128) -> None:
        require_positive(width=width)
        first = nn.Sequential(nn.Flatten(), nn.Linear(math.prod(shape), width), nn.ReLU())
        second = nn.Sequential(nn.Linear(width, width), nn.ReLU())
        super().__init__([first, second], nn.Identity(), width, classes)


class LeNet(BlockNetwork):
    """Two 5x5 convolutions (6 and 16 channels), each with ReLU and 2x2 max pooling, then 120-84-classes.

    Images with one channel get a padding of 2 in the first convolution. The embedding is the 84 numbers that
    the last layer reads.

    Args:
        shape: ``(C, H, W)`` of one image.
        classes: number of classes.
    """

    def __init__(self, shape: tuple[int, int, int], classes: int) -> None:
        padding = 2 if shape[0] == 1 else 0
        first, size = conv_block(shape[0], 6, (shape[1], shape[2]), kernel=5, padding=padding, pooling="max")
        second, size = conv_block(6, 16, size, kernel=5, padding=0, pooling="max")
        readout = nn.Sequential(
            nn.Flatten(), nn.Linear(16 * math.prod(size), 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU()
        )
        super().__init__([first, second], readout, 84, classes)


class AlexNet(BlockNetwork):
    """Five convolutions (128-192-256-192-192 channels), max pooling after the first, second and fifth.

    The first two have 5x5 windows, the others 3x3. The first has padding 4 for images with one channel, else
    2. One linear layer reads the flat map.

    Args:
        shape: ``(C, H, W)`` of one image.
        classes: number of classes.
        norm: ``batch`` gives AlexNetBN.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        classes: int,
        *,
        norm: Literal["none", "batch", "instance"] = "none",
    ) -> None:
        require_choice("norm", norm, ("none", "batch", "instance"))
        layers: list[tuple[int, int, int, Pooling]] = [
            (128, 5, 4 if shape[0] == 1 else 2, "max"),
            (192, 5, 2, "max"),
            (256, 3, 1, "none"),
            (192, 3, 1, "none"),
            (192, 3, 1, "max"),
        ]
        channels, size = shape[0], (shape[1], shape[2])
        blocks = []
        for outputs, kernel, padding, pooling in layers:
            block, size = conv_block(
                channels, outputs, size, kernel=kernel, padding=padding, norm=norm, pooling=pooling
            )
            blocks.append(block)
            channels = outputs
        super().__init__(blocks, nn.Flatten(), channels * math.prod(size), classes)
