"""The ConvNet of dataset condensation: D equal blocks and a linear classifier.

Source: Gidaris and Komodakis, "Dynamic few-shot visual learning without forgetting" (2018), in the form of
Zhao, Mopuri and Bilen, "Dataset condensation with gradient matching" (ICLR 2021).
"""

from __future__ import annotations

from torch import nn

from limbeck.core.errors import InputError
from limbeck.networks.blocks import Activation, BlockNetwork, Norm, Pooling, conv_block, require_positive

__all__ = ["ConvNet"]


class ConvNet(BlockNetwork):
    """Blocks of 3x3 convolution -> norm -> activation -> 2x2 pooling, then one linear layer on the flat map.

    Images with one channel get a padding of 3 in the first convolution, so that 28 x 28 goes on as 32 x 32.
    All weights start from the framework's defaults.

    Args:
        shape: ``(C, H, W)`` of one image; rows and columns may differ.
        classes: number of classes.
        depth: number of blocks; 3 for 28 and 32 pixels, 4 for 64.
        width: channels of each block.
        norm: normalization; ``instance`` has one affine weight and bias per channel.
        activation: activation function.
        pooling: pooling at the end of each block; without it the map keeps its size.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        classes: int,
        *,
        depth: int = 3,
        width: int = 128,
        norm: Norm = "instance",
        activation: Activation = "relu",
        pooling: Pooling = "avg",
    ) -> None:
        require_positive(depth=depth, width=width)
        channels, *sides = shape
        first_padding = 3 if channels == 1 else 1
        size = (sides[0], sides[1])
        halvings = (min(size) + 2 * (first_padding - 1)).bit_length() - 1
        if pooling != "none" and depth > halvings:
            shallower = f"use depth {halvings} or less, or" if halvings else "use"
            raise InputError(
                f"images of {size[0]} x {size[1]} pixels are too small for a ConvNet of depth {depth}, "
                f"which halves them {depth} times; {shallower} pooling=none"
            )
        blocks = []
        for index in range(depth):
            block, size = conv_block(
                channels,
                width,
                size,
                padding=first_padding if index == 0 else 1,
                norm=norm,
                activation=activation,
                pooling=pooling,
            )
            blocks.append(block)
            channels = width
        super().__init__(blocks, nn.Flatten(), width * size[0] * size[1], classes)
