"""Labels that a teacher gives when a network is trained on the set."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from limbeck.core.contracts import Labeler

__all__ = ["Taught"]


@dataclass(frozen=True, kw_only=True)
class Taught(Labeler):
    """Each decoded image belongs to the class of its row, but is meant to be taught by the teacher of the pool.

    While images are learnt, targets are classes, as with hard labels. The soft labels belong to batches, augmented and
    mixed, and not to images; so they are made when a network is trained on the set, or stored for one protocol
    (`limbeck.relabel`), and are counted there. This part says in the set's description that it is meant to be used so.

    Yin, Xing and Shen, "Squeeze, recover and relabel", NeurIPS 2023.
    """

    references = ("yin2023sre2l",)

    def needs(self) -> frozenset[str]:
        """Somebody who teaches."""
        return frozenset({"teacher"})

    def targets(self, label: int, decoded: int) -> Tensor:
        """``label``, repeated."""
        return torch.full((decoded,), label)

    def in_words(self) -> str:
        """That labels are soft, and whose."""
        return (
            "soft: what the teacher of recipe.pool says of every batch as a network sees it (a protocol with soft "
            "labels, or labels stored for one); image [k, i] belongs to class k"
        )
