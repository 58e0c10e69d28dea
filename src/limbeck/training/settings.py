"""How a network is trained on a batch of labelled images, and the random numbers that one batch takes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

from torch import Tensor

from limbeck.core.batch import Draws
from limbeck.core.contracts import Augmentation
from limbeck.core.errors import InputError
from limbeck.core.real import DataSpec
from limbeck.core.streams import Streams
from limbeck.ops import cutmix, mixup

__all__ = ["BatchDraws", "Mix", "Training"]


@dataclass(frozen=True, kw_only=True)
class Training:
    """How a network is trained on a batch of labelled images: SGD, Adam or AdamW on the mean cross-entropy."""

    added: ClassVar[Mapping[str, Any]] = {
        "nesterov": False,
        "optimizer": "sgd",
        "betas": (0.9, 0.999),
        "decay": "all",
        "mixup": 0.0,
    }

    lr: float = 0.01
    """Step size."""
    momentum: float = 0.9
    """Heavy-ball momentum of SGD."""
    nesterov: bool = False
    """Whether a step of SGD looks ahead along the momentum (Nesterov): gradient + momentum * velocity."""
    weight_decay: float = 5e-4
    """SGD and plain Adam add ``weight_decay * weight`` to the gradient; AdamW shrinks the weight by
    ``lr * weight_decay`` of it."""
    batch_size: int = 64
    """Images per step."""
    augmentation: Augmentation | None = None
    """Transformation with its own random numbers for every image."""
    cutmix: float = 0.0
    """Probability that a batch is cut and mixed, after the augmentation."""
    optimizer: Literal["sgd", "adamw", "adam"] = "sgd"
    """SGD, or Adam, which knows no momentum but ``betas``: with decoupled weight decay, or plain."""
    betas: tuple[float, float] = (0.9, 0.999)
    """How much Adam keeps of its means of the gradient and of its square."""
    decay: Literal["all", "matrices"] = "all"
    """What weight decay applies to: all parameters, or those with more than one axis (no biases, no norms)."""
    mixup: float = 0.0
    """Parameter of the symmetric Beta distribution of the shares in which every batch is blended, after the
    augmentation; 0 for none."""

    def check(self, where: str) -> None:
        """Refuse values that cannot be.

        Args:
            where: what errors call the owner of these settings, for example ``pool 'pretrained'``.

        Raises:
            InputError: a value is out of its range, or two of them exclude each other.
        """
        if self.nesterov and self.optimizer != "sgd":
            raise InputError(f"training of {where} cannot look ahead with {self.optimizer}; leave nesterov.")
        if self.nesterov and self.momentum == 0:
            raise InputError(f"training of {where} has no momentum to look ahead with; set momentum or leave nesterov.")
        fine = 0 < self.lr < math.inf and 0 <= self.momentum < 1 and 0 <= self.weight_decay < math.inf
        if not (fine and self.batch_size >= 1 and 0 <= self.cutmix <= 1):
            raise InputError(
                f"training of {where} needs lr > 0, 0 <= momentum < 1, weight_decay >= 0, batch_size >= 1 and "
                f"0 <= cutmix <= 1, not {self.lr}, {self.momentum}, {self.weight_decay}, {self.batch_size} and "
                f"{self.cutmix}."
            )
        if not (all(0 <= beta < 1 for beta in self.betas) and 0 <= self.mixup < math.inf):
            raise InputError(
                f"training of {where} needs 0 <= betas < 1 and mixup >= 0, not {self.betas} and {self.mixup}."
            )
        if self.mixup and self.cutmix:
            raise InputError(
                f"training of {where} mixes a batch by mixup or by CutMix, not both; set one of them to 0."
            )

    def bound(self, spec: DataSpec) -> Training:
        """The same training, whose augmentation knows what it has to of the data (`Augmentation.bound`).

        Args:
            spec: shape and normalization of the images.
        """
        if self.augmentation is None:
            return self
        return replace(self, augmentation=self.augmentation.bound(spec))

    @property
    def mixes(self) -> bool:
        """Whether images may be mixed, so that a batch is not of single images any more."""
        return bool(self.cutmix or self.mixup)

    @property
    def copies(self) -> int:
        """Sets of weights that one network in training takes: its own, and what its optimizer remembers."""
        return 2 if self.optimizer == "sgd" else 3

    def draw(self, streams: Streams, shape: tuple[int, int, int], batch: int, *key: int) -> BatchDraws:
        """Random numbers for one batch.

        Args:
            streams: the run's streams.
            shape: ``(C, H, W)``.
            batch: images in this batch.
            *key: where in the run it is.
        """
        draws: Draws = {}
        if self.augmentation is not None:
            draws = self.augmentation.draw(streams("training augmentation", *key), shape, batch)
        if self.mixup:
            stream = streams("mixup", *key)
            share = stream.beta(self.mixup)
            return BatchDraws(draws, Mix(stream.permutation(batch), share=share))
        if self.cutmix == 0:
            return BatchDraws(draws, None)
        stream = streams("cutmix", *key)
        if float(stream.uniform()) >= self.cutmix:
            return BatchDraws(draws, None)
        lam, partner = stream.beta(1.0), stream.permutation(batch)
        centre = (int(stream.integers(0, shape[1] - 1)), int(stream.integers(0, shape[2] - 1)))
        return BatchDraws(draws, Mix(partner, cutmix.box(lam, *centre, shape[1], shape[2])))

    def seen(self, images: Tensor, draws: BatchDraws) -> Tensor:
        """The batch as a network sees it: augmented and mixed.

        Args:
            images: ``[B, C, H, W]`` in normalized space.
            draws: the batch's random numbers.
        """
        if self.augmentation is not None:
            images = self.augmentation.apply(images, draws.augmentation)
        return images if draws.mix is None else draws.mix.apply(images)


@dataclass(frozen=True)
class Mix:
    """How the images of one batch are mixed with others of it: by CutMix if there is a box, else by mixup.

    Args:
        partner: which image each is mixed with, int64 ``[B]``.
        box: what the partner fills, first and past-the-last row, first and past-the-last column; or None.
        share: an image's own share where there is no box.
    """

    partner: Tensor
    box: cutmix.Box | None = None
    share: float = 1.0

    def apply(self, images: Tensor) -> Tensor:
        """Mixed images ``[B, C, H, W]``."""
        partner = self.partner.to(images.device)
        if self.box is None:
            return mixup.mix(images, partner, self.share)
        return cutmix.mix(images, partner, self.box)

    def ratio(self, height: int, width: int) -> float:
        """Share of the loss that belongs to an image's own label.

        Args:
            height: rows of the images.
            width: columns of the images.
        """
        return self.share if self.box is None else cutmix.ratio(self.box, height, width)


@dataclass(frozen=True)
class BatchDraws:
    """All randomness of one training batch.

    Args:
        augmentation: the augmentation's numbers.
        mix: CutMix or mixup, or None.
    """

    augmentation: Draws
    mix: Mix | None
