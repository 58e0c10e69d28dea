"""How strongly single images pull at the weights of a network."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from limbeck.core.batch import View
from limbeck.core.network import Weights

__all__ = ["gradient_norms"]

_NUMBERS = 2**24
"""Numbers of gradients that are in memory at once, as far as one image has not more: 64 MiB in float32."""


def gradient_norms(view: View, images: Tensor, labels: Tensor) -> Tensor:
    """Euclidean norm of the gradient of each image's cross-entropy in all parameters, ``[N]``.

    The network is in evaluation mode, where no image sees another, and nothing of it is changed.

    Args:
        view: the network.
        images: ``[N, C, H, W]`` in normalized space.
        labels: int64 ``[N]``.
    """
    network, names = view.network, set(view.network.parameter_names())
    trained = {name: tensor.detach() for name, tensor in view.weights.items() if name in names}
    fixed = {name: tensor for name, tensor in view.weights.items() if name not in names}

    def loss(leaves: Weights, image: Tensor, label: Tensor) -> Tensor:
        logits = network({**fixed, **leaves}, image.unsqueeze(0), train=False)
        assert isinstance(logits, Tensor)
        return F.cross_entropy(logits, label.unsqueeze(0))

    each = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0, 0))
    size = max(1, _NUMBERS // max(1, sum(tensor.numel() for tensor in trained.values())))
    pieces = []
    for some, which in zip(images.split(size), labels.to(images.device).split(size), strict=True):
        found = each(trained, some, which)
        pieces.append(torch.stack([tensor.flatten(1).square().sum(dim=1) for tensor in found.values()]).sum(dim=0))
    return torch.cat(pieces).sqrt()
