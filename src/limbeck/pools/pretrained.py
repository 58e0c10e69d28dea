"""Networks trained on the real images before the run (coresets by features)."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field

from limbeck.core.batch import Moment, View
from limbeck.core.context import Context
from limbeck.core.contracts import Pool, State, SyntheticImages
from limbeck.core.errors import InputError
from limbeck.core.network import Weights
from limbeck.training.supervised import Training, fit

__all__ = ["Pretrained"]


@dataclass(frozen=True, kw_only=True)
class Pretrained(Pool):
    """``count`` networks, each trained ``epochs`` epochs on the real images; outer iterations draw one at random."""

    network: str = "convnet3"
    """Architecture, as `limbeck list networks` shows."""
    training: Training = field(default_factory=Training)
    """How each network is trained."""
    epochs: int = 20
    """Epochs over the real images."""
    count: int = 1
    """Networks in the pool."""

    def check(self, context: Context) -> None:
        """The network exists and fits the images."""
        context.network(self.network)
        if self.count < 1 or self.epochs < 0 or self.training.batch_size < 1:
            raise InputError(
                "pool 'pretrained' needs count >= 1, epochs >= 0 and batch_size >= 1, not "
                f"{self.count}, {self.epochs} and {self.training.batch_size}."
            )

    def init(self, context: Context) -> State:
        """Train all networks, each an independent task of the run's executor."""
        context.say(f"training {self.count} network{'s' if self.count > 1 else ''} on real images")
        train = functools.partial(_train, self, context)
        return {"networks": list(context.executor.map(train, range(self.count))), "current": 0}

    def draw(self, state: State, context: Context, iteration: int) -> State:
        """One of the networks."""
        chosen = int(context.streams("pool", iteration).integers(0, self.count - 1))
        return {**state, "current": chosen}

    def view(self, state: State, context: Context) -> View:
        """The network that was drawn."""
        return View(context.network(self.network), state["networks"][state["current"]])

    def advance(self, state: State, context: Context, moment: Moment, synthetic: SyntheticImages) -> State:
        """Networks stay as they are."""
        return state


def _train(pool: Pretrained, context: Context, number: int) -> Weights:
    """Network ``number`` of the pool."""
    data, network = context.data, context.network(pool.network)
    weights = network.initial(context.streams("pretrained network", number))
    streams = type(context.streams)(context.streams("pretraining", number).seed)
    labels = data.labels.to(context.device)
    normalize = context.spec.normalization.apply
    batches = -(-len(data) // pool.training.batch_size)
    for _ in fit(
        network,
        weights,
        lambda rows: normalize(data.images(rows)),
        labels,
        pool.training,
        streams,
        context.spec.shape,
        lambda epoch: pool.training.lr,
        pool.epochs * batches,
    ):
        pass
    return {name: tensor.detach() for name, tensor in weights.items()}
