"""Feature alignment layer by layer, and centres that tell the classes apart (CAFE)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from limbeck.core.batch import View
from limbeck.core.context import Context
from limbeck.core.contracts import Workload
from limbeck.core.errors import InputError
from limbeck.core.network import FunctionalNetwork, Weights, gradient_and_value
from limbeck.objectives.siamese import Pair, Siamese
from limbeck.training.passes import as_convolved, portions

__all__ = ["LayerAlignment"]


@dataclass(frozen=True, kw_only=True)
class LayerAlignment(Siamese):
    """Squared distances between class means in every layer, and a discrimination loss on the synthetic centres.

    ``sum over layers of w A(f) + A(embedding) + discrimination * sum CE(<embedding of a real image, centres>)``, where
    A is the squared distance of the class means summed over a layer's numbers, the layers are the map of each block
    before its pooling and the last map after it, and a centre is the mean embedding of a class's synthetic images. The
    paper adds the network's own cross-entropy on the real images, which is constant to the synthetic ones and left
    out. Wang et al., "CAFE: learning to condense dataset by aligning features", CVPR 2022, equations 3 to 8, with the
    weights of the code.
    """

    references = ("wang2022cafe",)

    synthetic_batch: int = 0
    """Most decoded images of a class compared at once; a fresh random subset when there are more. 0: always all."""
    early: float = 0.1
    """Weight of the first ``early_layers`` layers."""
    early_layers: int = 2
    """How many layers count as early."""
    late: float = 1.0
    """Weight of the other layers."""
    discrimination: float = 0.01
    """Weight of the discrimination loss, which is summed over all real images."""

    def check(self, context: Context) -> None:
        """The weights are usable."""
        super().check(context)
        if min(self.early, self.late, self.discrimination) < 0 or self.early_layers < 0:
            raise InputError(
                "objective 'layer_alignment' needs early, late, discrimination and early_layers of 0 or more, not "
                f"{self.early}, {self.late}, {self.discrimination} and {self.early_layers}."
            )

    def passes(self, context: Context, load: Workload) -> float:
        """A forward pass of the real images, one and a gradient of the synthetic ones."""
        synthetic = min(load.decoded, self.synthetic_batch or load.decoded)
        return context.spec.classes * load.iterations * load.steps * (load.real + 4.0 * synthetic)

    def joins_classes(self, network: FunctionalNetwork) -> bool:
        """The centres of all classes are told apart."""
        return True

    def compare(self, view: View, pair: Pair) -> Tensor:
        """The loss of a class that stands alone, where there is nothing to tell apart."""
        fixed = self._fixed(view)
        means, _ = _real(view, fixed, pair)
        nothing, weights = torch.zeros_like(means[-1]), self._weights(means)
        return _aligned(view.network, fixed, pair.synthetic, means, nothing, view.train, weights)[0]

    def pulls(self, view: View, pairs: list[Pair]) -> tuple[Tensor, list[Tensor]]:
        """Losses ``[K]`` and gradients in the synthetic images, class by class."""
        fixed = self._fixed(view)
        real = [_real(view, fixed, pair) for pair in pairs]
        weights = self._weights(real[0][0])
        centre = view.network.program(_centre, train=view.train)
        centres = torch.stack([centre(fixed, as_convolved(pair.synthetic)) for pair in pairs])
        told, towards = self._discriminated(centres, real, pairs)
        match = view.network.program(_match, train=view.train, weights=weights)
        losses, pulls = [], []
        for position, (pair, (means, _)) in enumerate(zip(pairs, real, strict=True)):
            loss, pull = match(fixed, as_convolved(pair.synthetic), means, towards[position])
            losses.append(loss + told[position])
            pulls.append(pull)
        return torch.stack(losses), pulls

    def _fixed(self, view: View) -> Weights:
        if view.train and view.network.mixes_images:
            raise InputError(
                f"objective 'layer_alignment' looks at one class at a time, which the batch norm of "
                f"{view.network.name} would make depend on the class; choose a network with another norm "
                "(--pool.network convnet3)."
            )
        return {name: as_convolved(tensor.detach()) for name, tensor in view.weights.items()}

    def _weights(self, means: tuple[Tensor, ...]) -> tuple[float, ...]:
        """The weight of each layer; the embedding, which is the last, has weight 1."""
        layers = range(len(means) - 1)
        return (*(self.early if layer < self.early_layers else self.late for layer in layers), 1.0)

    def _discriminated(
        self, centres: Tensor, real: list[tuple[tuple[Tensor, ...], Tensor]], pairs: list[Pair]
    ) -> tuple[list[Tensor], Tensor]:
        """The discrimination loss of each class, and the gradient of their sum in the centres ``[K, D]``."""
        with torch.enable_grad():
            leaf = centres.detach().requires_grad_()
            losses = []
            for position, (pair, (_, embeddings)) in enumerate(zip(pairs, real, strict=True)):
                own = torch.full_like(pair.labels, position)
                losses.append(self.discrimination * F.cross_entropy(embeddings @ leaf.T, own, reduction="sum"))
            (gradient,) = torch.autograd.grad(torch.stack(losses).sum(), leaf)
        return [loss.detach() for loss in losses], gradient


def _real(view: View, fixed: Weights, pair: Pair) -> tuple[tuple[Tensor, ...], Tensor]:
    """Means of all layers but the logits, and embeddings ``[B, D]``, of the real images."""
    see, sums, embeddings = view.network.program(_seen, train=view.train), None, []
    for images, share in portions(view.network.execution, pair.real):
        means, embedding = see(fixed, images, share)
        sums = means if sums is None else tuple(a + b for a, b in zip(sums, means, strict=True))
        embeddings.append(embedding)
    if sums is None:
        raise InputError("layers cannot be aligned without real images.")
    return sums, torch.cat(embeddings)[: len(pair.real)]


@torch.no_grad()
def _seen(
    network: FunctionalNetwork, fixed: Weights, images: Tensor, share: Tensor, *, train: bool
) -> tuple[tuple[Tensor, ...], Tensor]:
    """Weighted sums of all layers but the logits, and embeddings."""
    *layers, embedding, _ = network(fixed, images, "layers", train=train)
    sums = tuple(torch.einsum("b,b...->...", share, layer) for layer in (*layers, embedding))
    return sums, embedding


@torch.no_grad()
def _centre(network: FunctionalNetwork, fixed: Weights, images: Tensor, *, train: bool) -> Tensor:
    """Mean embedding ``[D]``."""
    return network(fixed, images, "embedding", train=train).mean(dim=0)


def _aligned(
    network: FunctionalNetwork,
    fixed: Weights,
    images: Tensor,
    means: tuple[Tensor, ...],
    pull: Tensor,
    train: bool,
    weights: tuple[float, ...],
) -> tuple[Tensor, Tensor]:
    """The weighted distances of a class, and with them ``<pull, centre>``, whose gradient is the discrimination's."""
    *layers, _ = network(fixed, images, "layers", train=train)
    found = [layer.mean(dim=0) for layer in layers]
    pairs = zip(weights, means, found, strict=True)
    loss = sum((weight * (real - own).square().sum() for weight, real, own in pairs), torch.zeros_like(pull[0]))
    return loss, loss + (pull * found[-1]).sum()


def _match(
    network: FunctionalNetwork,
    fixed: Weights,
    images: Tensor,
    means: tuple[Tensor, ...],
    pull: Tensor,
    *,
    train: bool,
    weights: tuple[float, ...],
) -> tuple[Tensor, Tensor]:
    """The weighted distances of a class, and the gradient of its part of the whole loss in the synthetic images."""

    def apart(shown: Tensor) -> tuple[Tensor, Tensor]:
        loss, whole = _aligned(network, fixed, shown, means, pull, train, weights)
        return whole, loss.detach()

    gradient, _, loss = gradient_and_value(apart, images, functional=network.execution.functional)
    return loss, gradient
