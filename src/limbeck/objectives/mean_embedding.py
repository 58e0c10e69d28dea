"""Distribution matching by means: both sides should have the same mean embedding (DM)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from limbeck.objectives.embedding import EmbeddingDistance

__all__ = ["MeanEmbedding"]


@dataclass(frozen=True, kw_only=True)
class MeanEmbedding(EmbeddingDistance):
    """Squared distance between the mean embeddings of real and decoded images, summed over their D numbers.

    Zhao and Bilen, "Dataset condensation with distribution matching", WACV 2023, equation 6.
    """

    references = ("zhao2023dm",)

    def distance(self, real: Tensor, share: Tensor, synthetic: Tensor, beside: dict[str, Tensor]) -> Tensor:
        """``|| mean real - mean synthetic ||^2``."""
        return (share @ real - synthetic.mean(dim=0)).square().sum()
