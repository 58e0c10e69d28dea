"""One family for the ResNets of the field: those of IDC and DREAM, of the DC repository, and of SRe2L and DWA.

They differ in width, stem, how they halve a map, what the classifier reads, and how convolutions start; each
is an option of `ResNet`, and the usual combinations have names in `limbeck.networks.catalog`. On images up to
64 pixels the strided ones are torchvision's with a 3x3 stem and no max pooling, the teachers of SRe2L and DWA.

Sources: He et al., "Deep residual learning for image recognition" (2016); Kim et al., "Dataset condensation
via efficient synthetic-data parameterization" (IDC, ICML 2022); Zhao, Mopuri and Bilen, "Dataset condensation
with gradient matching" (DC, ICLR 2021).
"""

from __future__ import annotations

import math
from typing import Literal

from torch import Tensor, nn

from limbeck.core.errors import InputError
from limbeck.networks.blocks import (
    BlockNetwork,
    GlobalAverage,
    Size,
    make_norm,
    require_choice,
    require_positive,
)

__all__ = ["ResNet"]

BLOCKS_PER_STAGE = {10: (1, 1, 1, 1), 18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}
BOTTLENECKS = 50  # depth from which on a block is a bottleneck


class ResNet(BlockNetwork):
    """Stem and four stages of basic blocks with 1, 2, 4 and 8 times ``width`` channels.

    From depth 50 on blocks are bottlenecks, which give out four times as many. ``blocks`` holds the outputs of the
    stem and of each stage.

    Stages two to four halve the map. With ``downsample="pool"`` (the "AP" variants) every strided convolution
    has stride 1 and is followed by average pooling: in the main path after the first activation, in the
    shortcut between its 1x1 convolution and its norm.

    The stem by image side: up to 64 pixels a 3x3 convolution; up to 128 pixels the same and one halving;
    above, a 7x7 convolution and two halvings (strided convolution and 3x3 max pooling, or average pooling by
    4).

    Args:
        shape: ``(C, H, W)`` of one image.
        classes: number of classes.
        depth: layers: 10 (one block per stage), 18 (two), or 34, 50 and 101 (3, 4, 6 or 23, and 3).
        width: channels of the stem; IDC uses 32 for its CIFAR ResNet-10 and 64 elsewhere.
        norm: normalization.
        downsample: ``stride`` or ``pool``.
        head: what the classifier reads: the ``average`` of each channel, or the ``flat`` map (DC's AP
            variant).
        init: convolutions from N(0, 2 / (k * k * outputs)) (``idc``, also torchvision's) or the framework's
            ``default`` (DC).
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        classes: int,
        *,
        depth: Literal[10, 18, 34, 50, 101] = 10,
        width: int = 64,
        norm: Literal["batch", "instance"] = "batch",
        downsample: Literal["stride", "pool"] = "stride",
        head: Literal["average", "flat"] = "average",
        init: Literal["idc", "default"] = "idc",
    ) -> None:
        require_choice("depth", depth, tuple(BLOCKS_PER_STAGE))
        require_choice("norm", norm, ("batch", "instance"))
        require_choice("downsample", downsample, ("stride", "pool"))
        require_choice("head", head, ("average", "flat"))
        require_choice("init", init, ("idc", "default"))
        require_positive(width=width)
        stem, size = _stem(shape, width, norm, pooled=downsample == "pool")
        blocks: list[nn.Module] = [stem]
        channels = width
        kind = Bottleneck if depth >= BOTTLENECKS else Residual
        for stage, length in enumerate(BLOCKS_PER_STAGE[depth]):
            row = []
            for index in range(length):
                stride = 2 if stage > 0 and index == 0 else 1
                inner = width * 2**stage
                residual = kind(channels, inner, size, stride=stride, norm=norm, pooled=downsample == "pool")
                row.append(residual)
                channels, size = inner * kind.widening, residual.size
            blocks.append(nn.Sequential(*row))
        readout = GlobalAverage() if head == "average" else nn.Flatten()
        super().__init__(blocks, readout, channels * (1 if head == "average" else math.prod(size)), classes)
        if init == "idc":
            for module in self.modules():
                if isinstance(module, nn.Conv2d):
                    fan_out = math.prod(module.kernel_size) * module.out_channels
                    nn.init.normal_(module.weight, 0.0, math.sqrt(2.0 / fan_out))


class Residual(nn.Module):
    """A basic block: two 3x3 convolutions and a shortcut, ``[B, inputs, H, W]`` to ``[B, outputs, H', W']``.

    Args:
        inputs: channels of the input.
        outputs: channels of the output.
        size: rows and columns of the input; the attribute ``size`` holds those of the output.
        stride: 1, or 2 to halve the map.
        norm: normalization.
        pooled: halve by average pooling instead of a strided convolution.
    """

    widening = 1

    def __init__(self, inputs: int, outputs: int, size: Size, *, stride: int, norm: str, pooled: bool) -> None:
        super().__init__()
        step, pool = (1, stride) if pooled else (stride, 1)
        inner, self.size = _halved(size, step, pool)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, step, 1, bias=False)
        self.norm1 = make_norm(norm, outputs, inner)
        self.relu = nn.ReLU()
        self.pool = nn.AvgPool2d(pool) if pool > 1 else nn.Identity()
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.norm2 = make_norm(norm, outputs, self.size)
        self.shortcut = _shortcut(inputs, outputs, step, pool, norm, self.size)

    def forward(self, x: Tensor) -> Tensor:
        """The block's output ``[B, outputs, H', W']``."""
        inner = self.pool(self.relu(self.norm1(self.conv1(x))))
        return self.relu(self.norm2(self.conv2(inner)) + self.shortcut(x))


class Bottleneck(nn.Module):
    """A block of 1x1, 3x3 and 1x1 convolutions, ``[B, inputs, H, W]`` to ``[B, 4 * inner, H', W']``.

    The 3x3 convolution has the stride, as in torchvision.

    Args:
        inputs: channels of the input.
        inner: channels of the 3x3 convolution.
        size: rows and columns of the input; the attribute ``size`` holds those of the output.
        stride: 1, or 2 to halve the map.
        norm: normalization.
        pooled: halve by average pooling instead of a strided convolution.
    """

    widening = 4

    def __init__(self, inputs: int, inner: int, size: Size, *, stride: int, norm: str, pooled: bool) -> None:
        super().__init__()
        step, pool = (1, stride) if pooled else (stride, 1)
        middle, self.size = _halved(size, step, pool)
        outputs = self.widening * inner
        self.conv1 = nn.Conv2d(inputs, inner, 1, bias=False)
        self.norm1 = make_norm(norm, inner, size)
        self.relu = nn.ReLU()
        self.conv2 = nn.Conv2d(inner, inner, 3, step, 1, bias=False)
        self.norm2 = make_norm(norm, inner, middle)
        self.pool = nn.AvgPool2d(pool) if pool > 1 else nn.Identity()
        self.conv3 = nn.Conv2d(inner, outputs, 1, bias=False)
        self.norm3 = make_norm(norm, outputs, self.size)
        self.shortcut = _shortcut(inputs, outputs, step, pool, norm, self.size)

    def forward(self, x: Tensor) -> Tensor:
        """The block's output ``[B, 4 * inner, H', W']``."""
        inner = self.relu(self.norm1(self.conv1(x)))
        inner = self.pool(self.relu(self.norm2(self.conv2(inner))))
        return self.relu(self.norm3(self.conv3(inner)) + self.shortcut(x))


def _halved(size: Size, step: int, pool: int) -> tuple[Size, Size]:
    """Sizes behind a 3x3 convolution of stride ``step`` and behind the pooling that follows it."""
    inner = _strided(size, step)
    after = (inner[0] // pool, inner[1] // pool)
    if min(after) < 1:
        raise _too_small()
    return inner, after


def _shortcut(inputs: int, outputs: int, step: int, pool: int, norm: str, size: Size) -> nn.Sequential:
    """The way round a block: nothing, or 1x1 convolution, pooling and norm where the block changes the shape."""
    shortcut = nn.Sequential()
    if step * pool > 1 or inputs != outputs:
        shortcut.add_module("conv", nn.Conv2d(inputs, outputs, 1, step, bias=False))
        if pool > 1:
            shortcut.add_module("pool", nn.AvgPool2d(pool))
        shortcut.add_module("norm", make_norm(norm, outputs, size))
    return shortcut


def _stem(shape: tuple[int, int, int], width: int, norm: str, *, pooled: bool) -> tuple[nn.Sequential, Size]:
    """Convolution, norm, ReLU and pooling before the first stage, chosen by the longer side of the image."""
    channels, size = shape[0], (shape[1], shape[2])
    longest = max(size)
    kernel = 3 if longest <= 128 else 7
    stride = 1 if pooled or longest <= 64 else 2
    size = _strided(size, stride)
    stem = nn.Sequential()
    stem.add_module("conv", nn.Conv2d(channels, width, kernel, stride, kernel // 2, bias=False))
    stem.add_module("norm", make_norm(norm, width, size))
    stem.add_module("relu", nn.ReLU())
    if pooled and longest > 64:
        window = 2 if longest <= 128 else 4
        stem.add_module("pool", nn.AvgPool2d(window))
        size = (size[0] // window, size[1] // window)
        if min(size) < 1:
            raise _too_small()
    elif not pooled and longest > 128:
        stem.add_module("pool", nn.MaxPool2d(3, 2, 1))
        size = _strided(size, 2)
    return stem, size


def _strided(size: Size, stride: int) -> Size:
    """The size behind a convolution or pooling of this stride whose padding is half its odd window."""
    return (size[0] - 1) // stride + 1, (size[1] - 1) // stride + 1


def _too_small() -> InputError:
    return InputError("the image is too small for a ResNet that halves it by pooling; use downsample=stride")
