"""What a network makes of real images, in bounded memory."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from limbeck.core.batch import View
from limbeck.core.real import RealSet
from limbeck.training.passes import forward

__all__ = ["embed"]


@torch.no_grad()
def embed(
    view: View,
    data: RealSet,
    rows: Tensor,
    normalize: bool = True,
    chunk: int = 256,
    features: Literal["embedding", "logits"] = "embedding",
) -> Tensor:
    """Embeddings of real images without augmentation, batch norm on its running statistics.

    Args:
        view: the network.
        data: the real images.
        rows: which of them, int64 ``[N]``.
        normalize: whether the network sees normalized images, as it was trained, or raw ones in [0, 1] (the code of
            DREAM).
        chunk: images per forward pass; bounds memory and changes nothing else.
        features: what the classifier reads, or what it says (the code of AST).

    Returns:
        ``[N, D]``; for logits D is the number of classes.
    """
    pieces = []
    for some in rows.split(chunk):
        images = data.images(some)
        if normalize:
            images = data.spec.normalization.apply(images)
        pieces.append(forward(view.network, view.weights, images, features))
    return torch.cat(pieces)
