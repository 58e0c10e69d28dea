"""A picture of a distilled set: one row per class."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from limbeck.core.distilled import Distilled

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["contact_sheet", "picture", "shown", "shown_range"]

_BEYOND = 0.1
"""How far values may leave [0, 1] before black and white are moved."""
_TAIL = 0.005
"""Share of the values at each end that black and white may cut off."""


def contact_sheet(distilled: Distilled, classes: int = 20, per_class: int = 20, scale: int | None = None) -> Image:
    """Stored images in a grid, classes down, images across.

    Args:
        distilled: the set.
        classes: most rows.
        per_class: most columns.
        scale: screen pixels per stored pixel; by default so that an image is at least 48 pixels high.
    """
    stored = distilled.stored[:classes, :per_class]
    return picture(shown(distilled, stored, shown_range(distilled)), scale, sound=distilled.spec.sound is not None)


def shown_range(distilled: Distilled) -> tuple[float, float]:
    """Values that are drawn black and white: 0 and 1, farther apart where the images go well beyond.

    Nothing holds images in [0, 1] that are learnt in normalized space. Drawn as they are, most of a set that was learnt
    with large steps, or whitened, would be plain black and white.

    Returns:
        Low and high, the same for all images of the set; 0.5 % of the values, at most, lie beyond each.
    """
    if distilled.parametrization.space != "normalized" or distilled.spec.sound is not None:
        return 0.0, 1.0
    values = shown(distilled, distilled.stored[:20, :20], (0.0, 1.0)).float().flatten()
    values = values[:: -(-len(values) // 1_000_000)]
    least, most = values.quantile(torch.tensor([_TAIL, 1 - _TAIL])).tolist()
    return (least if least < -_BEYOND else 0.0, most if most > 1 + _BEYOND else 1.0)


def shown(distilled: Distilled, stored: Tensor, values: tuple[float, float]) -> Tensor:
    """Stored images of a set as they are drawn, on the CPU.

    Args:
        distilled: the set.
        stored: some of its images, ``[..., C, H, W]``.
        values: of `shown_range`; they become 0 and 1.
    """
    images = distilled.values(stored.detach().cpu())
    if distilled.parametrization.space == "normalized":
        images = distilled.spec.normalization.invert(images)
    low, high = values
    return images if (low, high) == (0.0, 1.0) else (images - low) / (high - low)


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
