"""A supervised step that also says how many images of its batch the network got right."""

from __future__ import annotations

import functools

import torch
import torch.nn.functional as F
from torch import Tensor

from limbeck.core.errors import InputError
from limbeck.core.network import FunctionalNetwork, Weights, gradient_and_value
from limbeck.training.passes import as_convolved, portions
from limbeck.training.supervised import BatchDraws, Training

__all__ = ["counted_step"]


def counted_step(
    network: FunctionalNetwork,
    weights: Weights,
    velocity: Weights,
    images: Tensor,
    labels: Tensor,
    training: Training,
    draws: BatchDraws,
) -> Tensor:
    """One SGD step on one batch, as `supervised_step` takes it, which counts in the same forward pass.

    Args:
        network: the architecture.
        weights: its parameters and buffers; they change in place.
        velocity: momentum of the parameters, by name; it changes in place.
        images: ``[B, C, H, W]`` in normalized space.
        labels: int64 ``[B]``.
        training: how to train, without CutMix.
        draws: the batch's random numbers.

    Returns:
        Images whose largest logit was their label's before the step, a scalar of the images' dtype.

    Raises:
        InputError: images were to be cut and mixed, which leaves none to count.
    """
    if draws.mix is not None:
        raise InputError("images that are cut and mixed cannot be counted; set cutmix of this training to 0.")
    if training.augmentation is not None:
        images = training.augmentation.apply(images, draws.augmentation)
    names = list(velocity)
    leaves = [weights[name] for name in names]
    trained = dict(zip(names, map(as_convolved, leaves), strict=True))
    fixed = {name: tensor for name, tensor in weights.items() if name not in velocity}
    gradient, parts, counts = network.program(_gradient), [], []
    for some, which, share in portions(network.execution, images, labels, whole=network.mixes_images):
        found, right, fixed = gradient(trained, fixed, some, which, share)
        parts.append(found)
        counts.append(right)
    gradients = [functools.reduce(torch.add, [part[name] for part in parts]) for name in names]
    buffers = [velocity[name] for name in names]
    with torch.no_grad():
        for name in network.buffer_names():
            weights[name].copy_(fixed[name])
        torch._foreach_add_(gradients, leaves, alpha=training.weight_decay)
        torch._foreach_mul_(buffers, training.momentum)
        torch._foreach_add_(buffers, gradients)
        torch._foreach_add_(leaves, buffers, alpha=-training.lr)
    return functools.reduce(torch.add, counts)


def _gradient(
    network: FunctionalNetwork, trained: Weights, fixed: Weights, images: Tensor, labels: Tensor, share: Tensor
) -> tuple[Weights, Tensor, Weights]:
    """Gradient of ``sum(share * CE)``, images of a share above 0 that are right, and the new buffers."""

    def loss(leaves: Weights) -> tuple[Tensor, tuple[Tensor, Weights]]:
        after = network.fresh_buffers(fixed)
        logits = network({**after, **leaves}, images)
        chances = F.log_softmax(logits, dim=1).gather(1, labels.unsqueeze(1)).squeeze(1)
        right = (logits.detach().argmax(dim=1) == labels) & (share > 0)
        return -(share * chances).sum(), (right.sum().to(images.dtype), after)

    found, _, (right, after) = gradient_and_value(loss, trained, functional=network.execution.functional)
    return found, right, after
