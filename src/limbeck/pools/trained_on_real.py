"""A random or saved network per outer iteration, trained on real images between matchings (IDC, DREAM)."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from limbeck.core.batch import Moment, View
from limbeck.core.context import Context
from limbeck.core.contracts import Pool, State, SyntheticImages, Workload
from limbeck.core.errors import InputError
from limbeck.core.network import FunctionalNetwork, Weights
from limbeck.storage.weights import check_weights, check_whitening, digest, read_weights, weight_files
from limbeck.training.batches import epoch_batch
from limbeck.training.supervised import Training, still, supervised_step

__all__ = ["TrainedOnReal"]


@dataclass(frozen=True, kw_only=True)
class TrainedOnReal(Pool):
    """Each outer iteration starts a fresh network; after each inner step it is trained on some real images.

    IDC, algorithm 1: matching follows the path of a network that learns from real data, not from synthetic. With
    ``start``, an outer iteration starts from a file drawn at random. The files belong to the run: their digests are
    taken when it begins, and it stops when one has another content later.
    """

    references = ("kim2022idc",)

    network: str = "convnet3"
    """Architecture, as `limbeck list networks` shows."""
    training: Training = field(default_factory=Training)
    """How the network is trained; its batch size counts real images."""
    samples: int = 2000
    """Real images seen after each inner step, rounded up to whole batches; n_data of the code."""
    early_epochs: int = 0
    """Epochs of training on the real images before an outer iteration begins."""
    start: str = ""
    """Folder of saved networks (safetensors files), one of which each outer iteration starts from; empty takes fresh
    ones. pt_from and pt_num of the code."""

    def offers(self) -> frozenset[str]:
        """What every pool offers, and trainings that a curriculum may choose the images of."""
        trains = self.samples > 0 or self.early_epochs > 0
        return super().offers() | ({"networks trained on chosen images"} if trains else frozenset())

    def check(self, context: Context) -> None:
        """The network exists and fits the images."""
        context.network(self.network)
        self.training.check("pool 'trained_on_real'")
        if self.samples < 0 or self.early_epochs < 0:
            raise InputError(
                "pool 'trained_on_real' needs samples >= 0 and early_epochs >= 0, not "
                f"{self.samples} and {self.early_epochs}."
            )
        if self.training.augmentation is not None:
            self.training.augmentation.fits(context.spec)
        for path in weight_files(self.start) if self.start else ():
            check_weights(path, context.network(self.network))
            check_whitening(path, context.spec)

    def init(self, context: Context) -> State:
        """No network yet, and the digests of the files to start from, by name."""
        files = weight_files(self.start) if self.start else []
        return {"weights": {}, "velocity": {}, "start": {path.name: digest(path) for path in files}}

    def copies(self) -> int:
        """One network, with what its optimizer remembers."""
        return self.training.copies

    def passes(self, context: Context, load: Workload) -> float:
        """Training between steps, and before each iteration."""
        images = self.samples * (load.steps - 1) + self.early_epochs * len(context.data)
        return 3.0 * load.iterations * images

    def draw(self, state: State, context: Context, iteration: int) -> State:
        """A fresh or a saved network, trained ``early_epochs`` epochs."""
        network = context.network(self.network)
        weights = self._first_weights(state, context, iteration)
        fresh: State = {**state, "weights": weights, "velocity": still(network, weights, self.training)}
        images = _images(context)
        batches = images // min(self.training.batch_size, images)
        for number in range(self.early_epochs * batches):
            self._train(fresh, context, "early training", number, (iteration,))
        return fresh

    def view(self, state: State, context: Context) -> View:
        """The network as it is now."""
        return View(context.network(self.network), state["weights"])

    def architecture(self, context: Context) -> FunctionalNetwork:
        """What its networks look like."""
        return context.network(self.network)

    def advance(self, state: State, context: Context, moment: Moment, synthetic: SyntheticImages) -> State:
        """Train on the next real batches; not after the last step, whose network nobody sees again."""
        if moment.last:
            return state
        size = min(self.training.batch_size, _images(context))
        batches = -(-self.samples // size)
        for number in range(moment.ordinal * batches, (moment.ordinal + 1) * batches):
            self._train(state, context, "network training", number, ())
        return state

    def _first_weights(self, state: State, context: Context, iteration: int) -> Weights:
        """Random weights, or those of one of the files that were there when the run began."""
        network = context.network(self.network)
        if not self.start:
            return context.initial(network, "network", iteration)
        recalled = context.recalled("start", iteration)
        if recalled is not None:
            return recalled
        names = sorted(state["start"])
        chosen = names[int(context.streams("start", iteration).integers(0, len(names) - 1))]
        return read_weights(Path(self.start) / chosen, network, state["start"][chosen])

    def _train(self, state: State, context: Context, name: str, number: int, key: tuple[int, ...]) -> None:
        """One step on batch ``number`` of an endless walk through the images."""
        data = context.data
        rows = epoch_batch(context.streams, name, _images(context), self.training.batch_size, number, *key)
        training = self.training.bound(context.spec)
        draws = training.draw(context.streams, context.spec.shape, len(rows), *key, number)
        if context.taught is None:
            images, labels = context.spec.normalization.apply(data.images(rows)), data.labels[rows].to(context.device)
        else:
            images, labels = context.taught.batch(data, rows)
        network = context.network(self.network)
        supervised_step(
            network,
            state["weights"],
            state["velocity"],
            images,
            labels,
            training,
            draws,
            training.lr,
        )


def _images(context: Context) -> int:
    """How many images networks are trained on: all real ones, unless the curriculum says otherwise."""
    return len(context.data if context.taught is None else context.taught)
