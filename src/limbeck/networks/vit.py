"""The DeiT family of vision transformers, with layer norm or, as in appendix A.2.3 of DWA, with batch norm.

Sources: Touvron et al., "Training data-efficient image transformers & distillation through attention" (2021); Du et
al., "Diversity-driven synthesis: enhancing dataset distillation through directed weight adjustment" (DWA, NeurIPS
2024).
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from limbeck.core.errors import InputError
from limbeck.networks.blocks import BlockNetwork, require_choice, require_positive
from limbeck.networks.token_norm import TokenBatchNorm

__all__ = ["VisionTransformer"]

HEAD = 64
"""Channels of an attention head in all sizes of the family."""
FEED_FORWARD = 4
"""Width of the feed-forward block, in multiples of the tokens'."""
SMALL_SIDE = 64
"""Up to this many pixels an image is cut into small patches."""


class VisionTransformer(BlockNetwork):
    """Patches and a class token through equal attention blocks; the classifier reads the class token.

    ``blocks`` holds the tokens ``[B, 1 + patches, width]`` after the embedding and after each block. There are no
    random masks. Linear layers, class token and positions start from N(0, 0.02^2), truncated; biases from 0.

    With ``norm="batch"`` every layer norm is a batch norm over images and tokens, and each feed-forward block has one
    more between its first linear layer and its activation.

    Args:
        shape: ``(C, H, W)`` of one image; rows and columns are divisible by ``patch``.
        classes: number of classes.
        width: numbers per token, 64 per attention head: 192 is DeiT-Tiny, 384 Small, 768 Base.
        depth: number of blocks.
        patch: side of a patch in pixels; 0 takes 4 for images up to 64 pixels and 16 above.
        norm: normalization.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        classes: int,
        *,
        width: int = 192,
        depth: int = 12,
        patch: int = 0,
        norm: Literal["layer", "batch"] = "layer",
    ) -> None:
        require_choice("norm", norm, ("layer", "batch"))
        require_positive(width=width, depth=depth)
        if width % HEAD:
            raise InputError(f"width of a vision transformer must be divisible by {HEAD}, not {width}")
        patch = patch or (4 if max(shape[1:]) <= SMALL_SIDE else 16)
        if shape[1] % patch or shape[2] % patch:
            raise InputError(
                f"images of {shape[1]} x {shape[2]} pixels cannot be cut into patches of {patch} x {patch}; use an "
                "option patch that divides both sides"
            )
        blocks = [Patches(shape, width, patch), *(AttentionBlock(width, norm) for _ in range(depth))]
        super().__init__(blocks, ClassToken(width, norm), width, classes)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)


class Patches(nn.Module):
    """Images ``[B, C, H, W]`` to tokens ``[B, 1 + patches, width]``: class token, patches, and where they stand.

    Args:
        shape: ``(C, H, W)`` of one image.
        width: numbers per token.
        patch: side of a patch.
    """

    def __init__(self, shape: tuple[int, int, int], width: int, patch: int) -> None:
        super().__init__()
        count = (shape[1] // patch) * (shape[2] // patch)
        self.conv = nn.Conv2d(shape[0], width, patch, patch)
        self.token = nn.Parameter(torch.empty(1, 1, width))
        self.position = nn.Parameter(torch.empty(1, 1 + count, width))
        nn.init.trunc_normal_(self.token, std=0.02)
        nn.init.trunc_normal_(self.position, std=0.02)

    def forward(self, x: Tensor) -> Tensor:
        """The tokens of each image."""
        patches = self.conv(x).flatten(2).transpose(1, 2)
        return torch.cat([self.token.expand(len(x), -1, -1), patches], dim=1) + self.position


class AttentionBlock(nn.Module):
    """Attention and a feed-forward block, each behind a norm and added to its input; keeps ``[B, N, width]``.

    Args:
        width: numbers per token.
        norm: ``layer`` or ``batch``.
    """

    def __init__(self, width: int, norm: str) -> None:
        super().__init__()
        self.norm1 = _norm(width, norm)
        self.attention = Attention(width)
        self.norm2 = _norm(width, norm)
        self.feed = nn.Sequential()
        self.feed.add_module("up", nn.Linear(width, FEED_FORWARD * width))
        if norm == "batch":
            self.feed.add_module("norm", TokenBatchNorm(FEED_FORWARD * width))
        self.feed.add_module("activation", nn.GELU())
        self.feed.add_module("down", nn.Linear(FEED_FORWARD * width, width))

    def forward(self, x: Tensor) -> Tensor:
        """The tokens after the block."""
        x = x + self.attention(self.norm1(x))
        return x + self.feed(self.norm2(x))


class Attention(nn.Module):
    """Self-attention in heads of 64 channels; keeps ``[B, N, width]``.

    Args:
        width: numbers per token.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.inputs = nn.Linear(width, 3 * width)
        self.output = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """What each token gathers from all of them."""
        # [B, N, 3, heads, 64] to three of [B, heads, N, 64].
        query, key, value = self.inputs(x).unflatten(2, (3, -1, HEAD)).permute(2, 0, 3, 1, 4).unbind(0)
        # Written out, because the framework's fused attention cannot be differentiated twice.
        weights = torch.softmax(query @ key.transpose(-1, -2) * HEAD**-0.5, dim=-1)
        return self.output((weights @ value).transpose(1, 2).flatten(2))


class ClassToken(nn.Module):
    """The normalized class token, ``[B, N, width]`` to ``[B, width]``.

    Args:
        width: numbers per token.
        norm: ``layer`` or ``batch``.
    """

    def __init__(self, width: int, norm: str) -> None:
        super().__init__()
        self.norm = _norm(width, norm)

    def forward(self, x: Tensor) -> Tensor:
        """The first token."""
        return self.norm(x)[:, 0]


def _norm(width: int, kind: str) -> nn.Module:
    return TokenBatchNorm(width) if kind == "batch" else nn.LayerNorm(width, eps=1e-6)
