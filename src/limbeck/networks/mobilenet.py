"""MobileNetV2 for small images, as in the cross-architecture table of DWA.

Sources: Sandler et al., "MobileNetV2: inverted residuals and linear bottlenecks" (2018), in the form of Du et al.,
"Diversity-driven synthesis: enhancing dataset distillation through directed weight adjustment" (DWA, NeurIPS 2024).
"""

from __future__ import annotations

from torch import Tensor, nn

from limbeck.networks.blocks import BlockNetwork, GlobalAverage, conv_norm

__all__ = ["MobileNetV2"]

# Expansion, output channels, units, and stride of the first unit of each stage.
STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 1),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
STEM, HEAD = 32, 1280


class MobileNetV2(BlockNetwork):
    """3x3 stem of stride 1, seven stages of inverted residuals that halve the map three times, 1x1 head, average.

    Unlike in the paper, the activation is a plain ReLU, and a unit of stride 1 that changes the channels has a
    shortcut through a 1x1 convolution. ``blocks`` holds the outputs of the stem, the stages and the head. Weights
    start from the framework's defaults.

    Args:
        shape: ``(C, H, W)`` of one image.
        classes: number of classes.
    """

    def __init__(self, shape: tuple[int, int, int], classes: int) -> None:
        blocks: list[nn.Module] = [conv_norm(shape[0], STEM, 3, activation="relu")]
        channels = STEM
        for expansion, outputs, units, stride in STAGES:
            row = []
            for index in range(units):
                row.append(InvertedResidual(channels, outputs, expansion, stride if index == 0 else 1))
                channels = outputs
            blocks.append(nn.Sequential(*row))
        blocks.append(conv_norm(channels, HEAD, activation="relu"))
        super().__init__(blocks, GlobalAverage(), HEAD, classes)


class InvertedResidual(nn.Module):
    """1x1 to many channels, 3x3 on each of them, 1x1 to few, ``[B, inputs, H, W]`` to ``[B, outputs, H', W']``.

    Args:
        inputs: channels of the input.
        outputs: channels of the output.
        expansion: channels in between, in multiples of ``inputs``.
        stride: 1, or 2 to halve the map; only with 1 there is a shortcut.
    """

    def __init__(self, inputs: int, outputs: int, expansion: int, stride: int) -> None:
        super().__init__()
        inner = expansion * inputs
        self.expand = conv_norm(inputs, inner, activation="relu")
        self.depthwise = conv_norm(inner, inner, 3, stride=stride, groups=inner, activation="relu")
        self.project = conv_norm(inner, outputs)
        self.shortcut: nn.Module | None = None
        if stride == 1:
            self.shortcut = nn.Identity() if inputs == outputs else conv_norm(inputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """The unit's output ``[B, outputs, H', W']``."""
        found = self.project(self.depthwise(self.expand(x)))
        return found if self.shortcut is None else found + self.shortcut(x)
