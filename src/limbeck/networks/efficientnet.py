"""EfficientNet-B0 for small images, as in the cross-architecture table of DWA.

Sources: Tan and Le, "EfficientNet: rethinking model scaling for convolutional neural networks" (2019), in the form
of Du et al., "Diversity-driven synthesis: enhancing dataset distillation through directed weight adjustment" (DWA,
NeurIPS 2024).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from limbeck.networks.blocks import BlockNetwork, GlobalAverage, Unused, conv_norm

__all__ = ["EfficientNet"]

# Expansion, output channels, units, window, and stride of the first unit of each stage.
STAGES = (
    (1, 16, 1, 3, 1),
    (6, 24, 2, 3, 2),
    (6, 40, 2, 5, 2),
    (6, 80, 3, 3, 2),
    (6, 112, 3, 5, 1),
    (6, 192, 4, 5, 2),
    (6, 320, 1, 3, 1),
)
STEM = 32
SQUEEZE = 4
"""Channels of a unit's input for one of its squeeze."""
DROP_CONNECT = 0.2
"""Probability towards which the last unit's grows; the first one's is 0."""
DROPOUT = 0.2


class EfficientNet(BlockNetwork):
    """3x3 stem of stride 1, seven stages of squeezed inverted residuals that halve the map four times, average.

    There is no 1x1 head. ``blocks`` holds the outputs of the stem and of each stage. The published count of
    parameters includes the expansion of the very first unit, a convolution and a norm that no image passes; they are
    kept for that (`Unused`). Weights start from the framework's defaults.

    Args:
        shape: ``(C, H, W)`` of one image.
        classes: number of classes.
        dropout: whether whole units (drop-connect) and numbers of the embedding are dropped in training. Off by
            default, because the masks come from torch's global generator, which the seed of a run does not reach.
    """

    def __init__(self, shape: tuple[int, int, int], classes: int, *, dropout: bool = False) -> None:
        blocks: list[nn.Module] = [conv_norm(shape[0], STEM, 3, activation="swish")]
        rate = DROP_CONNECT / sum(units for _, _, units, _, _ in STAGES) if dropout else 0.0
        channels, place = STEM, 0
        for expansion, outputs, units, kernel, stride in STAGES:
            row = []
            for index in range(units):
                step = stride if index == 0 else 1
                row.append(SqueezedResidual(channels, outputs, expansion, kernel, step, place * rate))
                channels, place = outputs, place + 1
            blocks.append(nn.Sequential(*row))
        readout = nn.Sequential(GlobalAverage(), nn.Dropout(DROPOUT)) if dropout else GlobalAverage()
        super().__init__(blocks, readout, channels, classes)


class SqueezedResidual(nn.Module):
    """1x1 to many channels, one window on each, weighting of channels, 1x1 to few.

    Maps ``[B, inputs, H, W]`` to ``[B, outputs, H', W']``.

    Args:
        inputs: channels of the input.
        outputs: channels of the output.
        expansion: channels in between, in multiples of ``inputs``; with 1 the first convolution is not used.
        kernel: side of the window.
        stride: 1, or 2 to halve the map; with 1 and equal channels the input is added.
        drop: probability, in training, that an image gets the input alone.
    """

    def __init__(self, inputs: int, outputs: int, expansion: int, kernel: int, stride: int, drop: float) -> None:
        super().__init__()
        inner = expansion * inputs
        expand = conv_norm(inputs, inner, activation="swish")
        self.expand = expand if expansion > 1 else Unused(expand)
        self.depthwise = conv_norm(inner, inner, kernel, stride=stride, groups=inner, activation="swish")
        self.squeeze = Squeeze(inner, inputs // SQUEEZE)
        self.project = conv_norm(inner, outputs)
        self.adds = stride == 1 and inputs == outputs
        self.drop = drop

    def forward(self, x: Tensor) -> Tensor:
        """The unit's output ``[B, outputs, H', W']``."""
        found = self.project(self.squeeze(self.depthwise(self.expand(x))))
        if not self.adds:
            return found
        if self.training and self.drop > 0:
            kept = torch.rand(len(x), 1, 1, 1, dtype=x.dtype, device=x.device) >= self.drop
            found = found * kept / (1 - self.drop)
        return found + x


class Squeeze(nn.Module):
    """Weights each channel between 0 and 1 by what the averages of all of them say; keeps ``[B, C, H, W]``.

    Args:
        channels: C.
        inner: numbers that the averages are squeezed into.
    """

    def __init__(self, channels: int, inner: int) -> None:
        super().__init__()
        self.down = nn.Conv2d(channels, inner, 1)
        self.activation = nn.SiLU()
        self.up = nn.Conv2d(inner, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """The weighted map."""
        average = torch.mean(x, dim=(2, 3), keepdim=True)
        return x * torch.sigmoid(self.up(self.activation(self.down(average))))
