"""Networks trained on the real images before the run (coresets by features)."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field

from limbeck.core.batch import Moment, View
from limbeck.core.context import Context
from limbeck.core.contracts import Pool, State, SyntheticImages, Workload
from limbeck.core.errors import InputError
from limbeck.core.network import FunctionalNetwork, Weights
from limbeck.core.real import RealSet
from limbeck.core.streams import Streams
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
        self.training.check("pool 'pretrained'")
        if self.count < 1 or self.epochs < 0:
            raise InputError(f"pool 'pretrained' needs count >= 1 and epochs >= 0, not {self.count} and {self.epochs}.")

    def init(self, context: Context) -> State:
        """Train all networks, each an independent task of the run's executor."""
        context.say(f"training {self.count} network{'s' if self.count > 1 else ''} on real images")
        train = functools.partial(_train, self, context.data, context.network(self.network), context.streams)
        return {"networks": list(context.executor.map(train, range(self.count))), "current": 0}

    def passes(self, context: Context, load: Workload) -> float:
        """Training of all networks."""
        return 3.0 * self.count * self.epochs * len(context.data)

    def draw(self, state: State, context: Context, iteration: int) -> State:
        """One of the networks."""
        chosen = int(context.streams("pool", iteration).integers(0, self.count - 1))
        return {**state, "current": chosen}

    def view(self, state: State, context: Context) -> View:
        """The network that was drawn."""
        return View(context.network(self.network), state["networks"][state["current"]])

    def architecture(self, context: Context) -> FunctionalNetwork:
        """What its networks look like."""
        return context.network(self.network)

    def advance(self, state: State, context: Context, moment: Moment, synthetic: SyntheticImages) -> State:
        """Networks stay as they are."""
        return state


def _train(pool: Pretrained, data: RealSet, network: FunctionalNetwork, streams: Streams, number: int) -> Weights:
    """Network ``number`` of the pool. A pure function of its arguments."""
    weights = network.initial(streams("pretrained network", number))
    normalize = data.spec.normalization.apply
    for _ in fit(
        network,
        weights,
        lambda rows: normalize(data.images(rows)),
        data.labels.to(network.device),
        pool.training,
        Streams(streams("pretraining", number).seed),
        data.spec.shape,
        lambda epoch: pool.training.lr,
        pool.epochs * -(-len(data) // pool.training.batch_size),
    ):
        pass
    return {name: tensor.detach() for name, tensor in weights.items()}
