"""Batch norm for tokens, and transformers in which it takes the place of layer norm.

Source: Yao et al., "Leveraging batch normalization for vision transformers" (2021), as used by SRe2L and by DWA
(appendix A.2.3) to recover images from a DeiT.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from limbeck.core.errors import InputError

__all__ = ["TokenBatchNorm", "use_batch_norm"]


class TokenBatchNorm(nn.Module):
    """Batch norm over all axes but the last, for tokens ``[B, N, C]`` or maps ``[B, H, W, C]``.

    The norm inside it sees ``[B * N, C]``, so that every batch norm of a network has its channels on axis 1.

    Args:
        channels: C.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Each channel with mean 0 and variance 1 over the batch, scaled and shifted; ``x``'s shape."""
        return self.norm(x.flatten(0, -2)).reshape(x.shape)


def use_batch_norm(body: nn.Module, model: str) -> None:
    """Replace every layer norm of a torchvision transformer, and add one batch norm to each feed-forward block.

    The added one stands between the first linear layer and the activation.

    Args:
        body: the model, changed in place.
        model: torchvision's name of it.

    Raises:
        InputError: it has other norms than layer norm over the last axis, or no feed-forward blocks.
    """
    from torchvision.ops import MLP

    norms = {name: part for name, part in body.named_modules() if isinstance(part, nn.LayerNorm)}
    blocks = [part for part in body.modules() if isinstance(part, MLP)]
    plain = all(type(part) is nn.LayerNorm and len(part.normalized_shape) == 1 for part in norms.values())
    if not norms or not blocks or not plain or any(isinstance(part, _BatchNorm) for part in body.modules()):
        raise InputError(
            f"norm=batch exists for torchvision's ViT and Swin models only, not for '{model}'; leave it out"
        )
    for name, part in norms.items():
        body.set_submodule(name, TokenBatchNorm(part.normalized_shape[0]))
    for block in blocks:
        block.insert(1, TokenBatchNorm(block[0].out_features))
