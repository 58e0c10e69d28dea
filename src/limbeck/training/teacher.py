"""Networks that know the real data: their statistics guide synthesis, and their logits teach other networks.

The "squeeze" of Yin, Xing and Shen, "Squeeze, recover and relabel: dataset condensation at ImageNet scale from a new
perspective", NeurIPS 2023. `limbeck.teachers` has those whose training is published.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from limbeck.core.context import Context
from limbeck.core.errors import InputError, RunError
from limbeck.core.network import FunctionalNetwork, Weights
from limbeck.core.streams import Streams
from limbeck.networks import bn_variant, checkpoint_weights, pretrained_weights
from limbeck.networks.imagenet_classes import WORDNET_NUMBERS, imagenet_rows
from limbeck.networks.pretrained import check_pretrained, torchvision_categories
from limbeck.networks.pretrained_timm import check_timm_weights, timm_classes, timm_weights
from limbeck.storage.weights import check_whitening, class_names_in, digest
from limbeck.training.pretraining import kept_share, pretrained
from limbeck.training.schedules import Schedule
from limbeck.training.settings import Training

__all__ = ["Teacher"]

_TORCHVISION, _TIMM = "torchvision", "timm"


@dataclass(frozen=True, kw_only=True)
class Teacher:
    """A network that knows the real data: trained on them, or brought along."""

    network: str = "torchvision:resnet18"
    """Architecture, as `limbeck list networks` shows."""
    weights: str = "trained"
    """Where they come from: ``trained`` on the real images; ``torchvision``, those that it offers for its model, or
    ``torchvision:NAME``, such as ``torchvision:IMAGENET1K_V1``; ``timm`` or ``timm:TAG``, such as ``timm:a1_in1k``,
    those that timm offers for its models; ``random``, none at all, to try out sizes; or the path of a checkpoint,
    ``.safetensors``, ``.pt`` or ``.pth``."""
    training: Training = field(default_factory=lambda: Training(lr=0.1, batch_size=128))
    """How it is trained on the real images."""
    schedule: Schedule = field(default_factory=lambda: Schedule(kind="cosine"))
    """How the step size goes over the epochs."""
    epochs: int = 200
    """Epochs over the real images."""
    seed: int | None = 0
    """Seed of its training, by default 0, so that runs of several seeds share one teacher; none takes the run's."""
    batch_norm: bool = False
    """Whether the network is replaced by its form with batch norm."""

    def check(self, context: Context, where: str) -> None:
        """Refuse, before any work, a teacher that cannot be made or that knows other classes than the data have.

        A checkpoint that says what its classes are called is compared with the data; of one that does not, a line says
        that nobody knows. Weights of torchvision and timm need the classes of ImageNet-1K, or some of them.

        Args:
            context: the run.
            where: what errors call the owner of the teacher, for example ``pool 'teacher'``.

        Raises:
            InputError: the network does not exist or does not fit the images, a value is out of its range, the file
                cannot be read or holds another network, or its classes are others or in another order.
        """
        network = self.architecture(context)
        if self._trained:
            self.training.check(f"the teacher of {where}")
            self.schedule.check(f"the teacher of {where}")
            if self.epochs < 1:
                raise InputError(f"the teacher of {where} needs epochs >= 1, not {self.epochs}.")
            if self.training.augmentation is not None:
                self.training.augmentation.fits(context.spec)
        elif self._which is not None:
            check = check_timm_weights if self._library == _TIMM else check_pretrained
            check(network.name, context.spec, self._which, self._rows(network, context))
        elif self.weights != "random":
            self._check_file(context, network, where)

    def architecture(self, context: Context) -> FunctionalNetwork:
        """The network itself."""
        return context.network(self._name(context))

    def digest(self, context: Context) -> str:
        """What identifies the content of the checkpoint, for a run's state; empty where there is none."""
        return "" if self._trained or self._which is not None or self.weights == "random" else digest(self._path)

    def load(self, context: Context, expected: str | None = None) -> Weights:
        """Its weights, on the run's device and in its dtype; trained now unless they were before.

        Args:
            context: the run.
            expected: the digest that the checkpoint had when the run began; None takes it as it is.

        Raises:
            InputError: the checkpoint cannot be read, or weights of torchvision or timm cannot be had.
            RunError: the checkpoint has another content than when the run began, or the training diverges.
        """
        network = self.architecture(context)
        if self._trained:
            found = pretrained(context, network.name, self.training, self.epochs, 1, self.seed, self.schedule)
            return next(found)
        if self.weights == "random":
            streams = context.streams if self.seed is None else Streams(self.seed)
            return network.initial(streams("random teacher"))
        if self._which is not None:
            context.say(f"taking {self._library}'s weights of {network.name}")
            take = timm_weights if self._library == _TIMM else pretrained_weights
            given = take(network.name, context.spec, self._which, self._rows(network, context))
            return {
                name: tensor.to(network.device, network.dtype if tensor.is_floating_point() else tensor.dtype)
                for name, tensor in given.items()
            }
        if expected is not None and digest(self._path) != expected:
            raise RunError(
                f"{self._path} is not the file that this run began with (its digest differs); restore it, or begin "
                "another run."
            )
        return checkpoint_weights(self._path, network)

    def passes(self, context: Context) -> float:
        """Forward passes of one image that its training costs; a gradient counts as two."""
        return 3.0 * self.epochs * len(context.data) if self._trained else 0.0

    def kept(self, context: Context) -> float:
        """Share of that training that is done: 1 where the teacher lies in the cache, else 0."""
        if not self._trained:
            return 0.0
        return kept_share(context, self._name(context), self.training, self.epochs, 1, self.seed, self.schedule)

    @property
    def _trained(self) -> bool:
        return self.weights == "trained"

    @property
    def _which(self) -> str | None:
        """The name that torchvision or timm has for its weights; None where they come from elsewhere."""
        return (self.weights.partition(":")[2] or "default") if self._library else None

    @property
    def _library(self) -> str:
        """``torchvision``, ``timm``, or nothing where weights come from elsewhere."""
        first = self.weights.partition(":")[0]
        return first if first in (_TORCHVISION, _TIMM) else ""

    @property
    def _path(self) -> Path:
        return Path(self.weights).expanduser()

    def _name(self, context: Context) -> str:
        return bn_variant(self.network, context.spec) if self.batch_norm else self.network

    def _rows(self, network: FunctionalNetwork, context: Context) -> list[int]:
        """Rows of the library's classifier for the classes of the data."""
        where, which = f"{self._library}'s '{network.name}'", self._which or "default"
        if self._library == _TORCHVISION:
            return imagenet_rows(context.spec.class_names, torchvision_categories(network.name, which), where)
        known = timm_classes(network.name, which)
        if known != len(WORDNET_NUMBERS):
            raise InputError(
                f"{where} knows {known} classes, other than ImageNet-1K's, and timm does not say in which order; name "
                "weights that were trained on ImageNet-1K last (weights timm:TAG)."
            )
        return imagenet_rows(context.spec.class_names, torchvision_categories("torchvision:resnet18"), where)

    def _check_file(self, context: Context, network: FunctionalNetwork, where: str) -> None:
        if not self._path.is_file():
            raise InputError(
                f"the teacher of {where} has weights '{self.weights}', which is no file; give the path of a "
                "checkpoint, or trained, torchvision, timm or random."
            )
        checkpoint_weights(self._path, network)
        check_whitening(self._path, context.spec)
        names = class_names_in(self._path)
        if names is None:
            context.say(
                f"warning: {self._path} does not say which classes it knows; they are taken to be those of "
                f"'{context.spec.name}', in their order"
            )
            return
        _require_same(names, context.spec.class_names, self._path, context.spec.name)


def _require_same(theirs: Sequence[str], ours: Sequence[str], path: Path, data: str) -> None:
    """Refuse a checkpoint whose logits are those of other classes, which would teach nonsense."""
    if len(theirs) != len(ours):
        raise InputError(
            f"{path} knows {len(theirs)} classes and '{data}' has {len(ours)}; train a network on '{data}'."
        )
    for place, (one, other) in enumerate(zip(theirs, ours, strict=True)):
        if one != other:
            raise InputError(
                f"{path} knows class {place} as '{one}' and '{data}' as '{other}'; load the data with their classes in "
                "the order of the checkpoint, or train a network on them."
            )
