"""Distribution matching in a kernel's space, which sees more than means (M3D)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from limbeck.objectives.embedding import EmbeddingDistance
from limbeck.ops.kernels import Kernel, mmd

__all__ = ["KernelMMD"]


@dataclass(frozen=True, kw_only=True)
class KernelMMD(EmbeddingDistance):
    """Maximum mean discrepancy of the embeddings of real and decoded images.

    Zhang et al., "M3D: Dataset condensation by minimizing maximum mean discrepancy", AAAI 2024, section 3; kernels as
    in the authors' code, see `limbeck.ops.kernels.mmd`. ``linear`` is DM.
    """

    references = ("zhang2024m3d",)

    kernel: Kernel = "gaussian"
    """``gaussian`` (five bandwidths around the mean squared distance), ``linear``, ``polynomial`` (degree 2) or
    ``laplace`` (three fixed bandwidths)."""

    def distance(self, real: Tensor, share: Tensor, synthetic: Tensor, beside: dict[str, Tensor]) -> Tensor:
        """The discrepancy."""
        return mmd(synthetic, real, self.kernel, share)
