"""Networks trained on the real images before the run (coresets by features)."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import torch

from limbeck.core.batch import Moment, View
from limbeck.core.context import Context
from limbeck.core.contracts import Pool, State, SyntheticImages, Workload
from limbeck.core.errors import InputError
from limbeck.core.executor import Executor, InProcess
from limbeck.core.network import FunctionalNetwork, Weights
from limbeck.core.real import RealSet
from limbeck.core.streams import Streams
from limbeck.data import Data
from limbeck.networks import build
from limbeck.storage.weights import SUFFIX, write_weights
from limbeck.training.supervised import Training, fit

__all__ = ["Pretrained", "pretrain"]


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
        if self.training.augmentation is not None:
            self.training.augmentation.fits(context.spec)

    def init(self, context: Context) -> State:
        """Train all networks, each an independent task of the run's executor."""
        return {"networks": list(_networks(self, context)), "current": 0}

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


def pretrain(
    pool: Pretrained,
    data: Data,
    folder: str | Path,
    *,
    seed: int = 0,
    device: torch.device | None = None,
    executor: Executor | None = None,
) -> list[Path]:
    """Train the networks of a pool and save each in a file, for pools that start from saved ones.

    Called again with other epochs or another seed it adds to the folder; with the same seed and more epochs its
    networks are those of before, trained further.

    Args:
        pool: which networks, how many, and how they are trained.
        data: the data set; its training part is what they see.
        folder: where to, made when missing.
        seed: seed of the networks.
        device: where to compute; the CPU by default.
        executor: where the networks are trained; this process by default.

    Returns:
        The files ``seedS-epochsE-NUMBER.safetensors``, each written when its network is done.

    Raises:
        InputError: the pool cannot work on these data, or a file is there already; raised before any training.
    """
    device = device or torch.device("cpu")
    context = Context(
        data=data.train.to(device, torch.float32),
        ipc=1,
        streams=Streams(seed),
        build=build,
        device=device,
        executor=executor or InProcess(),
    )
    pool.check(context)
    name = f"seed{seed}-epochs{pool.epochs}"
    files = [Path(folder) / f"{name}-{number:04d}{SUFFIX}" for number in range(pool.count)]
    for path in files:
        if path.exists():
            raise InputError(f"{path} is there already; remove it, or choose another folder or seed.")
    for path, weights in zip(files, _networks(pool, context), strict=True):
        write_weights(path, weights, context.network(pool.network).name)
    return files


def _networks(pool: Pretrained, context: Context) -> Iterator[Weights]:
    """All networks, each an independent task of the run's executor."""
    context.say(f"training {pool.count} network{'s' if pool.count > 1 else ''} on real images")
    train = functools.partial(_train, pool, context.data, context.network(pool.network), context.streams)
    return iter(context.executor.map(train, range(pool.count)))


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
