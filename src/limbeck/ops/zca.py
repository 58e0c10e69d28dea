"""ZCA whitening: mean and covariance of images that come in blocks, and the matrices that follow from them.

``W = U diag((S + eps) ** -1/2) U'`` with the covariance ``U S U'``. Krizhevsky, "Learning multiple layers of features
from tiny images" (2009), appendix A; with eps 0.1 as the code of MTT has it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from limbeck.core.whitening import Whitening, spectral_power

__all__ = ["Moments", "decompose", "matrices", "moments", "whitening"]

EPS = 0.1
"""What MTT's code adds to the variances: much against most of them, so that small ones are stretched, not whitened."""

_SHIFT = 128
_EXACT = 1024
"""Rows of bytes whose products, less 128, sum up to at most 2 ** 24, below which float32 knows every whole number."""
_ROWS = 4096


@dataclass(frozen=True)
class Moments:
    """Mean and covariance of images, flattened to D values.

    Args:
        count: number of images.
        mean: float64 ``[D]``.
        covariance: float64 ``[D, D]``, divided by ``count - 1``.
    """

    count: int
    mean: Tensor
    covariance: Tensor


def moments(blocks: Iterable[Tensor]) -> Moments:
    """Mean and unbiased covariance in float64; how the images are cut into blocks does not matter.

    Of bytes both are exact up to one last rounding: products of whole numbers are summed up without any, so not a bit
    depends on blocks, order, threads or device. Of floats it is float64 throughout, less the first image, which keeps
    digits that a large mean would cost.

    Args:
        blocks: ``[n, ...]``, at least two images in all: uint8, which counts as ``value / 255``, or floats.

    Raises:
        ValueError: fewer than two images.
    """
    count, total, products, shift = 0, torch.empty(0), torch.empty(0), torch.empty(0)
    exact = False
    for block in blocks:
        if len(block) == 0:
            continue
        rows = block.flatten(1)
        if not count:
            exact = block.dtype == torch.uint8
            shift = rows.new_tensor(_SHIFT).double() if exact else rows[0].double()
            total = torch.zeros(rows.shape[1], dtype=torch.float64, device=block.device)
            products = total.new_zeros(rows.shape[1], rows.shape[1])
        count += len(rows)
        for piece in rows.split(_EXACT if exact else _ROWS):
            centred = piece.double() - shift
            total += centred.sum(dim=0)
            part = centred.float() if exact else centred
            products += part.T @ part
    if count < 2:
        raise ValueError("a covariance needs two or more images")
    covariance = (count * products - torch.outer(total, total)) / (float(count) * (count - 1))
    scale = 255.0 if exact else 1.0
    return Moments(count, (total / count + shift) / scale, covariance / scale**2)


def decompose(covariance: Tensor) -> tuple[Tensor, Tensor]:
    """Eigenvalues ``[D]`` from the smallest on, none below 0, and eigenvectors as columns ``[D, D]``.

    Args:
        covariance: symmetric ``[D, D]``; where images are fewer than values, some eigenvalues are 0 but for rounding.
    """
    variances, basis = torch.linalg.eigh(covariance)
    return variances.clamp(min=0), basis


def matrices(variances: Tensor, basis: Tensor, eps: float = EPS) -> tuple[Tensor, Tensor]:
    """W, which whitens, and its inverse, ``[D, D]`` each.

    Args:
        variances: what `decompose` gave, like the next.
        basis: the eigenvectors.
        eps: added to each variance.
    """
    return spectral_power(basis, variances, eps, -0.5), spectral_power(basis, variances, eps, 0.5)


def whitening(found: Moments, eps: float = EPS) -> Whitening:
    """The whitening of images with these moments, rounded to float32.

    Args:
        found: mean and covariance of training images in [0, 1].
        eps: added to each variance.
    """
    variances, basis = decompose(found.covariance)
    basis, variances, mean = (tensor.cpu().float().contiguous() for tensor in (basis, variances, found.mean))
    return Whitening(basis, variances, mean, eps)
