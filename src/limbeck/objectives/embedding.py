"""What objectives share that compare the embeddings of both sides (DM, IDM, M3D, DSDM)."""

from __future__ import annotations

import abc
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from limbeck.core.batch import View
from limbeck.core.context import Context
from limbeck.core.contracts import Workload
from limbeck.core.network import FunctionalNetwork, Weights, gradient_and_value
from limbeck.objectives.siamese import Pair, Siamese, keep_buffers
from limbeck.training.passes import as_convolved, forward, padded

__all__ = ["EmbeddingDistance"]


@dataclass(frozen=True, kw_only=True)
class EmbeddingDistance(Siamese):
    """A distance between two sets of embeddings: what the network's classifier reads of real and decoded images.

    A network with batch norm in training mode sees the real images of all classes in one batch and the decoded images
    of all classes in another (the code of DM); otherwise each class is compared by itself.
    """

    synthetic_batch: int = 0
    """Most decoded images of a class compared at once; a fresh random subset when there are more. 0: always all."""

    reads_logits: ClassVar[bool] = False
    """Whether `distance` finds ``logits`` and ``targets`` of the decoded images among what stands beside them."""

    def passes(self, context: Context, load: Workload) -> float:
        """A forward pass of the real images, a gradient of the synthetic ones."""
        synthetic = min(load.decoded, self.synthetic_batch or load.decoded)
        return context.spec.classes * load.iterations * load.steps * (load.real + 3.0 * synthetic)

    def joins_classes(self, network: FunctionalNetwork) -> bool:
        """Whether images of all classes share the statistics of batch norm."""
        return network.mixes_images

    @abc.abstractmethod
    def distance(self, real: Tensor, share: Tensor, synthetic: Tensor, beside: dict[str, Tensor]) -> Tensor:
        """How far the two sets of one class are apart, a scalar.

        Args:
            real: embeddings ``[B, D]``.
            share: of each real image in the means ``[B]``: equal ones, and 0 for rows that only fill up a shape.
            synthetic: embeddings ``[m, D]``.
            beside: what `beside` gave, and with ``reads_logits`` also ``logits`` ``[m, classes]`` and ``targets``
                ``[m]``.
        """

    def beside(self, view: View, pair: Pair) -> dict[str, Tensor]:
        """What `distance` needs of a class beside the embeddings."""
        return {}

    def active(self, pair: Pair) -> EmbeddingDistance:
        """This objective, without terms that play no part in this step."""
        return self

    def compare(self, view: View, pair: Pair) -> Tensor:
        """The distance for one class, whose images share a batch with no other class."""
        fixed = {name: tensor.detach() for name, tensor in view.weights.items()}
        real = _embed(view, fixed, pair.real)
        beside = self.beside(view, pair)
        value, fixed = _distance(
            view.network, fixed, pair.synthetic, pair.targets, *_shared(real), beside, view.train, self.active(pair)
        )
        keep_buffers(view, fixed)
        return value

    def pulls(self, view: View, pairs: list[Pair]) -> tuple[Tensor, list[Tensor]]:
        """Losses ``[K]`` and gradients in the synthetic images, class by class."""
        fixed = {name: as_convolved(tensor.detach()) for name, tensor in view.weights.items()}
        if view.train and view.network.mixes_images:
            return self._pulls_together(view, fixed, pairs)
        losses, pulls = [], []
        for pair in pairs:
            match = view.network.program(_match, train=view.train, objective=self.active(pair))
            real = forward(view.network, fixed, pair.real, "embedding", train=view.train)
            # Classes smaller than a batch come in many sizes, for which programs would be compiled one by one.
            rows = max(32, 1 << (len(real) - 1).bit_length()) if view.network.execution.compile else len(real)
            images, shared = as_convolved(pair.synthetic), _shared(real, rows)
            loss, pull = match(fixed, images, pair.targets, *shared, self.beside(view, pair))
            losses.append(loss)
            pulls.append(pull)
        return torch.stack(losses), pulls

    def _pulls_together(self, view: View, fixed: Weights, pairs: list[Pair]) -> tuple[Tensor, list[Tensor]]:
        """The same with all classes in one batch of each side."""
        match = view.network.program(
            _match_together,
            objective=self.active(pairs[0]),
            real=tuple(len(pair.real) for pair in pairs),
            shown=tuple(len(pair.synthetic) for pair in pairs),
        )
        losses, pull, fixed = match(
            fixed,
            as_convolved(torch.cat([pair.real for pair in pairs])),
            as_convolved(torch.cat([pair.synthetic for pair in pairs])),
            torch.cat([pair.targets for pair in pairs]),
            [self.beside(view, pair) for pair in pairs],
        )
        keep_buffers(view, fixed)
        return losses, list(pull.split([len(pair.synthetic) for pair in pairs]))


@torch.no_grad()
def _embed(view: View, fixed: Weights, images: Tensor) -> Tensor:
    """Embeddings ``[B, D]``, a few images at a time unless they see one another."""
    if view.train and view.network.mixes_images:
        after = view.network.fresh_buffers(fixed)
        embeddings = view.network(after, images, "embedding", train=True)
        keep_buffers(view, after)
        fixed.update({name: after[name] for name in view.network.buffer_names()})
        return embeddings
    return forward(view.network, fixed, images, "embedding", train=view.train)


def _shared(real: Tensor, rows: int = 0) -> tuple[Tensor, Tensor]:
    """Embeddings ``[B, D]`` filled up to at least so many rows, and the share of each in their mean."""
    return padded(real, rows), padded(real.new_full((len(real),), 1 / len(real)), rows)


def _distance(
    network: FunctionalNetwork,
    fixed: Weights,
    images: Tensor,
    targets: Tensor,
    real: Tensor,
    share: Tensor,
    beside: dict[str, Tensor],
    train: bool,
    objective: EmbeddingDistance,
) -> tuple[Tensor, Weights]:
    """The distance of one class, and the weights with newer buffers."""
    after = network.fresh_buffers(fixed) if train else fixed
    if not objective.reads_logits:
        return objective.distance(real, share, network(after, images, "embedding", train=train), beside), after
    *_, embedding, logits = network(after, images, "layers", train=train)
    return objective.distance(real, share, embedding, {**beside, "logits": logits, "targets": targets}), after


def _match(
    network: FunctionalNetwork,
    fixed: Weights,
    images: Tensor,
    targets: Tensor,
    real: Tensor,
    share: Tensor,
    beside: dict[str, Tensor],
    *,
    train: bool,
    objective: EmbeddingDistance,
) -> tuple[Tensor, Tensor]:
    """The distance of one class, and its gradient in the synthetic images."""

    def apart(shown: Tensor) -> tuple[Tensor, tuple[()]]:
        return _distance(network, fixed, shown, targets, real, share, beside, train, objective)[0], ()

    pull, value, _ = gradient_and_value(apart, images, functional=network.execution.functional)
    return value, pull


def _match_together(
    network: FunctionalNetwork,
    fixed: Weights,
    images: Tensor,
    synthetic: Tensor,
    targets: Tensor,
    beside: list[dict[str, Tensor]],
    *,
    objective: EmbeddingDistance,
    real: tuple[int, ...],
    shown: tuple[int, ...],
) -> tuple[Tensor, Tensor, Weights]:
    """Distances of all classes ``[K]``, the gradient of their sum in the synthetic images, and the buffers.

    Args:
        network: an architecture with batch norm, which is run in training mode.
        fixed: its weights.
        images: real images of all classes, one after the other.
        synthetic: decoded images likewise.
        targets: of the decoded images.
        beside: what stands beside the embeddings, class by class.
        objective: compares embeddings.
        real: real images of each class.
        shown: decoded images of each class.
    """
    between = network.fresh_buffers(fixed)
    with torch.no_grad():
        wanted: Any = network(between, images, "embedding", train=True).split(real)

    def apart(leaf: Tensor) -> tuple[Tensor, tuple[Tensor, Weights]]:
        after = network.fresh_buffers(between)
        *_, embedding, logits = network(after, leaf, "layers", train=True)
        losses = []
        rows = zip(wanted, embedding.split(shown), logits.split(shown), targets.split(shown), beside, strict=True)
        for one, other, said, taught, more in rows:
            more = {**more, "logits": said, "targets": taught} if objective.reads_logits else more
            losses.append(objective.distance(*_shared(one), other, more))
        every = torch.stack(losses)
        return every.sum(), (every.detach(), after)

    pull, _, (losses, after) = gradient_and_value(apart, synthetic, functional=network.execution.functional)
    return losses, pull, after
