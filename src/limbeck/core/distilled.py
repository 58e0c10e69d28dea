"""What a run returns: a small data set that knows how it is to be used."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import torch
from torch import Tensor
from torch.utils.data import Dataset

from limbeck.core.contracts import Parametrization
from limbeck.core.errors import InputError
from limbeck.core.real import DataSpec
from limbeck.core.recipe import Recipe

__all__ = ["Distilled", "DistilledDataset", "Storage", "by_segment"]

Storage = Literal["float32", "uint8"]


_EACH = "segment_"
"""What stands before the names of numbers that each segment has its own of."""


def by_segment(learnt: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """What segments learnt beside their images, for the whole set: that of the last one, and of each.

    Args:
        learnt: of each segment, scalars by name.
    """
    last = learnt[-1] if learnt else {}
    return {**last, **{f"{_EACH}{name}": torch.stack([one[name] for one in learnt]) for name in last}}


@dataclass(frozen=True)
class Distilled:
    """A distilled set: stored images, and everything needed to train on them.

    Args:
        stored: stored images ``[K, n, C, H, W]``: float, in the space of the recipe's parametrization; or uint8, the
            levels of a set that is kept in 8 bits, 255 for the 1 of [0, 1] (`values` are the numbers that they stand
            for). A quarter of the memory is what makes 50,000 images of ImageNet fit.
        spec: the real data's shape, class names, normalization and digest.
        recipe: the recipe that made it.
        seed: the seed of the run.
        storage: how a stored value is written: ``float32``, or ``uint8`` (256 levels over [0, 1]).
        identity: versions and settings of the run that made it.
        learnt: what was learnt beside the pixels, by name: ``student_lr``, the step size to train with (a scalar), and
            ``labels``, the probabilities of the classes that decoded images carry, ``[K, m, classes]``. Where images
            were learnt one segment after the other, ``segment_student_lr`` has the step size after each.
        segments: images of each segment, where they were learnt one after the other; empty where they were not.
    """

    stored: Tensor
    spec: DataSpec
    recipe: Recipe
    seed: int
    storage: Storage = "float32"
    identity: dict[str, Any] = field(default_factory=dict)
    learnt: dict[str, Tensor] = field(default_factory=dict)
    segments: tuple[int, ...] = ()

    @property
    def parametrization(self) -> Parametrization:
        """How stored images become training images."""
        return self.recipe.parametrization

    @property
    def ipc(self) -> int:
        """Stored images per class."""
        return int(self.stored.shape[1])

    @property
    def bytes(self) -> int:
        """Bytes of the stored pixels, without labels (which are implied by the order) and file headers."""
        return self.stored.numel() * (1 if self.storage == "uint8" else 4)

    @property
    def label_bytes(self) -> int:
        """Bytes of its labels: 0 for hard ones, which the order of the images implies; 4 for each probability."""
        labels = self.soft_labels
        return 0 if labels is None else 4 * labels.numel()

    @property
    def student_lr(self) -> float | None:
        """The step size that networks are to be trained with, where it was learnt with the images."""
        learnt = self.learnt.get("student_lr")
        return None if learnt is None else float(learnt)

    @property
    def soft_labels(self) -> Tensor | None:
        """Class probabilities of the decoded images, float32 ``[N, classes]`` in the order of `decoded`; None: hard."""
        labels = self.learnt.get("labels")
        return None if labels is None else labels.detach().flatten(0, 1).float()

    def stored_as(self, storage: Storage) -> Distilled:
        """The same set at another precision; ``uint8`` clamps to [0, 1] and rounds to 256 levels.

        Images that are stored in normalized space are brought to [0, 1] for that.

        Raises:
            ValueError: uint8 is asked for images that nobody keeps in [0, 1].
        """
        if storage == "float32":
            return replace(self, stored=self.values(self.stored), storage=storage)
        if self.stored.dtype == torch.uint8:
            return replace(self, storage=storage)
        optimizer, normalization = self.recipe.optimizer, self.spec.normalization
        normalized = self.parametrization.space == "normalized"
        if normalized and (optimizer is None or not optimizer.bounds() or normalization.whitening is not None):
            raise ValueError("uint8 storage needs images in [0, 1]; this set is stored in normalized space.")
        levels = torch.empty_like(self.stored, dtype=torch.uint8)
        for label, images in enumerate(self.stored):  # class by class: the whole may be most of the memory
            unit = normalization.invert(images) if normalized else images
            levels[label] = (unit.clamp(0, 1) * 255).round()
        return replace(self, stored=levels, storage=storage)

    def values(self, stored: Tensor) -> Tensor:
        """Some stored images as numbers in the space of the parametrization.

        Args:
            stored: part of ``stored``, ``[..., C, H, W]``; what is float already is given back as it is.
        """
        if stored.dtype != torch.uint8:
            return stored
        unit = stored.float() / 255
        return unit if self.parametrization.space == "unit" else self.spec.normalization.apply(unit)

    def levels(self) -> Tensor | None:
        """Training images as levels, uint8 ``[N, C, H, W]`` in the order of `decoded`; None where they are no levels.

        That is: where the set is not kept in 8 bits, or decoding makes other images of stored ones.
        """
        if self.stored.dtype != torch.uint8:
            return None
        first = self.values(self.stored[0])
        if self.parametrization.decode(first) is not first:
            return None
        return self.stored.flatten(0, 1)

    def prefix(self, ipc: int) -> Distilled:
        """The first segments of a set that was learnt segment by segment: a set for fewer images per class.

        Args:
            ipc: its stored images per class, where a segment ends.

        Raises:
            InputError: no segment ends there, or the images were learnt together.
        """
        ends = list(itertools.accumulate(self.segments))
        if not ends:
            raise InputError("the images of this set were learnt together, so that no part of it is one; distil again.")
        if ipc not in ends:
            raise InputError(f"no segment of this set ends after {ipc} images per class, but after {ends}; name one.")
        segments = self.segments[: ends.index(ipc) + 1]
        numbers = {name.removeprefix(_EACH): tensor for name, tensor in self.learnt.items() if name.startswith(_EACH)}
        learnt = by_segment(
            [{name: tensor[place] for name, tensor in numbers.items()} for place in range(len(segments))]
        )
        return replace(self, stored=self.stored[:, :ipc].clone(), learnt=learnt, segments=segments)

    def decoded_in_turn(self) -> list[tuple[Tensor, Tensor]]:
        """Training images and labels as `decoded` gives them, of each segment for itself; none without segments."""
        ends = [0, *itertools.accumulate(self.segments)]
        own = [self.stored[:, start:stop] for start, stop in itertools.pairwise(ends)]
        return [replace(self, stored=stored, learnt={}, segments=()).decoded() for stored in own]

    def decoded(self) -> tuple[Tensor, Tensor]:
        """Training images in [0, 1] ``[N, C, H, W]``, class by class, and their labels, int64 ``[N]``."""
        every = torch.empty(0)
        for label, stored in enumerate(self.stored):
            decoded = self.parametrization.decode(self.values(stored))
            if self.parametrization.space == "normalized":
                decoded = self.spec.normalization.invert(decoded)
            if not label:
                every = decoded.new_empty(len(self.stored), *decoded.shape)
            every[label] = decoded
        return every.flatten(0, 1), self.targets()

    def targets(self) -> Tensor:
        """Labels of the training images in the order of `decoded`, int64 ``[N]``."""
        parts = self.parametrization.parts(self.ipc)
        return torch.cat([self.recipe.labeler.targets(label, parts) for label in range(len(self.stored))])

    def dataset(self, transform: Callable[[Tensor], Tensor] | None = None, normalize: bool = False) -> DistilledDataset:
        """A map-style dataset of (image ``[C, H, W]``, label) over the decoded images.

        A label is a class, or the probabilities of all classes where the set has soft labels;
        `torch.nn.functional.cross_entropy` takes either.

        Args:
            transform: applied to each image in [0, 1] first.
            normalize: whether images are then brought to normalized space; train and test must agree on it.
        """
        levels, soft = self.levels(), self.soft_labels
        images = self.decoded()[0] if levels is None else levels
        normalization = self.spec.normalization.apply if normalize else None
        return DistilledDataset(images, self.targets() if soft is None else soft, transform, normalization)


class DistilledDataset(Dataset[tuple[Tensor, int | Tensor]]):
    """Decoded images and labels as a map-style dataset for `torch.utils.data.DataLoader`.

    Args:
        images: ``[N, C, H, W]``, float in [0, 1], or uint8, 255 for 1; either is given out as float in [0, 1].
        labels: int64 ``[N]``, or probabilities ``[N, classes]``.
        transform: applied to each image, or None.
        normalize: applied after it, or None.
    """

    def __init__(
        self,
        images: Tensor,
        labels: Tensor,
        transform: Callable[[Tensor], Tensor] | None = None,
        normalize: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        self.images = images
        self.labels = labels
        self._transform = transform
        self._normalize = normalize

    def __len__(self) -> int:
        """Number of decoded images."""
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int | Tensor]:
        """Image ``[C, H, W]`` and label: a class, or probabilities ``[classes]``."""
        image = self.images[index]
        if image.dtype == torch.uint8:
            image = image.float() / 255
        if self._transform is not None:
            image = self._transform(image)
        if self._normalize is not None:
            image = self._normalize(image)
        label = self.labels[index]
        return image, label if label.ndim else int(label)
