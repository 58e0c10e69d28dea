"""How far the slope of a network in its input is from a wished length (AST, equation 1; after WGAN-GP)."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["penalties"]


def penalties(slopes: Tensor, target: float, *, channelwise: bool, one_sided: bool) -> Tensor:
    """``(||slope|| - target)²`` of each image; a slope of exactly zero adds no gradient.

    Args:
        slopes: gradients in the images, ``[B, C, H, W]``.
        target: wished length K.
        channelwise: a norm at each pixel, over its channels, and the mean over pixels (the authors' code), instead of
            one norm over the image (the paper).
        one_sided: whether only slopes that are longer count.

    Returns:
        One number per image, ``[B]``.
    """
    if channelwise:
        gaps = torch.linalg.vector_norm(slopes, dim=1).flatten(1) - target
    else:
        gaps = torch.linalg.vector_norm(slopes.flatten(1), dim=1, keepdim=True) - target
    return (gaps.clamp_min(0) if one_sided else gaps).square().mean(dim=1)
