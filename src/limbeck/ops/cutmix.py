"""CutMix: a rectangle of each image is replaced by that of a partner, and the two labels share the loss.

References: Yun et al., "CutMix: Regularization Strategy to Train Strong Classifiers with Localizable
Features", ICCV 2019; the box arithmetic is that of IDC (Kim et al., ICML 2022).
"""

from __future__ import annotations

import math

from torch import Tensor

__all__ = ["Box", "box", "mix", "ratio"]

Box = tuple[int, int, int, int]
"""Rows ``r1:r2`` and columns ``k1:k2``, as ``(r1, r2, k1, k2)``."""


def box(lam: float, centre_row: int, centre_col: int, height: int, width: int) -> Box:
    """The rectangle that is replaced, of area about ``1 - lam`` before it is clipped to the image.

    Args:
        lam: a draw from Beta(1, 1), in [0, 1].
        centre_row: a uniform integer of [0, height - 1].
        centre_col: a uniform integer of [0, width - 1].
        height: rows of the images.
        width: columns of the images.
    """
    side = math.sqrt(1.0 - lam)
    half_rows, half_cols = int(height * side) // 2, int(width * side) // 2
    return (
        max(centre_row - half_rows, 0),
        min(centre_row + half_rows, height),
        max(centre_col - half_cols, 0),
        min(centre_col + half_cols, width),
    )


def mix(images: Tensor, partner: Tensor, box: Box) -> Tensor:
    """Images whose pixels inside the box come from their partners.

    Args:
        images: ``[B, C, H, W]``.
        partner: index of each image's partner, int64 ``[B]``.
        box: from `box`.
    """
    r1, r2, k1, k2 = box
    mixed = images.clone()
    mixed[:, :, r1:r2, k1:k2] = images[:, :, r1:r2, k1:k2].index_select(0, partner.to(images.device))
    return mixed


def ratio(box: Box, height: int, width: int) -> float:
    """Share of the loss that belongs to an image's own label: one minus the box's share of the area."""
    r1, r2, k1, k2 = box
    return 1.0 - (r2 - r1) * (k2 - k1) / (height * width)
