"""How far the images of a set move between states of a run, as one random network sees them (DREAM, Fig. 4a)."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

import torch
from torch import Tensor

from limbeck.core.distilled import Distilled
from limbeck.core.streams import Streams
from limbeck.networks import build
from limbeck.training.passes import forward

__all__ = ["NETWORK", "migration"]

NETWORK = "convnet3"
"""Architecture of the random network."""
_CHUNK = 256
"""Images per forward pass."""


@torch.no_grad()
def migration(sets: Iterable[Distilled], *, seed: int = 0, device: torch.device | None = None) -> list[float]:
    """Euclidean distance between the embeddings of an image in one state and in the next, the mean over all images.

    The network has fresh weights, which depend on the seed and the shape of the data alone, so that runs on the same
    data can be compared; its embedding is the last feature map, flattened.

    Args:
        sets: states of one run, in order; two are in memory at once.
        seed: seed of the network.
        device: where to compute; the CPU by default.

    Returns:
        One mean for each pair of neighbours.
    """
    seen = (_embedded(distilled, seed, device or torch.device("cpu")) for distilled in sets)
    return [float((after - before).norm(dim=1).mean()) for before, after in itertools.pairwise(seen)]


def _embedded(distilled: Distilled, seed: int, device: torch.device) -> Tensor:
    """Embeddings of all decoded images, float64 ``[N, D]``."""
    spec = distilled.spec
    network = build(NETWORK, spec).to(device, torch.float32)
    weights = network.initial(Streams(seed)("network of migration"))
    images = spec.normalization.apply(distilled.decoded()[0].detach().to(device, torch.float32))
    return torch.cat([forward(network, weights, some, "embedding") for some in images.split(_CHUNK)]).double()
