"""Networks trained on the real images before the run (DSDM, coresets by features)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import torch

from limbeck.core.batch import Moment, View
from limbeck.core.context import Context
from limbeck.core.contracts import Pool, State, SyntheticImages, Workload
from limbeck.core.errors import InputError
from limbeck.core.executor import Executor, InProcess
from limbeck.core.network import FunctionalNetwork
from limbeck.core.streams import Streams
from limbeck.data import Data
from limbeck.networks import build
from limbeck.storage.weights import SUFFIX, write_weights
from limbeck.training.pretraining import cache_folder, kept_share, pretrained
from limbeck.training.supervised import Training

__all__ = ["Pretrained", "pretrain"]


@dataclass(frozen=True, kw_only=True)
class Pretrained(Pool):
    """``count`` networks, each trained ``epochs`` epochs on the real images; outer iterations draw one at random.

    Networks are kept between runs (`limbeck.training.pretraining`): a run that needs the same ones, whatever its
    method, finds them trained, and one that was killed meanwhile goes on with the next. The weights are part of the
    run's state as well, so that it ends with the same ones when they are deleted.
    """

    added: ClassVar[Mapping[str, Any]] = {"seed": None}

    network: str = "convnet3"
    """Architecture, as `limbeck list networks` shows."""
    training: Training = field(default_factory=Training)
    """How each network is trained."""
    epochs: int = 20
    """Epochs over the real images."""
    count: int = 1
    """Networks in the pool."""
    seed: int | None = None
    """Seed of the networks, for runs of several seeds that share them; none takes the run's."""

    def offers(self) -> frozenset[str]:
        """What every pool offers, and networks that know the real images."""
        return super().offers() | {"labelling networks"}

    def check(self, context: Context) -> None:
        """The network exists and fits the images."""
        context.network(self.network)
        self.training.check("pool 'pretrained'")
        if self.count < 1 or self.epochs < 0:
            raise InputError(f"pool 'pretrained' needs count >= 1 and epochs >= 0, not {self.count} and {self.epochs}.")
        if self.training.augmentation is not None:
            self.training.augmentation.fits(context.spec)

    def init(self, context: Context) -> State:
        """All networks, from the cache or trained now."""
        networks = pretrained(context, self.network, self.training, self.epochs, self.count, self.seed)
        return {"networks": list(networks), "current": 0}

    def copies(self) -> int:
        """All networks, without velocities."""
        return self.count

    def passes(self, context: Context, load: Workload) -> float:
        """Training of all networks."""
        return 3.0 * self.count * self.epochs * len(context.data)

    def kept(self, context: Context) -> float:
        """Networks that were trained before."""
        return kept_share(context, self.network, self.training, self.epochs, self.count, self.seed)

    def draw(self, state: State, context: Context, iteration: int) -> State:
        """One of the networks, or of the bank if the run has one."""
        recalled = context.recalled("pool", iteration)
        chosen = int(context.streams("pool", iteration).integers(0, self.count - 1))
        drawn = {"networks": state["networks"], "current": chosen}
        return drawn if recalled is None else {**drawn, "recalled": recalled}

    def view(self, state: State, context: Context) -> View:
        """The network that was drawn."""
        weights = state.get("recalled") or state["networks"][state["current"]]
        return View(context.network(self.network), weights)

    def judges(self, state: State, context: Context) -> Iterator[View]:
        """All networks, in their order."""
        network = context.network(self.network)
        yield from (View(network, weights, train=False) for weights in state["networks"])

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
    cache: bool | Path = True,
) -> list[Path]:
    """Train the networks of a pool and save each in a file, for pools that start from saved ones.

    Called again with other epochs or another seed it adds to the folder; with the same seed and more epochs its
    networks are those of before, trained further.

    Args:
        pool: which networks, how many, and how they are trained.
        data: the data set; its training part is what they see.
        folder: where to, made when missing.
        seed: seed of the networks, unless the pool has one.
        device: where to compute; the CPU by default.
        executor: where the networks are trained; this process by default.
        cache: where networks are found and kept for other runs: the default folder, this one, or nowhere.

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
        cache=cache_folder(cache),
    )
    pool.check(context)
    seed = seed if pool.seed is None else pool.seed
    name = f"seed{seed}-epochs{pool.epochs}"
    files = [Path(folder) / f"{name}-{number:04d}{SUFFIX}" for number in range(pool.count)]
    for path in files:
        if path.exists():
            raise InputError(f"{path} is there already; remove it, or choose another folder or seed.")
    networks = pretrained(context, pool.network, pool.training, pool.epochs, pool.count, seed)
    for path, weights in zip(files, networks, strict=True):
        write_weights(path, weights, context.network(pool.network).name, normalization=context.spec.normalization)
    return files
