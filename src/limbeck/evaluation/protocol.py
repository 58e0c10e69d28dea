"""What a protocol is: how fresh networks are trained on a distilled set, for how long, how often, and by whom."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

from limbeck.core.errors import InputError
from limbeck.training.lessons import SoftLoss
from limbeck.training.schedules import Schedule
from limbeck.training.settings import Training
from limbeck.training.taught import TeacherMode

__all__ = ["Protocol"]


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """Training and judging of fresh networks on a distilled set."""

    name: str
    """Name of the protocol."""
    networks: tuple[str, ...] = ("convnet3",)
    """Architectures, as `limbeck list networks` shows."""
    repeats: int = 3
    """Networks of each architecture, each from a seed of its own."""
    budget: Literal["epochs", "updates"] = "epochs"
    """Whether the length of training is counted in epochs or in SGD steps (the same for sets of every size)."""
    length: int = 1000
    """Epochs or updates."""
    training: Training = field(default_factory=Training)
    """How a network is trained."""
    drops: tuple[float, ...] = (2 / 3, 5 / 6)
    """Shares of the training, each rounded down, after which the step size is multiplied by ``drop_factor``."""
    drop_factor: float = 0.2
    """What the step size is multiplied by."""
    schedule: Schedule = field(default_factory=Schedule)
    """How the step size goes besides; the drops multiply it."""
    forget: bool = False
    """Whether a drop starts the optimizer anew, so that its velocity is lost."""
    momentum_after: float | None = None
    """Momentum from the first drop on; None keeps that of ``training``."""
    lr_of_set: Literal["ignored", "required", "preferred"] = "ignored"
    """Whether the step size is that which the set has learnt: never, always (a set without one is refused), or where
    there is one, and otherwise that of ``training``."""
    checked_every: int = 0
    """Epochs between looks at the test images during training, the first after the first epoch. The best of them is
    given beside the accuracy after the last epoch, as selected on test data; 0: no look but the last."""
    learning_rates: tuple[float, ...] = ()
    """Step sizes to choose from by the accuracy on the validation part; empty takes the one of ``training``."""
    soft: SoftLoss | None = None
    """How networks learn from a teacher's logits, which somebody must bring; None teaches by the labels of the set."""
    teacher_mode: TeacherMode = "eval"
    """Whether the teacher's batch norm uses its running statistics, or (``train``) those of the mixed batch, as in the
    authors' scripts for CIFAR."""

    segments: Literal["together", "in_turn"] = "together"
    """Whether segments of a set that was learnt in segments are shown all together, or in turn: a part of the training
    on the first one, the next on the first two, and so on, with the same number of steps (SeqMatch)."""
    largest_side: int = 0
    """Largest image side that the protocol is made for; 0 for any."""

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        if self.repeats < 1 or self.length < 1 or not self.networks:
            raise InputError(
                f"protocol '{self.name}' needs at least one network, one repeat and a length of 1, not "
                f"{len(self.networks)}, {self.repeats} and {self.length}."
            )
        if self.momentum_after is not None and (
            not 0 <= self.momentum_after < 1 or self.training.optimizer != "sgd" or self.budget != "epochs"
        ):
            raise InputError(
                f"protocol '{self.name}' changes the momentum of SGD after a number of epochs, to at least 0 and less "
                f"than 1; {self.momentum_after} by {self.training.optimizer} and {self.budget} is none of this."
            )
        if self.checked_every < 0:
            raise InputError(f"protocol '{self.name}' needs checked_every >= 0, not {self.checked_every}.")
        self.schedule.check(f"protocol '{self.name}'")
        if self.soft is not None:
            self.soft.check(f"protocol '{self.name}'")

    def steps(self, images: int) -> int:
        """SGD steps for a training set of this size."""
        if self.budget == "updates":
            return self.length
        return self.length * -(-images // self.training.batch_size)

    def epochs(self, images: int) -> int:
        """Epochs over a training set of this size; of the last one only some batches may be used."""
        if self.budget == "epochs":
            return self.length
        return -(-self.length // -(-images // self.training.batch_size))

    def hard(self) -> Protocol:
        """The same, but taught by the labels of the set alone."""
        return replace(self, soft=None)

    def lr(self, epoch: int, images: int, base: float | None = None) -> float:
        """Step size in an epoch, counted from 0."""
        epochs = self.epochs(images)
        factor = self.drop_factor ** self._drops_before(epoch, epochs) * self.schedule.factor(epoch, epochs)
        return (self.training.lr if base is None else base) * factor

    def momentum(self, epoch: int) -> float:
        """Momentum in an epoch, counted from 0."""
        if self.momentum_after is None or not self._drops_before(epoch, self.length):
            return self.training.momentum
        return self.momentum_after

    def looks(self, epoch: int) -> bool:
        """Whether the test images are looked at after an epoch, counted from 0, beside the last look."""
        return self.checked_every > 0 and epoch % self.checked_every == 0

    def evaluations(self, images: int) -> int:
        """How often the test images are looked at for each network trained on so many images: at least once."""
        return 1 + sum(map(self.looks, range(self.epochs(images))))

    def forgets(self, epoch: int) -> bool:
        """Whether the velocity is lost before an epoch, counted from 0."""
        if not self.forget or epoch == 0 or self.budget != "epochs":
            return False
        return self._drops_before(epoch, self.length) > self._drops_before(epoch - 1, self.length)

    def _drops_before(self, epoch: int, epochs: int) -> int:
        return sum(epoch >= int(share * epochs + 1e-9) for share in self.drops)
