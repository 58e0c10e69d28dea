"""Layers whose weights may carry a leading class axis: one pass over all classes, gradients class by class.

With weights ``[K, ...]`` a batch ``[K * B, ...]`` holds B images of each of K classes, one class after the other. The
weights of the classes are equal in value, so that forward and input gradient are those of one large batch; only the
gradient in the weights is taken class by class.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.grad import conv2d_input, conv2d_weight

from limbeck.core.errors import InputError

__all__ = ["accept_class_axis"]


def accept_class_axis(module: nn.Module) -> None:
    """Let all layers of a module take weights with a class axis.

    Raises:
        InputError: a layer with weights is of another kind than convolution, linear and the usual norms.
    """
    for part in module.modules():
        if type(part) in _KINDS:
            part.__class__ = _KINDS[type(part)]
        elif isinstance(part, nn.GroupNorm):
            part.__class__ = _GroupNorm
        elif any(True for _ in part.parameters(recurse=False)):
            raise InputError(
                f"--blocks concat knows no per-class gradients of a layer {type(part).__name__}; use --blocks loop."
            )


class _Conv2d(nn.Conv2d):
    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if weight.ndim == 4:
            found = super()._conv_forward(input, weight, None)
        else:
            if self.padding_mode != "zeros" or isinstance(self.padding, str):
                raise InputError("--blocks concat needs convolutions padded with a number of zeros; use --blocks loop.")
            found = _Convolution.apply(input, weight, self.stride, self.padding, self.dilation, self.groups)
        return found if bias is None else _shift(found, bias)


class _Linear(nn.Linear):
    def forward(self, input: Tensor) -> Tensor:
        if self.weight.ndim == 2:
            found = F.linear(input, self.weight)
        else:
            split = input.unflatten(0, (len(self.weight), -1))
            found = torch.matmul(split, self.weight.transpose(-1, -2)).flatten(0, 1)
        return _shift(found, self.bias) if self.bias is not None else found


class _GroupNorm(nn.GroupNorm):
    def forward(self, input: Tensor) -> Tensor:
        return _affine(F.group_norm(input, self.num_groups, eps=self.eps), self.weight, self.bias, 1)


class _LayerNorm(nn.LayerNorm):
    def forward(self, input: Tensor) -> Tensor:
        shape = list(self.normalized_shape)
        return _affine(F.layer_norm(input, shape, eps=self.eps), self.weight, self.bias, len(shape))


class _BatchNorm2d(nn.BatchNorm2d):
    def forward(self, input: Tensor) -> Tensor:
        if self.training:
            raise InputError("--blocks concat would mix the classes in batch norm; use --blocks loop.")
        found = F.batch_norm(input, self.running_mean, self.running_var, eps=self.eps)
        return _affine(found, self.weight, self.bias, 1)


_KINDS: dict[type[nn.Module], Any] = {
    nn.Conv2d: _Conv2d,
    nn.Linear: _Linear,
    nn.LayerNorm: _LayerNorm,
    nn.BatchNorm2d: _BatchNorm2d,
}


class _Convolution(torch.autograd.Function):
    """A convolution with weights ``[K, out, in, h, w]`` that are equal in value."""

    @staticmethod
    def forward(
        context: Any, input: Tensor, weight: Tensor, stride: Any, padding: Any, dilation: Any, groups: int
    ) -> Tensor:
        context.save_for_backward(input, weight)
        context.options = (stride, padding, dilation, groups)
        return F.conv2d(input, weight[0], None, stride, padding, dilation, groups)

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (above,) = gradients
        input, weight = context.saved_tensors
        classes, shape = len(weight), weight.shape[1:]
        below = own = None
        if context.needs_input_grad[0]:
            below = conv2d_input(input.shape, weight[0], above, *context.options)
        if context.needs_input_grad[1]:
            pairs = zip(input.chunk(classes), above.chunk(classes), strict=True)
            own = torch.stack([conv2d_weight(x, shape, g, *context.options) for x, g in pairs])
        return below, own, None, None, None, None


def _shift(x: Tensor, bias: Tensor) -> Tensor:
    """``x`` ``[K * B, C, ...]`` plus a bias ``[C]`` or ``[K, C]``."""
    if bias.ndim == 1:
        return x + bias.view(-1, *[1] * (x.ndim - 2))
    split = x.unflatten(0, (len(bias), -1))
    return (split + bias.view(len(bias), 1, -1, *[1] * (x.ndim - 2))).flatten(0, 1)


def _affine(x: Tensor, scale: Tensor | None, shift: Tensor | None, axes: int) -> Tensor:
    """``x`` ``[K * B, C, ...]`` scaled and shifted by weights of ``axes`` axes, or of one more, the classes."""
    for weight, operation in ((scale, torch.mul), (shift, torch.add)):
        if weight is None:
            continue
        if axes == 1:
            weight = weight.view(*weight.shape, *[1] * (x.ndim - 2))
        if weight.ndim == x.ndim - 1:
            x = operation(x, weight)
        else:
            x = operation(x.unflatten(0, (len(weight), -1)), weight.unsqueeze(1)).flatten(0, 1)
    return x
