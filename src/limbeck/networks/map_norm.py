"""Other norms in the place of batch norm, in models whose code is not ours."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.func import functional_call

from limbeck.core.errors import InputError
from limbeck.networks.blocks import Size, make_norm

__all__ = ["MapNorm", "replace_batch_norm"]

MapNorm = Literal["instance", "layer", "group", "none"]
"""What may stand where a model has batch norm over maps."""


def replace_batch_norm(body: nn.Module, kind: MapNorm, shape: tuple[int, int, int], model: str) -> None:
    """Put another norm, as our own networks have it, where images pass a batch norm over maps.

    What a library fused with its norm, as timm does activations, stays behind it.

    Args:
        body: the model, changed in place.
        kind: see `limbeck.networks.blocks.make_norm`.
        shape: ``(C, H, W)`` of one image; layer norm is made for the maps of images of this size.
        model: what errors call it.

    Raises:
        InputError: it has no batch norm over maps, or a map or its channels do not suit the norm.
    """
    found = {name: part for name, part in body.named_modules() if isinstance(part, nn.BatchNorm2d)}
    if not found:
        raise InputError(f"norm={kind} takes the place of batch norm over maps, and '{model}' has none; leave it out")
    sizes = _sizes(body, found, shape)
    for name, part in found.items():
        if name not in sizes:
            continue
        norm = make_norm(kind, part.num_features, sizes[name])
        behind = [
            getattr(part, fused) for fused in ("drop", "act") if isinstance(getattr(part, fused, None), nn.Module)
        ]
        body.set_submodule(name, nn.Sequential(norm, *behind) if behind else norm)


def _sizes(body: nn.Module, norms: dict[str, nn.BatchNorm2d], shape: tuple[int, int, int]) -> dict[str, Size]:
    """Rows and columns of what each norm reads, found with an image that has a shape and no pixels."""
    sizes: dict[str, Size] = {}

    def remember(name: str) -> None:
        def hook(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            sizes[name] = (inputs[0].shape[2], inputs[0].shape[3])

        handles.append(norms[name].register_forward_pre_hook(hook))

    handles: list[torch.utils.hooks.RemovableHandle] = []
    training = body.training
    try:
        for name in norms:
            remember(name)
        tensors = (*body.named_parameters(), *body.named_buffers())
        shaped = {key: tensor.detach().to("meta") for key, tensor in tensors}
        functional_call(body.eval(), shaped, (torch.empty(1, *shape, device="meta"),))
    finally:
        body.train(training)
        for handle in handles:
            handle.remove()
    return sizes
