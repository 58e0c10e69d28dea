"""Real images chosen by their embeddings (herding, k-center) or by how they are learnt (forgetting)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from limbeck.core.batch import View
from limbeck.core.context import Context
from limbeck.core.contracts import Initializer, Parametrization, Workload
from limbeck.core.errors import InputError
from limbeck.core.network import FunctionalNetwork
from limbeck.core.streams import Streams
from limbeck.ops import selection
from limbeck.training.batches import repeated
from limbeck.training.embedding import embed
from limbeck.training.scoring import guesses
from limbeck.training.supervised import Training

__all__ = ["Forgetting", "Herding", "KCenter"]

_DEEPCORE = Training(lr=0.1, momentum=0.9, nesterov=True, weight_decay=5e-4, batch_size=256)


@dataclass(frozen=True, kw_only=True)
class Herding(Initializer):
    """Greedily keep the mean of the chosen embeddings near that of the class (Welling, 2009)."""

    references = ("welling2009herding",)

    def needs(self) -> frozenset[str]:
        """Embeddings of a network trained on the real images."""
        return frozenset({"embeddings"})

    def images(self, context: Context, parametrization: Parametrization, view: View | None) -> Tensor:
        """``parts(ipc)`` images per class in the order of choice, packed."""
        return _chosen(
            context,
            parametrization,
            view,
            "herding",
            lambda features, label, count: selection.herding(features, count),
        )


@dataclass(frozen=True, kw_only=True)
class KCenter(Initializer):
    """Greedily add the image farthest from all chosen ones (Sener and Savarese, 2018)."""

    references = ("sener2018coreset",)

    start: Literal["random", "mean"] = "random"
    """First image of a class: a random one, or the one nearest to the mean embedding."""

    def needs(self) -> frozenset[str]:
        """Embeddings of a network trained on the real images."""
        return frozenset({"embeddings"})

    def images(self, context: Context, parametrization: Parametrization, view: View | None) -> Tensor:
        """``parts(ipc)`` images per class in the order of choice, packed."""

        def choose(features: Tensor, label: int, count: int) -> Tensor:
            if self.start == "mean":
                first = int((features - features.mean(dim=0)).square().sum(dim=1).argmin())
            else:
                first = int(context.streams("k-center start", label).integers(0, len(features) - 1))
            return selection.k_center(features, count, first)

        return _chosen(context, parametrization, view, "k_center", choose)


@dataclass(frozen=True, kw_only=True)
class Forgetting(Initializer):
    """The images that a network forgets most often while it learns them (Toneva et al., 2019).

    One network is trained here on all real images. An image is forgotten when it is classified wrongly in the forward
    pass of a training step, before the update, and was classified rightly in the epoch before.
    """

    references = ("toneva2019forgetting",)

    network: str = "convnet3"
    """Architecture, as `limbeck list networks` shows."""
    training: Training = field(default_factory=lambda: _DEEPCORE)
    """How the network is trained, at a constant step size; the values are those of DeepCore's code, which augments
    nothing while it selects."""
    epochs: int = 40
    """Epochs over the real images (one tells nothing); DeepCore's default."""
    never_learned: selection.NeverLearned = "zero"
    """What an image counts that was never right: zero (DeepCore's code), so that it is chosen last, or infinity, so
    that it is chosen first (the paper)."""

    def check(self, context: Context) -> None:
        """The network exists and fits the images, and every image keeps its label."""
        context.network(self.network)
        self.training.check("initializer 'forgetting'")
        if self.epochs < 1:
            raise InputError(f"initializer 'forgetting' needs epochs >= 1, not {self.epochs}.")
        if self.training.mixes:
            raise InputError(
                "initializer 'forgetting' asks whether single images are right; set training.cutmix 0, and mixup."
            )
        if self.training.augmentation is not None:
            self.training.augmentation.fits(context.spec)

    def passes(self, context: Context, load: Workload) -> float:
        """Training of the network."""
        return 3.0 * self.epochs * len(context.data)

    def architecture(self, context: Context) -> FunctionalNetwork:
        """What its network looks like."""
        return context.network(self.network)

    def images(self, context: Context, parametrization: Parametrization, view: View | None) -> Tensor:
        """``parts(ipc)`` images per class, the most forgotten first, packed."""
        context.say("training a network on real images to see what it forgets")
        predictions = self._predictions(context)
        events = selection.forgetting_events(predictions, context.data.labels, self.never_learned)
        return _packed(
            context, parametrization, lambda label, members, count: selection.largest(events[members], count)
        )

    def _predictions(self, context: Context) -> Tensor:
        """Class that each real image was taken for in the training step of each epoch, int16 ``[epochs, N]``."""
        network = context.network(self.network)
        weights = network.initial(context.streams("forgetting network"))
        streams = Streams(context.streams("forgetting").seed)
        return guesses(network, weights, context.data, self.training, self.epochs, streams, context.pause)


def _chosen(
    context: Context,
    parametrization: Parametrization,
    view: View | None,
    name: str,
    choose: Callable[[Tensor, int, int], Tensor],
) -> Tensor:
    """Images that ``choose`` picks from the embeddings, label and wanted number of each class."""
    if view is None:
        raise InputError(f"initializer '{name}' needs a network; fill the slot 'pool'.")
    context.say("embedding the real images")
    return _packed(
        context,
        parametrization,
        lambda label, members, count: choose(embed(view, context.data, members), label, count),
    )


def _packed(context: Context, parametrization: Parametrization, choose: Callable[[int, Tensor, int], Tensor]) -> Tensor:
    """Images that ``choose`` picks from the label, rows and wanted number of each class."""
    wanted = parametrization.parts(context.ipc)
    classes = []
    for label in range(context.spec.classes):
        members = context.data.class_rows(label)
        picked = choose(label, members, min(wanted, len(members)))
        rows = repeated(members[picked.cpu()], wanted)
        classes.append(parametrization.encode(context.data.images(rows), context.ipc))
    return torch.stack(classes)
