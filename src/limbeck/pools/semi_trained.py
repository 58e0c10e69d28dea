"""A queue of networks of different ages, all of them half trained on real images (IDM)."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from limbeck.core.batch import Moment, View
from limbeck.core.context import Context
from limbeck.core.contracts import Pool, State, SyntheticImages, Workload
from limbeck.core.errors import InputError
from limbeck.core.network import FunctionalNetwork
from limbeck.training.supervised import Training, still, watched_step

__all__ = ["SemiTrained"]


@dataclass(frozen=True, kw_only=True)
class SemiTrained(Pool):
    """Matching draws a network from a queue at random; after each inner step some of them are trained a little.

    Zhao, Li, Qin and Yu, "Improved distribution matching for dataset condensation", CVPR 2023: networks that have
    learnt something give better embeddings, and many of different ages more diverse ones. The queue begins with a few
    random networks; a new one joins it at intervals, from iteration 0 on, and the oldest leaves when it is full. Each
    keeps its velocity, and counts how many of the real images it was trained on it got right.

    All networks with their velocities are in every checkpoint: with 100 of `convnet3` 256 MB, which take some
    seconds to write; `most` and `--checkpoint-minutes` lower that.
    """

    references = ("zhao2023idm",)

    network: str = "convnet3"
    """Architecture, as `limbeck list networks` shows."""
    training: Training = field(default_factory=lambda: Training(batch_size=256))
    """How networks are trained; its batch size counts real images."""
    begin: int = 3
    """Random networks that the queue begins with."""
    interval: int = 30
    """Outer iterations between two new networks; net_generate_interval of the code."""
    most: int = 100
    """Networks that the queue holds; net_num of the code."""
    trained: int = 2
    """Networks trained after each inner step; fetch_net_num of the code."""
    steps: int = 10
    """Training steps of each of them; model_train_steps of the code."""
    reset: int = 500
    """Outer iterations after which all networks begin to count anew, the code's interval of evaluations; 0 for
    never."""

    def offers(self) -> frozenset[str]:
        """Networks, and how well each does on what it is trained on."""
        return super().offers() | {"training accuracy"}

    def check(self, context: Context) -> None:
        """The network exists and fits the images, and the queue holds what it begins with."""
        context.network(self.network)
        self.training.check("pool 'semi_trained'")
        if self.begin < 0 or self.interval < 1 or self.most < max(1, self.begin):
            raise InputError(
                "pool 'semi_trained' needs begin >= 0, interval >= 1 and most >= 1 and begin, not "
                f"{self.begin}, {self.interval} and {self.most}."
            )
        if self.trained < 0 or self.steps < 0 or self.reset < 0:
            raise InputError(
                "pool 'semi_trained' needs trained >= 0, steps >= 0 and reset >= 0, not "
                f"{self.trained}, {self.steps} and {self.reset}."
            )
        if self.training.mixes:
            raise InputError(
                "pool 'semi_trained' counts the images that a network gets right, which cannot be told of images that "
                "are mixed; set pool.training.cutmix and mixup to 0."
            )
        if self.training.augmentation is not None:
            self.training.augmentation.fits(context.spec)

    def init(self, context: Context) -> State:
        """The first networks."""
        queue = [self._fresh(context, number) for number in range(self.begin)]
        return {"queue": queue, "made": self.begin, "current": 0}

    def copies(self) -> int:
        """All networks, each with what its optimizer remembers."""
        return self.training.copies * self.most

    def passes(self, context: Context, load: Workload) -> float:
        """Training after every step."""
        images = self.trained * self.steps * min(self.training.batch_size, len(context.data))
        return 3.0 * load.iterations * load.steps * images

    def draw(self, state: State, context: Context, iteration: int) -> State:
        """The queue with a new network and without the oldest, when their time has come, and one of it for matching."""
        queue, made = state["queue"], state["made"]
        if self.reset and iteration and iteration % self.reset == 0:
            queue = [{**one, "right": torch.zeros_like(one["right"]), "seen": 0} for one in queue]
        if iteration % self.interval == 0:
            queue = [*queue[max(0, len(queue) + 1 - self.most) :], self._fresh(context, made)]
            made += 1
        chosen = int(context.streams("pool", iteration).integers(0, len(queue) - 1))
        return {"queue": queue, "made": made, "current": chosen}

    def view(self, state: State, context: Context) -> View:
        """The network that was drawn, in evaluation mode, and its running training accuracy."""
        drawn = state["queue"][state["current"]]
        percent = 100 * float(drawn["right"]) / drawn["seen"] if drawn["seen"] else 0.0
        return View(context.network(self.network), drawn["weights"], train=False, accuracy=percent)

    def architecture(self, context: Context) -> FunctionalNetwork:
        """What its networks look like."""
        return context.network(self.network)

    def advance(self, state: State, context: Context, moment: Moment, synthetic: SyntheticImages) -> State:
        """Train some networks of the queue, drawn at random, on random real images."""
        queue = list(state["queue"])
        order = context.streams("networks to train", moment.ordinal).permutation(len(queue))
        for turn, position in enumerate(order[: self.trained].tolist()):
            queue[position] = self._trained(queue[position], context, moment.ordinal, turn)
        return {**state, "queue": queue}

    def _fresh(self, context: Context, number: int) -> State:
        """Random network ``number``, which has seen nothing."""
        network = context.network(self.network)
        weights = context.initial(network, "network", number)
        right = torch.zeros((), dtype=context.dtype, device=context.device)
        return {"weights": weights, "velocity": still(network, weights, self.training), "right": right, "seen": 0}

    def _trained(self, one: State, context: Context, ordinal: int, turn: int) -> State:
        """A network after some steps, and its count."""
        data, network = context.data, context.network(self.network)
        right, seen, training = one["right"], one["seen"], self.training.bound(context.spec)
        for step in range(self.steps):
            order = context.streams("network training", ordinal, turn, step).permutation(len(data))
            rows = order[: training.batch_size]
            draws = training.draw(context.streams, context.spec.shape, len(rows), ordinal, turn, step)
            images = context.spec.normalization.apply(data.images(rows))
            labels = data.labels[rows].to(context.device)
            _, said = watched_step(
                network, one["weights"], one["velocity"], images, labels, training, draws, training.lr
            )
            right = right + (said == labels).sum()
            seen += len(rows)
        return {**one, "right": right, "seen": seen}
