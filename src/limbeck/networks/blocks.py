"""What the architectures share: a network as a row of blocks, and the layers that a block is made of.

Shapes: B images, C channels, H rows, W columns, K classes, D numbers per embedding.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from limbeck.core.errors import InputError, unknown
from limbeck.core.network import Network, Output

__all__ = [
    "Activation",
    "BlockNetwork",
    "GlobalAverage",
    "Norm",
    "Pooling",
    "Size",
    "Unused",
    "conv_block",
    "conv_norm",
    "make_activation",
    "make_norm",
    "require_choice",
    "require_positive",
]

Norm = Literal["instance", "batch", "layer", "group", "none"]
Activation = Literal["relu", "sigmoid", "leakyrelu", "swish"]
Pooling = Literal["avg", "max", "none"]
Size = tuple[int, int]
"""Rows and columns of a feature map."""

GROUPS = 4  # of group norm, as in the DC repository


class BlockNetwork(Network):
    """A classifier made of blocks, a readout and one linear layer.

    Args:
        blocks: modules applied one after the other; each output is one entry of ``blocks``.
        readout: turns the last block's output into the embedding ``[B, D]``.
        embedding: D, the numbers per image that the classifier reads.
        classes: K, the number of classes.
    """

    def __init__(self, blocks: Sequence[nn.Module], readout: nn.Module, embedding: int, classes: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.readout = readout
        self.classifier = nn.Linear(embedding, classes)

    def forward(self, x: Tensor, output: Output = "logits") -> Tensor | tuple[Tensor, ...]:
        """Logits ``[B, K]``, embedding ``[B, D]``, block outputs or all layers of images ``[B, C, H, W]``."""
        require_choice("output", output, get_args(Output))
        before, maps = [], []
        for block in self.blocks:
            shown, x = _through(block, x)
            before.append(shown)
            maps.append(x)
        if output == "blocks":
            return tuple(maps)
        embedding = self.readout(x)
        if output == "layers":
            return (*before, x, embedding, self.classifier(embedding))
        return embedding if output == "embedding" else self.classifier(embedding)


def _through(block: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    """A block's map before its pooling, and its output; the same where it does not pool at its end."""
    if not isinstance(block, nn.Sequential):
        x = block(x)
        return x, x
    shown = x
    for name, layer in block.named_children():
        shown = x if name == "pool" else layer(x)
        x = layer(x) if name == "pool" else shown
    return shown, x


class InstanceNorm(nn.GroupNorm):
    """Group norm with one group per channel, for maps ``[B, channels, H, W]``.

    Written out where it is compiled, so that it fuses with its neighbours; the framework's kernel elsewhere.
    """

    def __init__(self, channels: int) -> None:
        super().__init__(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Each map of each image with mean 0 and variance 1, scaled and shifted."""
        if not torch.compiler.is_compiling():
            return super().forward(x)
        variance, mean = torch.var_mean(x, dim=(2, 3), correction=0, keepdim=True)
        scaled = (x - mean) * torch.rsqrt(variance + self.eps)
        return scaled * self.weight.view(-1, 1, 1) + self.bias.view(-1, 1, 1)


def make_norm(kind: str, channels: int, size: Size) -> nn.Module:
    """A normalization with affine weights, eps 1e-5, for maps ``[B, channels, *size]``.

    ``instance`` is group norm with one group per channel: unlike torch's instance norm it has affine weights
    and keeps no running statistics. ``group`` has 4 groups; ``layer`` normalizes over channels, rows and
    columns.

    Args:
        kind: one of `Norm`.
        channels: channels of the map.
        size: rows and columns of the map.
    """
    require_choice("norm", kind, get_args(Norm))
    if kind == "instance" and size == (1, 1):
        # Every number equals its own mean: the layer would output its bias whatever the image.
        raise InputError(
            "instance norm would erase the image, because a layer's map has shrunk to 1 x 1 pixel; "
            "use norm=batch, larger images or a shallower network"
        )
    if kind == "group" and channels % GROUPS:
        raise InputError(f"group norm needs a width divisible by {GROUPS}, not {channels}")
    if kind == "instance":
        return InstanceNorm(channels)
    if kind == "batch":
        return nn.BatchNorm2d(channels)
    if kind == "layer":
        return nn.LayerNorm([channels, *size])
    return nn.GroupNorm(GROUPS, channels) if kind == "group" else nn.Identity()


def make_activation(kind: str) -> nn.Module:
    """An activation that works out of place; ``leakyrelu`` has slope 0.01, ``swish`` is x * sigmoid(x).

    Args:
        kind: one of `Activation`.
    """
    require_choice("activation", kind, get_args(Activation))
    modules: dict[str, type[nn.Module]] = {
        "relu": nn.ReLU,
        "sigmoid": nn.Sigmoid,
        "leakyrelu": nn.LeakyReLU,
        "swish": nn.SiLU,
    }
    return modules[kind]()


def conv_block(
    inputs: int,
    outputs: int,
    size: Size,
    *,
    kernel: int = 3,
    padding: int = 1,
    norm: str = "none",
    activation: str = "relu",
    pooling: str = "none",
) -> tuple[nn.Sequential, Size]:
    """Convolution with bias -> norm -> activation -> 2x2 pooling of stride 2, and the size of its output.

    Args:
        inputs: channels of the input ``[B, inputs, *size]``.
        outputs: channels of the output.
        size: rows and columns of the input.
        kernel: side of the convolution's window.
        padding: zeros around the input.
        norm: one of `Norm`; with ``none`` the block has no such module.
        activation: one of `Activation`.
        pooling: one of `Pooling`; with ``none`` the block has no such module.
    """
    require_choice("pooling", pooling, get_args(Pooling))
    height, width = (side + 2 * padding - kernel + 1 for side in size)
    shrink = 1 if pooling == "none" else 2
    after = (height // shrink, width // shrink)
    if min(after) < 1:
        raise InputError(
            f"a layer's map has shrunk to {size[0]} x {size[1]} pixels, too small for its"
            f" {kernel} x {kernel} convolution and pooling; use larger images or a shallower network"
        )
    block = nn.Sequential()
    block.add_module("conv", nn.Conv2d(inputs, outputs, kernel, padding=padding))
    if norm != "none":
        block.add_module("norm", make_norm(norm, outputs, (height, width)))
    block.add_module("activation", make_activation(activation))
    if pooling != "none":
        block.add_module("pool", nn.AvgPool2d(2) if pooling == "avg" else nn.MaxPool2d(2))
    return block, after


def conv_norm(
    inputs: int, outputs: int, kernel: int = 1, *, stride: int = 1, groups: int = 1, activation: str = ""
) -> nn.Sequential:
    """Convolution without bias -> batch norm -> activation, padded so that a stride of 1 keeps the map's size.

    Args:
        inputs: channels of the input ``[B, inputs, H, W]``.
        outputs: channels of the output.
        kernel: side of the convolution's window, odd.
        stride: step of the window.
        groups: groups of channels that do not see one another; ``inputs`` for a depthwise convolution.
        activation: one of `Activation`; empty for none.
    """
    block = nn.Sequential()
    conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
    block.add_module("conv", conv)
    block.add_module("norm", nn.BatchNorm2d(outputs))
    if activation:
        block.add_module("activation", make_activation(activation))
    return block


class Unused(nn.Sequential):
    """Layers that count among the weights of a published network though no image passes them."""

    def forward(self, x: Tensor) -> Tensor:
        """``x`` as it is."""
        return x


def require_positive(**values: int) -> None:
    """Refuse counts below one, by name."""
    for name, value in values.items():
        if value < 1:
            raise InputError(f"{name} of a network must be at least 1, not {value}")


def require_choice(name: str, value: object, choices: Sequence[object]) -> None:
    """Refuse a value that is not among the choices, with the nearest one."""
    if value not in choices:
        raise unknown(name, str(value), map(str, choices))


class GlobalAverage(nn.Module):
    """Mean over rows and columns: ``[B, C, H, W]`` to ``[B, C]``."""

    def forward(self, x: Tensor) -> Tensor:
        """The mean of each channel of each image."""
        return torch.mean(x, dim=(2, 3))
