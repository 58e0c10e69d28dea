"""Recorded runs as data: streams that replay draws, and real sets that hold the recorded images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from limbeck.core.batch import View
from limbeck.core.context import Context
from limbeck.core.contracts import Initializer, Parametrization
from limbeck.core.network import FunctionalNetwork, Weights
from limbeck.core.real import DataSpec, Normalization, RealSet
from limbeck.core.streams import Stream, Streams

CIFAR10 = Normalization(mean=(0.4914, 0.4822, 0.4465), std=(0.2023, 0.1994, 0.2010), source="published")
NO_NORMALIZATION = Normalization((0.0,) * 3, (1.0,) * 3)


class Replay(Stream):
    """Gives the recorded values of one key in the order of the calls."""

    def __init__(self, values: list[Tensor], seed: int = 0) -> None:
        self.values = list(values)
        self.seed = seed

    def _next(self) -> Tensor:
        return self.values.pop(0)

    def uniform(self, *shape: int) -> Tensor:
        return self._next().to(torch.float64).reshape(shape)

    def integers(self, low: int, high: int, *shape: int) -> Tensor:
        drawn = self._next().to(torch.int64).reshape(shape)
        assert ((drawn >= low) & (drawn <= high)).all(), "a recorded draw lies outside the range that we draw from"
        return drawn

    def permutation(self, count: int) -> Tensor:
        order = self._next().to(torch.int64)
        assert order.numel() <= count
        return order

    def beta(self, alpha: float) -> float:
        return float(self._next())


class ReplayStreams(Streams):
    """Streams that replay what was recorded for a key, and draw freely for every other."""

    def __init__(self, recorded: dict[tuple[str | int, ...], list[Tensor]]) -> None:
        super().__init__(0)
        object.__setattr__(self, "recorded", recorded)

    def __call__(self, name: str, *keys: int) -> Stream:
        if (name, *keys) in self.recorded:  # type: ignore[attr-defined]
            # The seed carries the first key, so that a recorded network knows which life it begins.
            return Replay(self.recorded[name, *keys], keys[0] if keys else 0)  # type: ignore[attr-defined]
        return super().__call__(name, *keys)


class RecordedSet(RealSet):
    """Real images as the recorded run held them: bytes and labels."""

    def __init__(self, images: Tensor, labels: Tensor, normalization: Normalization = CIFAR10) -> None:
        self._images = images
        self._labels = labels
        classes = int(labels.max()) + 1
        names = tuple(str(label) for label in range(classes))
        self.spec = DataSpec("recorded", *images.shape[1:], names, normalization, "recorded")

    @property
    def labels(self) -> Tensor:
        return self._labels

    def class_rows(self, label: int) -> Tensor:
        return (self._labels == label).nonzero()[:, 0]

    def images(self, rows: Tensor | Sequence[int]) -> Tensor:
        return self._images[torch.as_tensor(rows)].double() / 255

    def to(self, device: torch.device, dtype: torch.dtype) -> RecordedSet:
        return self


class RecordedNetwork(FunctionalNetwork):
    """An architecture whose fresh weights are the recorded ones of each outer iteration."""

    def __init__(self, network: FunctionalNetwork, lives: list[Weights]) -> None:
        super().__init__(network.name, network._make)
        self._lives = lives

    def initial(self, stream: Stream) -> Weights:
        return {name: tensor.clone() for name, tensor in self._lives[stream.seed].items()}


@dataclass(frozen=True, kw_only=True)
class Given(Initializer):
    """Images that were recorded."""

    stored: Tensor
    """``[K, n, C, H, W]``."""

    def images(self, context: Context, parametrization: Parametrization, view: View | None) -> Tensor:
        return self.stored.clone()
