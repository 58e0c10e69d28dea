"""What experts of a segment begin with, and which real images they learn (DASM's experts of its own)."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from limbeck.core.focus import Focus
from limbeck.core.network import FunctionalNetwork, Weights
from limbeck.core.streams import Streams
from limbeck.storage.weights import checksum
from limbeck.training.lessons import Focused
from limbeck.training.settings import Training

__all__ = ["Beginning"]


@dataclass(frozen=True)
class Beginning:
    """Networks that experts go on from, and the real images that they are trained on.

    Args:
        networks: weights, taken in turn; without any, experts begin fresh.
        focus: what batches are made of.
    """

    networks: tuple[Weights, ...]
    focus: Focus

    def initial(self, network: FunctionalNetwork, streams: Streams, number: int) -> Weights:
        """A copy of the weights that an expert begins with.

        Args:
            network: the architecture.
            streams: of all experts.
            number: which expert, from 0.
        """
        if not self.networks:
            return network.initial(streams("expert", number))
        return {name: tensor.clone() for name, tensor in self.networks[number % len(self.networks)].items()}

    def lessons(self, streams: Streams, training: Training, shape: tuple[int, int, int]) -> Focused:
        """The batches of one expert.

        Args:
            streams: of its training.
            training: how it is trained.
            shape: ``(C, H, W)``.
        """
        return Focused(streams, training, shape, self.focus)

    @property
    def digest(self) -> str:
        """A hash of all of it: 32 hexadecimal digits."""
        focus = self.focus
        rows = {f"{kind}/{label}": some for kind in ("pool", "rest") for label, some in enumerate(getattr(focus, kind))}
        known = {f"{place}/{name}": one for place, each in enumerate(self.networks) for name, one in each.items()}
        return checksum({**known, **rows, "mixing": torch.tensor(focus.mixing, dtype=torch.float64)})
