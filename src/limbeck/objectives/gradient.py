"""Gradient matching: both sides should pull the network the same way (DC, DSA, IDC)."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from limbeck.core.batch import View
from limbeck.core.context import Context
from limbeck.core.contracts import Workload
from limbeck.core.errors import InputError
from limbeck.core.network import FunctionalNetwork, Weights, gradient_and_value
from limbeck.objectives.siamese import Pair, Siamese, keep_buffers
from limbeck.ops.gradient_distance import Metric, distance, selected
from limbeck.training.passes import as_convolved, padded, portions

__all__ = ["GradientMatching"]


@dataclass(frozen=True, kw_only=True)
class GradientMatching(Siamese):
    """Distance between the network's gradients on real and on synthetic images of one class.

    ``D(grad CE(real batch), grad CE(decoded synthetic images))`` over the selected weight tensors; the real side is
    a constant. IDC, equation 6 and its code: by default only convolution kernels take part.
    """

    references = ("zhao2021dc", "kim2022idc")

    metric: Literal["mse", "l1", "l1_mean", "cosine", "full_cosine"] = "mse"
    """Distance, summed over tensors: squared differences, absolute differences, row means of these, or 1 - cosine of
    each row (DC); ``full_cosine`` takes all tensors as one vector."""
    bias: bool = False
    """Whether one-dimensional tensors (biases, norm scales and shifts) take part."""
    classifier: bool = False
    """Whether two-dimensional tensors (the classifier's weight) take part."""

    def passes(self, context: Context, load: Workload) -> float:
        """A gradient of the real images, and one of a gradient of the synthetic ones."""
        synthetic = min(load.decoded, self.synthetic_batch or load.decoded)
        return context.spec.classes * load.iterations * load.steps * (3.0 * load.real + 7.0 * synthetic)

    def compare(self, view: View, pair: Pair) -> Tensor:
        """The distance of the two gradients."""
        matched, fixed = self._parted(view)
        towards, fixed = self._real_gradient(view, matched, fixed, pair)
        images, targets = pair.synthetic, pair.targets
        share = torch.full((len(images),), 1 / len(images), device=images.device, dtype=images.dtype)
        gradient, buffers = _gradient(
            view.network, matched, fixed, images, targets, share, train=view.train, again=True
        )
        keep_buffers(view, buffers)
        return distance(list(towards.values()), list(gradient.values()), self.metric)

    def pulls(self, view: View, pairs: list[Pair]) -> tuple[Tensor, list[Tensor]]:
        """Losses ``[K]`` and gradients in the synthetic images, as the execution settings say."""
        if view.network.execution.blocks != "loop" and len(pairs) > 1:
            return self._pulls_together(view, pairs)
        matched, fixed = self._parted(view)
        match = view.network.program(_match, train=view.train, metric=self.metric)
        losses, pulls = [], []
        for pair in pairs:
            towards, fixed = self._real_gradient(view, matched, fixed, pair)
            loss, pull, fixed = match(matched, fixed, as_convolved(pair.synthetic), pair.targets, towards)
            keep_buffers(view, fixed)
            losses.append(loss)
            pulls.append(pull)
        return torch.stack(losses), pulls

    def _pulls_together(self, view: View, pairs: list[Pair]) -> tuple[Tensor, list[Tensor]]:
        """The same with all classes in one pass: vectorized, or as one batch with gradients class by class."""
        network = view.network
        if view.train and network.mixes_images:
            raise InputError(
                f"--blocks {network.execution.blocks} would mix the classes in the batch norm of {network.name}; use "
                "--blocks loop."
            )
        matched, fixed = self._parted(view)
        size = max(len(pair.real) for pair in pairs)
        images = torch.stack([padded(pair.real, size) for pair in pairs])
        labels = torch.stack([padded(pair.labels, size) for pair in pairs])
        share = torch.stack(
            [padded(some.new_full((len(some),), 1 / len(some)), size) for some in (p.real for p in pairs)]
        )
        shown = torch.stack([pair.synthetic for pair in pairs])
        targets = torch.stack([pair.targets for pair in pairs])
        if network.execution.blocks == "vmap":
            gradients = network.program(_gradients_vectorized, train=view.train)
            match = network.program(_match_vectorized, train=view.train, metric=self.metric)
        else:
            gradients = functools.partial(_gradients_joined, network, train=view.train)
            match = functools.partial(_match_joined, network, train=view.train, metric=self.metric)
        total: Weights = {}
        width = network.execution.microbatch or size
        for first in range(0, size, width):
            part = slice(first, first + width)
            found = gradients(matched, fixed, images[:, part], labels[:, part], share[:, part])
            total = {name: total[name] + tensor if total else tensor for name, tensor in found.items()}
        losses, pulls = match(matched, fixed, shown, targets, total)
        return losses, list(pulls)

    def _real_gradient(self, view: View, matched: Weights, fixed: Weights, pair: Pair) -> tuple[Weights, Weights]:
        """Gradients of the mean cross-entropy of real images, a few at a time, and the weights that do not train."""
        network, total = view.network, None
        whole = view.train and network.mixes_images
        gradient = network.program(_gradient, train=view.train)
        for some, which, share in portions(network.execution, pair.real, pair.labels, whole=whole):
            found, fixed = gradient(matched, fixed, some, which, share)
            total = found if total is None else {name: total[name] + found[name] for name in total}
        if total is None:
            raise InputError("gradients cannot be matched without real images.")
        return total, fixed

    def _parted(self, view: View) -> tuple[Weights, Weights]:
        """Weights whose gradients are compared, and all others; constants both."""
        names = [
            name
            for name in view.network.parameter_names()
            if selected(view.weights[name].ndim, bias=self.bias, classifier=self.classifier)
        ]
        if not names:
            raise InputError(
                f"objective 'gradient_matching' finds no convolution in {view.network.name}; match its other weights "
                "with --objective.classifier, or choose another network."
            )
        weights = {name: as_convolved(tensor.detach()) for name, tensor in view.weights.items()}
        matched = {name: weights.pop(name) for name in names}
        return matched, weights


def _gradient(
    network: FunctionalNetwork,
    matched: Weights,
    fixed: Weights,
    images: Tensor,
    labels: Tensor,
    share: Tensor,
    *,
    train: bool,
    again: bool = False,
) -> tuple[Weights, Weights]:
    """Gradients of ``sum(share * cross-entropy)`` in the matched weights, and the fixed ones with newer buffers."""

    def loss(leaves: Weights) -> tuple[Tensor, Weights]:
        after = network.fresh_buffers(fixed) if train else fixed
        logits = network({**after, **leaves}, images, train=train)
        return (share * F.cross_entropy(logits, labels, reduction="none")).sum(), after

    gradient, _, after = gradient_and_value(
        loss, matched, functional=network.execution.functional, differentiable=again
    )
    return gradient, after


def _match(
    network: FunctionalNetwork,
    matched: Weights,
    fixed: Weights,
    images: Tensor,
    labels: Tensor,
    towards: Weights,
    *,
    train: bool,
    metric: Metric,
) -> tuple[Tensor, Tensor, Weights]:
    """The distance of the images' gradient from ``towards``, its gradient in the images, and the buffers."""
    share = images.new_full((len(images),), 1 / len(images))

    def apart(shown: Tensor) -> tuple[Tensor, Weights]:
        found, after = _gradient(network, matched, fixed, shown, labels, share, train=train, again=True)
        return distance(list(towards.values()), [found[name] for name in towards], metric), after

    pull, value, after = gradient_and_value(apart, images, functional=network.execution.functional)
    return value, pull, after


def _gradients_vectorized(
    network: FunctionalNetwork,
    matched: Weights,
    fixed: Weights,
    images: Tensor,
    labels: Tensor,
    share: Tensor,
    *,
    train: bool,
) -> Weights:
    """`_gradient` of K classes: images ``[K, B, C, H, W]``, labels and shares ``[K, B]``, gradients ``[K, ...]``."""

    def one(images: Tensor, labels: Tensor, share: Tensor) -> Weights:
        return _gradient(network, matched, fixed, images, labels, share, train=train)[0]

    return torch.func.vmap(one)(images, labels, share)


def _match_vectorized(
    network: FunctionalNetwork,
    matched: Weights,
    fixed: Weights,
    images: Tensor,
    labels: Tensor,
    towards: Weights,
    *,
    train: bool,
    metric: Metric,
) -> tuple[Tensor, Tensor]:
    """`_match` of K classes: losses ``[K]`` and gradients ``[K, m, C, H, W]``."""

    def one(images: Tensor, labels: Tensor, towards: Weights) -> tuple[Tensor, Tensor]:
        return _match(network, matched, fixed, images, labels, towards, train=train, metric=metric)[:2]

    return torch.func.vmap(one)(images, labels, towards)


def _gradients_joined(
    network: FunctionalNetwork,
    matched: Weights,
    fixed: Weights,
    images: Tensor,
    labels: Tensor,
    share: Tensor,
    *,
    train: bool,
    again: bool = False,
) -> Weights:
    """The same as `_gradients_vectorized`, by one forward pass of all images."""
    classes = len(images)

    def loss(leaves: Weights) -> tuple[Tensor, None]:
        logits = network({**fixed, **leaves}, images.flatten(0, 1), train=train)
        return (share.flatten() * F.cross_entropy(logits, labels.flatten(), reduction="none")).sum(), None

    leaves = {name: tensor.expand(classes, *tensor.shape) for name, tensor in matched.items()}
    return gradient_and_value(loss, leaves, functional=False, differentiable=again)[0]


def _match_joined(
    network: FunctionalNetwork,
    matched: Weights,
    fixed: Weights,
    images: Tensor,
    labels: Tensor,
    towards: Weights,
    *,
    train: bool,
    metric: Metric,
) -> tuple[Tensor, Tensor]:
    """The same as `_match_vectorized`, by one forward pass of all images."""
    share = torch.full(images.shape[:2], 1 / images.shape[1], device=images.device, dtype=images.dtype)

    def apart(shown: Tensor) -> tuple[Tensor, Tensor]:
        found = _gradients_joined(network, matched, fixed, shown, labels, share, train=train, again=True)
        losses = torch.stack(
            [
                distance([towards[name][label] for name in towards], [found[name][label] for name in towards], metric)
                for label in range(len(shown))
            ]
        )
        return losses.sum(), losses.detach()

    pulls, _, losses = gradient_and_value(apart, images, functional=False)
    return losses, pulls
