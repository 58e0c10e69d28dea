"""VGG11 as in the cross-architecture tables of DC and DSA.

Source: Simonyan and Zisserman, "Very deep convolutional networks for large-scale image recognition" (2015),
in the form of Zhao, Mopuri and Bilen, "Dataset condensation with gradient matching" (DC, ICLR 2021).
"""

from __future__ import annotations

import math
from typing import Literal

from torch import nn

from limbeck.networks.blocks import BlockNetwork, conv_block, require_choice

__all__ = ["VGG11"]

# Channels of each convolution, and whether the map is halved behind it.
LAYERS = (
    (64, True),
    (128, True),
    (256, False),
    (256, True),
    (512, False),
    (512, True),
    (512, False),
    (512, True),
)


class VGG11(BlockNetwork):
    """Eight 3x3 convolutions with norm and ReLU, five 2x2 max poolings, one linear layer on the flat map.

    Images with one channel get a padding of 3 in the first convolution, so that 28 x 28 goes on as 32 x 32.
    Weights start from the framework's defaults.

    Args:
        shape: ``(C, H, W)`` of one image.
        classes: number of classes.
        norm: normalization; DC's plain VGG11 has ``instance``, its VGG11BN ``batch``.
    """

    def __init__(
        self, shape: tuple[int, int, int], classes: int, *, norm: Literal["instance", "batch"] = "instance"
    ) -> None:
        require_choice("norm", norm, ("instance", "batch"))
        channels, size = shape[0], (shape[1], shape[2])
        padding = 3 if channels == 1 else 1
        blocks = []
        for outputs, halved in LAYERS:
            block, size = conv_block(
                channels, outputs, size, padding=padding, norm=norm, pooling="max" if halved else "none"
            )
            blocks.append(block)
            channels, padding = outputs, 1
        super().__init__(blocks, nn.Flatten(), channels * math.prod(size), classes)
