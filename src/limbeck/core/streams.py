"""Random numbers by key: each draw depends on its name and position alone, never on what was drawn before.

Swapping one part of a recipe therefore shifts nobody else's numbers, a resumed run continues exactly, and the
global generator of PyTorch is never read or moved.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Stream", "Streams"]


class Stream:
    """A private sequence of random numbers. All tensors come back on the CPU."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self._generator = torch.Generator().manual_seed(seed)

    def uniform(self, *shape: int) -> Tensor:
        """Numbers in [0, 1), float64, of the given shape."""
        return torch.rand(shape, generator=self._generator, dtype=torch.float64)

    def normal(self, *shape: int) -> Tensor:
        """Standard normal numbers, float64, of the given shape."""
        return torch.randn(shape, generator=self._generator, dtype=torch.float64)

    def integers(self, low: int, high: int, *shape: int) -> Tensor:
        """Integers from ``low`` to ``high``, both included, int64, of the given shape."""
        return torch.randint(low, high + 1, shape, generator=self._generator)

    def permutation(self, count: int) -> Tensor:
        """A random order of ``0 .. count - 1``, int64 ``[count]``."""
        return torch.randperm(count, generator=self._generator)

    def beta(self, alpha: float) -> float:
        """One number from the symmetric Beta(alpha, alpha) distribution."""
        if alpha == 1.0:
            return float(self.uniform())
        concentration = torch.full((2,), alpha, dtype=torch.float64)
        pair = torch._sample_dirichlet(concentration, generator=self._generator)
        return float(pair[0])


@dataclass(frozen=True)
class Streams:
    """The family of streams of one run: ``streams("augmentation", iteration, step, class)``.

    Args:
        seed: the seed of the run; equal seeds and keys give equal numbers on every machine.
    """

    seed: int

    def __call__(self, name: str, *keys: int) -> Stream:
        """The stream of this name and position.

        Args:
            name: what the numbers are for.
            *keys: where in the run they are used, for example iteration, step, class.
        """
        text = "/".join(map(str, (self.seed, name, *keys)))
        digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
        return Stream(int.from_bytes(digest, "little") >> 1)
