"""A network per outer iteration whose accuracy decides how long it is trained and when it is dropped (CAFE)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch

from limbeck.core.batch import Moment, View
from limbeck.core.context import Context
from limbeck.core.contracts import Pool, State, SyntheticImages, Workload
from limbeck.core.errors import InputError
from limbeck.core.network import FunctionalNetwork
from limbeck.pools.trained_on_synthetic import train_epoch
from limbeck.training.passes import forward
from limbeck.training.supervised import Training, still

__all__ = ["ToPlateau"]


@dataclass(frozen=True, kw_only=True)
class ToPlateau(Pool):
    """The accuracy of a network on real images decides how long it is trained after each inner step, and when it ends.

    Wang et al., "CAFE: learning to condense dataset by aligning features", CVPR 2022, dynamic bi-level optimization.
    The spread of accuracies is the largest minus the smallest of the last ``window``. After each inner step one is
    taken of the network that the images were just matched in: once the spread of these is below ``outer``, the life
    of the network is over and the next outer iteration begins. Otherwise the network is trained on the synthetic
    images, one accuracy after each epoch, until the spread of those is above ``inner``. Accuracies are those of new
    random real images each time, the mean over classes.

    The authors' code has no bound on the epochs after a step, here there is one; and it carries a tenth of each
    accuracy over into the next, which is not done here. Steps of a life are bounded by the curriculum.
    """

    references = ("wang2022cafe",)

    network: str = "convnet3"
    """Architecture, as `limbeck list networks` shows."""
    training: Training = field(default_factory=lambda: Training(momentum=0.0, weight_decay=0.0, batch_size=256))
    """How the network is trained; its batch size counts decoded synthetic images."""
    window: int = 10
    """Accuracies that a spread is taken of."""
    inner: float = 0.03
    """Training after an inner step ends when the spread is above this; lambda_2 of the code."""
    outer: float = 0.04
    """The life of a network ends when the spread is below this; lambda_1 of the code."""
    images: int = 128
    """Real images of each class that an accuracy is measured on."""
    most_epochs: int = 100
    """Training after an inner step ends after this many epochs at the latest; unbounded in the authors' code."""

    def check(self, context: Context) -> None:
        """The network exists and fits the images."""
        context.network(self.network)
        self.training.check("pool 'to_plateau'")
        if self.window < 2 or self.images < 1 or self.most_epochs < 0:
            raise InputError(
                "pool 'to_plateau' needs window >= 2, images >= 1 and most_epochs >= 0, not "
                f"{self.window}, {self.images} and {self.most_epochs}."
            )
        if not (0 <= self.inner <= 1 and 0 <= self.outer <= 1):
            raise InputError(
                "pool 'to_plateau' needs inner and outer in [0, 1], differences of accuracies, not "
                f"{self.inner} and {self.outer}."
            )
        if self.training.augmentation is not None:
            self.training.augmentation.fits(context.spec)

    def init(self, context: Context) -> State:
        """No network yet."""
        return {"weights": {}, "velocity": {}, "accuracies": [], "over": False}

    def copies(self) -> int:
        """One network, with what its optimizer remembers."""
        return self.training.copies

    def passes(self, context: Context, load: Workload) -> float:
        """Training between steps for as many epochs as a spread takes at least; how many more nobody can know."""
        epochs = min(self.window, self.most_epochs)
        classes = context.spec.classes
        trained, measured = 3.0 * epochs * classes * load.decoded, (epochs + 1.0) * classes * self.images
        return load.iterations * (load.steps - 1) * (trained + measured)

    def draw(self, state: State, context: Context, iteration: int) -> State:
        """A fresh network, of which no accuracy is known."""
        network = context.network(self.network)
        weights = context.initial(network, "network", iteration)
        return {"weights": weights, "velocity": still(network, weights, self.training), "accuracies": [], "over": False}

    def view(self, state: State, context: Context) -> View:
        """The network as it is now."""
        return View(context.network(self.network), state["weights"])

    def architecture(self, context: Context) -> FunctionalNetwork:
        """What its networks look like."""
        return context.network(self.network)

    def finished(self, state: State, context: Context) -> bool:
        """Whether the accuracies after the last inner steps were all alike."""
        return bool(state["over"])

    def advance(self, state: State, context: Context, moment: Moment, synthetic: SyntheticImages) -> State:
        """End the life or train on; neither after the last step, whose network nobody sees again."""
        if moment.last:
            return state
        accuracies = [*state["accuracies"], self._accuracy(state, context, moment.ordinal, 0)][-self.window :]
        over = self._full(accuracies) and _spread(accuracies) < self.outer
        if not over:
            self._train(state, context, moment, synthetic)
        return {**state, "accuracies": accuracies, "over": over}

    def _train(self, state: State, context: Context, moment: Moment, synthetic: SyntheticImages) -> None:
        """Epochs on the synthetic images until the accuracy has moved."""
        images, targets = synthetic()
        network = context.network(self.network)
        accuracies: list[float] = []
        for epoch in range(self.most_epochs):
            train_epoch(state, context, network, self.training, images, targets, moment.ordinal, epoch)
            accuracies = [*accuracies, self._accuracy(state, context, moment.ordinal, epoch + 1)][-self.window :]
            if self._full(accuracies) and _spread(accuracies) > self.inner:
                return

    def _full(self, accuracies: Sequence[float]) -> bool:
        return len(accuracies) == self.window

    def _accuracy(self, state: State, context: Context, ordinal: int, number: int) -> float:
        """Mean over classes of the accuracy on random real images; measurement ``number`` of an inner step."""
        data, rows = context.data, []
        for label in range(context.spec.classes):
            members = data.class_rows(label)
            order = context.streams("plateau", ordinal, number, label).permutation(len(members))
            rows.append(members[order[: self.images]])
        chosen = torch.cat(rows)
        images = context.spec.normalization.apply(data.images(chosen))
        logits = forward(context.network(self.network), state["weights"], images)
        right = (logits.argmax(dim=1).cpu() == data.labels[chosen]).double()
        return float(torch.stack([some.mean() for some in right.split([len(one) for one in rows])]).mean())


def _spread(accuracies: Sequence[float]) -> float:
    return max(accuracies) - min(accuracies)
