"""mixup: each image is blended with a partner, and the two labels share the loss alike.

Reference: Zhang et al., "mixup: Beyond Empirical Risk Minimization", ICLR 2018.
"""

from __future__ import annotations

from torch import Tensor

__all__ = ["mix"]


def mix(images: Tensor, partner: Tensor, share: float) -> Tensor:
    """``share * image + (1 - share) * partner``.

    Args:
        images: ``[B, C, H, W]``.
        partner: index of each image's partner, int64 ``[B]``.
        share: an image's own share, in [0, 1]; one number for the whole batch.
    """
    return share * images + (1 - share) * images.index_select(0, partner.to(images.device))
