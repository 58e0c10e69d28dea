"""VGG11 as in the cross-architecture tables of DC and DSA, and VGG16 as in that of DWA.

Source: Simonyan and Zisserman, "Very deep convolutional networks for large-scale image recognition" (2015),
in the forms of Zhao, Mopuri and Bilen, "Dataset condensation with gradient matching" (DC, ICLR 2021), and of Du
et al., "Diversity-driven synthesis" (DWA, NeurIPS 2024).
"""

from __future__ import annotations

import math
from typing import Literal

from torch import nn

from limbeck.networks.blocks import BlockNetwork, GlobalAverage, Size, conv_block, require_choice

__all__ = ["VGG11", "VGG16"]

Layers = tuple[tuple[int, bool], ...]
"""Channels of each convolution, and whether the map is halved behind it."""

ELEVEN: Layers = (
    (64, True),
    (128, True),
    (256, False),
    (256, True),
    (512, False),
    (512, True),
    (512, False),
    (512, True),
)
SIXTEEN: Layers = tuple(
    (channels, index == length - 1)
    for channels, length in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))
    for index in range(length)
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
        blocks, channels, size = _blocks(ELEVEN, shape, norm)
        super().__init__(blocks, nn.Flatten(), channels * math.prod(size), classes)


class VGG16(BlockNetwork):
    """Thirteen 3x3 convolutions with bias, norm and ReLU, five 2x2 max poolings, average, one linear layer.

    Images of 32 pixels end in one pixel, so that the average matters for larger ones only. Images with one channel
    get a padding of 3 in the first convolution. Weights start from the framework's defaults.

    Args:
        shape: ``(C, H, W)`` of one image, at least 32 x 32 (28 x 28 with one channel).
        classes: number of classes.
        norm: normalization; DWA's has ``batch``.
    """

    def __init__(
        self, shape: tuple[int, int, int], classes: int, *, norm: Literal["instance", "batch"] = "batch"
    ) -> None:
        require_choice("norm", norm, ("instance", "batch"))
        blocks, channels, _ = _blocks(SIXTEEN, shape, norm)
        super().__init__(blocks, GlobalAverage(), channels, classes)


def _blocks(layers: Layers, shape: tuple[int, int, int], norm: str) -> tuple[list[nn.Module], int, Size]:
    """One block per convolution, and channels and size of the last one's output."""
    channels, size = shape[0], (shape[1], shape[2])
    padding = 3 if channels == 1 else 1
    blocks: list[nn.Module] = []
    for outputs, halved in layers:
        block, size = conv_block(
            channels, outputs, size, padding=padding, norm=norm, pooling="max" if halved else "none"
        )
        blocks.append(block)
        channels, padding = outputs, 1
    return blocks, channels, size
