"""A picture of a distilled set: one row per class."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from limbeck.core.distilled import Distilled

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["contact_sheet", "picture"]


def contact_sheet(distilled: Distilled, classes: int = 20, per_class: int = 20, scale: int | None = None) -> Image:
    """Stored images in a grid, classes down, images across.

    Args:
        distilled: the set.
        classes: most rows.
        per_class: most columns.
        scale: screen pixels per stored pixel; by default so that an image is at least 48 pixels high.
    """
    stored = distilled.stored[:classes, :per_class].detach().cpu()
    if distilled.parametrization.space == "normalized":
        stored = distilled.spec.normalization.invert(stored)
    return picture(stored, scale, sound=distilled.spec.sound is not None)


def picture(images: Tensor, scale: int | None = None, gap: int = 2, sound: bool = False) -> Image:
    """A grid of images ``[rows, columns, C, H, W]`` in [0, 1] (values outside are clamped).

    One channel is shown grey, three as RGB, any other number as the mean over channels.

    Args:
        images: the images.
        scale: screen pixels per pixel; by default so that an image is at least 48 pixels high.
        gap: pixels between images.
        sound: whether the images are spectrograms: the lowest frequency is drawn at the bottom, loudness in colours
            that look equally far apart to the eye ("magma").
    """
    from PIL import Image as pillow
    from torchvision.utils import make_grid

    _, columns, channels, height, _ = images.shape
    if channels not in (1, 3):
        images = images.mean(dim=2, keepdim=True)
    if sound:
        images = _coloured(images.flip(-2))
    scale = scale or max(1, -(-48 // height))
    large = images.flatten(0, 1).float().clamp(0, 1)
    large = large.repeat_interleave(scale, dim=2).repeat_interleave(scale, dim=3)
    grid = make_grid(large, nrow=columns, padding=gap, pad_value=1.0)
    return pillow.fromarray((grid * 255).round().to(torch.uint8).permute(1, 2, 0).contiguous().numpy())


def _coloured(images: Tensor) -> Tensor:
    """Loudness ``[..., 1, H, W]`` as colours ``[..., 3, H, W]``."""
    from matplotlib import colormaps

    table = torch.tensor(colormaps["magma"](range(256))[:, :3], dtype=torch.float32)
    levels = (images.float().clamp(0, 1) * 255).round().long().squeeze(-3)
    return table[levels].movedim(-1, -3)
