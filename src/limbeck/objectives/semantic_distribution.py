"""Prototypes, covariances and the prototypes of before: DSDM."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from limbeck.core.batch import Moment, View
from limbeck.core.context import Context
from limbeck.core.contracts import Peers, State, Workload
from limbeck.core.errors import InputError
from limbeck.objectives.embedding import EmbeddingDistance
from limbeck.objectives.siamese import Pair
from limbeck.ops.covariance import covariance_distance
from limbeck.training.passes import forward

__all__ = ["SemanticDistribution"]


@dataclass(frozen=True, kw_only=True)
class SemanticDistribution(EmbeddingDistance):
    """``L_p + covariance * L_cov + history * L_h`` of one class, over embeddings of D numbers.

    L_p is the squared distance of the mean embeddings (the prototypes), L_cov the squared Frobenius distance of the
    covariances divided by D, and L_h the squared distance between the synthetic prototype and its running mean over
    earlier networks. Li et al., "Diversified semantic distribution matching for dataset distillation", ACM MM 2024,
    equations 4 to 9. Where paper and code differ the defaults are the code's.
    """

    references = ("li2024dsdm",)

    synthetic_batch: int = 256
    """Most decoded images of a class compared at once; a fresh random subset when there are more. 0: always all."""
    covariance: float = 50.0
    """Weight of L_cov; lambda1."""
    history: float = 0.2
    """Weight of L_h; lambda2."""
    momentum: float = 0.99
    """Share of the running mean that stays at each step; alpha."""
    divisor: Literal["n-1", "n"] = "n-1"
    """Divisor of covariances: N - 1 (code) or N (paper). With one image on either side N - 1 leaves L_cov out."""
    history_scale: Literal["code", "paper"] = "code"
    """``code`` divides L_h by D, which makes it very small; ``paper`` does not."""
    history_after: int = 2000
    """L_h is used in steps after this one, counted from 0 (code); -1 uses it from the first on (paper)."""
    history_start: Literal["mean", "zero"] = "mean"
    """The running mean begins with the first prototypes (code), or with 0, which pulls towards it (paper)."""

    def check(self, context: Context) -> None:
        """Weights and momentum are usable."""
        super().check(context)
        if not (self.covariance >= 0 and self.history >= 0 and 0 <= self.momentum <= 1):
            raise InputError(
                "objective 'semantic_distribution' needs covariance >= 0, history >= 0 and 0 <= momentum <= 1, not "
                f"{self.covariance}, {self.history} and {self.momentum}."
            )

    def init(self, context: Context) -> State:
        """No prototypes yet."""
        return {"steps": 0}

    def passes(self, context: Context, load: Workload) -> float:
        """What embeddings cost, and the prototypes after each step."""
        again = load.decoded * context.spec.classes * load.iterations * load.steps if self.history else 0.0
        return super().passes(context, load) + again

    def active(self, pair: Pair) -> SemanticDistribution:
        """Without L_cov where it is not defined; without L_h before its time, or with nothing remembered yet."""
        memory = pair.memory
        known = "history" in memory or self.history_start == "zero"
        history = self.history if known and memory.get("steps", 0) > self.history_after else 0.0
        defined = self.divisor == "n" or min(len(pair.real), len(pair.synthetic)) > 1
        return replace(self, history=history, covariance=self.covariance if defined else 0.0)

    def beside(self, view: View, pair: Pair) -> dict[str, Tensor]:
        """The remembered prototype of the class, 0 at first."""
        if not self.active(pair).history:
            return {}
        if "history" not in pair.memory:
            return {"history": pair.real.new_zeros(())}
        return {"history": pair.memory["history"][pair.label]}

    def distance(self, real: Tensor, share: Tensor, synthetic: Tensor, beside: dict[str, Tensor]) -> Tensor:
        """The weighted terms."""
        prototype, size = synthetic.mean(dim=0), real.shape[1]
        total = (share @ real - prototype).square().sum()
        if self.covariance:
            unbiased = self.divisor == "n-1"
            apart = covariance_distance(real, synthetic, unbiased=unbiased, share=share)
            total = total + self.covariance / size * apart
        if self.history:
            weight = self.history / (size if self.history_scale == "code" else 1)
            total = total + weight * (prototype - beside["history"]).square().sum()
        return total

    @torch.no_grad()
    def advance(
        self, state: State, context: Context, moment: Moment, view: View, stored: Tensor, peers: Peers
    ) -> State:
        """Prototypes of the updated images, newly augmented, enter the running mean."""
        if not self.history:
            return state
        found = torch.stack(
            [self._prototype(context, moment, view, label, some, peers) for label, some in enumerate(stored)]
        )
        if "history" in state:
            found = self.momentum * state["history"] + (1 - self.momentum) * found
        elif self.history_start == "zero":
            found = (1 - self.momentum) * found
        return {"steps": state["steps"] + 1, "history": found}

    def _prototype(
        self, context: Context, moment: Moment, view: View, label: int, stored: Tensor, peers: Peers
    ) -> Tensor:
        """Mean embedding of the decoded images of a class, ``[D]``."""
        images = peers.normalize(peers.parametrization.decode(stored), peers.parametrization.space)
        if context.company is not None:
            images = torch.cat([images, context.company.images[label]])
        if peers.augmentation is not None:
            stream = context.streams("history augmentation", moment.iteration, moment.step, label)
            images = peers.augmentation.apply(images, peers.augmentation.draw(stream, context.spec.shape, None))
        if view.train and view.network.mixes_images:
            weights = view.network.fresh_buffers(view.weights)
            return view.network(weights, images, "embedding", train=True).mean(dim=0)
        return forward(view.network, view.weights, images, "embedding", train=view.train).mean(dim=0)
