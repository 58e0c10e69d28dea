"""Changes of colour of images in [0, 1], with their random parameters as arguments.

Nothing is clamped: a distilled image may leave [0, 1], and so may a brightened one.

References: Krizhevsky, Sutskever and Hinton, "ImageNet classification with deep convolutional neural networks", NeurIPS
2012 (lighting); Howard, "Some improvements on deep convolutional neural network based image classification", 2013.
"""

from __future__ import annotations

from torch import Tensor

__all__ = ["grey", "jitter", "lighting"]

_LUMA = (0.299, 0.587, 0.114)
_VARIANCES = (0.2175, 0.0188, 0.0045)
_DIRECTIONS = ((-0.5675, 0.7192, 0.4009), (-0.5808, -0.0045, -0.8140), (-0.5836, -0.6948, 0.4203))
"""Eigenvalues of the colours of ImageNet's pixels, and their eigenvectors, one per column."""


def grey(x: Tensor) -> Tensor:
    """Brightness of each pixel, ``0.299 R + 0.587 G + 0.114 B``: ``[B, 3, H, W]`` to ``[B, 1, H, W]``."""
    return (x * x.new_tensor(_LUMA).view(3, 1, 1)).sum(dim=1, keepdim=True)


def jitter(x: Tensor, factors: Tensor) -> Tensor:
    """Brightness, contrast and saturation of each image by factors of its own.

    With its factor f, each makes ``f x + (1 - f) base``: for brightness the base is black, for contrast the mean grey
    of the image, for saturation the grey of each pixel. All three are linear, and contrast and saturation leave the
    mean grey as it is, so that the random order in which they are usually applied makes no difference without clamping.

    Args:
        x: images ``[B, 3, H, W]``.
        factors: of brightness, contrast and saturation, ``[B, 3]`` or ``[3]``.
    """
    brightness, contrast, saturation = factors.to(x).reshape(-1, 3, 1, 1, 1).unbind(1)
    shades = grey(x)
    mean = shades.mean(dim=(2, 3), keepdim=True)
    saturated = shades + saturation * (x - shades)
    return brightness * (mean + contrast * (saturated - mean))


def lighting(x: Tensor, alphas: Tensor) -> Tensor:
    """Add to all pixels of an image the sum over the principal colours i of ImageNet of ``alpha_i lambda_i p_i``.

    Args:
        x: images ``[B, 3, H, W]``.
        alphas: one number per principal colour, ``[B, 3]`` or ``[3]``.
    """
    shift = (alphas.to(x).reshape(-1, 3) * x.new_tensor(_VARIANCES)) @ x.new_tensor(_DIRECTIONS).T
    return x + shift.view(-1, 3, 1, 1)
