"""Lessons from a store: the batches, the draws and the logits that a teacher gave once, for any number of students.

An epoch is a handful of tensors whose rows are the images in the order in which they are shown: their numbers in the
set, what was drawn for each, the partner that it is mixed with, and its compressed logits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from limbeck.core.batch import Draws
from limbeck.core.errors import InputError
from limbeck.ops.soft_labels import restore
from limbeck.storage.labels import LabelStore
from limbeck.training.lessons import Lessons
from limbeck.training.settings import BatchDraws, Mix

__all__ = ["Replayed", "TaughtBatch", "pack", "unpack"]

_NONE, _BOX, _SHARE = range(3)
"""Kinds of mixing: none, CutMix, mixup."""


@dataclass(frozen=True)
class TaughtBatch:
    """One batch of a store.

    Args:
        rows: which images, int64 ``[B]``.
        draws: what is done to them.
        kept: what `limbeck.ops.soft_labels.compress` kept of the teacher's logits.
    """

    rows: Tensor
    draws: BatchDraws
    kept: dict[str, Tensor]


def pack(batches: Sequence[TaughtBatch]) -> dict[str, Tensor]:
    """The batches of an epoch as few tensors, as small as they can be without changing an image.

    Args:
        batches: at least one, in order.

    Raises:
        InputError: an augmentation draws numbers that are not one for each image.
    """
    sizes = [len(batch.rows) for batch in batches]
    packed = {"rows": _small(torch.cat([batch.rows for batch in batches])), "sizes": _small(torch.tensor(sizes))}
    for name in dict.fromkeys(name for batch in batches for name in batch.draws.augmentation):
        held = [name in batch.draws.augmentation for batch in batches]
        drawn = [
            (batch.draws.augmentation[name], size)
            for batch, size in zip(batches, sizes, strict=True)
            if name in batch.draws.augmentation
        ]
        if any(tensor.ndim == 0 or len(tensor) != size for tensor, size in drawn):
            raise InputError(
                f"'{name}' of the augmentation is drawn once for a whole batch, which a store of labels does not hold; "
                "use an augmentation that draws for each image."
            )
        together = torch.cat([tensor for tensor, _ in drawn])
        packed[f"draw.{name}"] = (together < 0.5) if _mirrors(name, together) else _small(together)
        if not all(held):
            packed[f"drawn.{name}"] = torch.tensor(held)
    mixes = [batch.draws.mix for batch in batches]
    if any(mix is not None for mix in mixes):
        partners = [torch.arange(size) if mix is None else mix.partner for mix, size in zip(mixes, sizes, strict=True)]
        kinds = [_NONE if mix is None else _SHARE if mix.box is None else _BOX for mix in mixes]
        boxes = [(0, 0, 0, 0) if mix is None or mix.box is None else mix.box for mix in mixes]
        packed["mix.kind"] = torch.tensor(kinds, dtype=torch.uint8)
        packed["mix.partner"] = _small(torch.cat(partners))
        packed["mix.box"] = _small(torch.tensor(boxes))
        packed["mix.share"] = torch.tensor([1.0 if mix is None else mix.share for mix in mixes], dtype=torch.float64)
    for name in batches[0].kept:
        packed[f"label.{name}"] = torch.cat([batch.kept[name] for batch in batches])
    return packed


def unpack(packed: dict[str, Tensor]) -> list[TaughtBatch]:
    """The batches that `pack` was given."""
    sizes = packed["sizes"].tolist()
    rows = packed["rows"].long().split(sizes)
    draws: list[Draws] = [{} for _ in sizes]
    for name, together in packed.items():
        kind, _, short = name.partition(".")
        if kind == "draw":
            mask = packed.get(f"drawn.{short}")
            held = [place for place in range(len(sizes)) if mask is None or bool(mask[place])]
            values = _restored(short, together).split([sizes[place] for place in held])
            for place, value in zip(held, values, strict=True):
                draws[place][short] = value
    mixes: list[Mix | None] = [None] * len(sizes)
    if "mix.kind" in packed:
        partners, boxes = packed["mix.partner"].long().split(sizes), packed["mix.box"].tolist()
        shares = packed["mix.share"].tolist()
        for place, kind in enumerate(packed["mix.kind"].tolist()):
            if kind == _BOX:
                r1, r2, k1, k2 = boxes[place]
                mixes[place] = Mix(partners[place], (r1, r2, k1, k2))
            elif kind == _SHARE:
                mixes[place] = Mix(partners[place], share=shares[place])
    labels = {name.removeprefix("label."): packed[name].split(sizes) for name in packed if name.startswith("label.")}
    return [
        TaughtBatch(rows[place], BatchDraws(draws[place], mixes[place]), {name: labels[name][place] for name in labels})
        for place in range(len(sizes))
    ]


class Replayed(Lessons):
    """What a store holds, epoch by epoch; after its last epoch it goes round.

    Args:
        store: complete, and of the set that is trained on.
        classes: K.
    """

    def __init__(self, store: LabelStore, classes: int) -> None:
        self._store = store
        self._classes = classes
        self._epoch = -1
        self._batches: list[TaughtBatch] = []

    def batches(self, epoch: int) -> list[TaughtBatch]:
        """The batches of an epoch."""
        which = epoch % len(self._store.epochs)
        if which != self._epoch:
            self._epoch, self._batches = which, unpack(self._store.read(which))
        return self._batches

    def order(self, epoch: int) -> list[Tensor]:
        """Rows as the store has them."""
        return [batch.rows for batch in self.batches(epoch)]

    def draws(self, epoch: int, batch: int, rows: Tensor) -> BatchDraws:
        """What was drawn when the teacher looked."""
        return self.batches(epoch)[batch].draws

    def logits(self, epoch: int, batch: int, images: Tensor) -> Tensor | None:
        """What the teacher said, as far as it was kept."""
        return self.said(epoch, batch).to(images.device)

    def said(self, epoch: int, batch: int) -> Tensor:
        """The same without images, float32 ``[B, K]`` on the CPU."""
        return restore(self.batches(epoch)[batch].kept, self._classes)

    def __getstate__(self) -> dict[str, object]:
        """What another process needs; it reads for itself."""
        return {**self.__dict__, "_epoch": -1, "_batches": []}


def _mirrors(name: str, drawn: Tensor) -> bool:
    """Whether these are draws of which `limbeck.ops.transforms.flip` looks only whether they are below a half."""
    return name == "flip" and drawn.is_floating_point()


def _restored(name: str, kept: Tensor) -> Tensor:
    """Draws as an augmentation expects them."""
    if name == "flip" and kept.dtype == torch.bool:
        return 1.0 - kept.double()
    return kept if kept.is_floating_point() or kept.dtype == torch.bool else kept.long()


def _small(numbers: Tensor) -> Tensor:
    """The same numbers in the smallest type for whole numbers that holds them; others as they are."""
    if numbers.is_floating_point() or numbers.dtype == torch.bool or numbers.numel() == 0:
        return numbers
    low, high = int(numbers.min()), int(numbers.max())
    for dtype in (torch.uint8, torch.int16, torch.int32):
        if torch.iinfo(dtype).min <= low and high <= torch.iinfo(dtype).max:
            return numbers.to(dtype)
    return numbers
