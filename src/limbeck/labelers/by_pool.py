"""Soft labels that the pool's networks give to the finished images (TESLA)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from limbeck.core.batch import View
from limbeck.core.context import Context
from limbeck.core.contracts import Labeler
from limbeck.core.errors import InputError, RunError

__all__ = ["ByPool"]


@dataclass(frozen=True, kw_only=True)
class ByPool(Labeler):
    """Each finished image carries the mean of what the pool's labelling networks say of it, as probabilities.

    TESLA teaches soft labels, which its code gives anew in each iteration by the network that the trajectory leads to;
    a set is then used with those that the last iteration happened to leave. The rule here says what a finished set
    carries: softmax of the logits on the decoded images as they are, neither augmented nor mixed, mean over all
    labelling networks (`Pool.judges`: all networks of ``pretrained``, all experts at the last epoch that is matched).
    While images are learnt, targets are classes, unless the objective gives labels of its own.

    Cui, Wang, Si and Hsieh, "Scaling up dataset distillation to ImageNet-1K with constant memory", ICML 2023, with
    another rule for the final labels.
    """

    batch: int = 256
    """Images that a network looks at at once."""

    def needs(self) -> frozenset[str]:
        """Networks that know the real data."""
        return frozenset({"labelling networks"})

    def check(self, context: Context) -> None:
        """Somebody looks at at least one image at once."""
        if self.batch < 1:
            raise InputError(f"labeler 'by_pool' needs a batch of at least 1, not {self.batch}.")

    def targets(self, label: int, decoded: int) -> Tensor:
        """``label``, repeated."""
        return torch.full((decoded,), label)

    @torch.no_grad()
    def soft(self, views: Iterable[View], images: Tensor) -> Tensor | None:
        """Mean over the networks, in evaluation mode, of their softmax, float32 ``[N, classes]``."""
        total, count = None, 0
        for view in views:
            said = [
                view.network(view.weights, some, train=False).softmax(dim=1, dtype=torch.float64).cpu()
                for some in images.split(self.batch)
            ]
            total = torch.cat(said) if total is None else total + torch.cat(said)
            count += 1
        if total is None:
            raise RunError("labeler 'by_pool' was given no network that could label the images.")
        return (total / count).float()

    def in_words(self) -> str:
        """How they were made."""
        return (
            "soft: mean over the labelling networks of recipe.pool of the softmax of their logits on decoded image "
            "[k, i] of class k, in evaluation mode, neither augmented nor mixed"
        )
