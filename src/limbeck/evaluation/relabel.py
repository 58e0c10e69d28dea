"""`relabel` keeps what a teacher says of the batches of a protocol; `replay` shows those batches to any training."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from limbeck.core.distilled import Distilled
from limbeck.core.errors import InputError
from limbeck.core.plain import encode
from limbeck.core.streams import Streams
from limbeck.evaluation.images import images_of
from limbeck.evaluation.labels import ByTeacher, Labels, Stored, belonging, stored_labels
from limbeck.evaluation.protocol import Protocol
from limbeck.ops.soft_labels import Compression, bytes_per_image, compress
from limbeck.storage.labels import LabelStore, add_epoch, begin_store
from limbeck.training.lessons import Shuffled
from limbeck.training.replayed import Replayed, TaughtBatch, pack
from limbeck.training.settings import Training

__all__ = ["ReplayBatches", "ReplayDataset", "epochs_to_store", "label_bytes", "relabel", "replay"]

Place = tuple[int, int, int]
"""Epoch, batch of it, and position in the batch."""


def relabel(
    distilled: Distilled,
    labels: Labels,
    protocol: Protocol,
    out: str | Path,
    *,
    compression: Compression | None = None,
    epochs_kept: int | None = None,
    seed: int = 0,
    device: torch.device | None = None,
    done: Callable[[int, int], None] | None = None,
) -> LabelStore:
    """Store the batches that a protocol trains on and what a teacher says of each; stopped, the same call continues.

    Args:
        distilled: the set.
        labels: the teacher (`limbeck.evaluation.teaching.teacher_labels`).
        protocol: how networks will be trained.
        out: folder for one file for each epoch, and ``manifest.json``.
        compression: what is kept of the logits; 16-bit numbers by default.
        epochs_kept: epochs that are stored, through which a training goes round and round; all by default.
        seed: seed of batches, augmentation and mixing.
        device: where to compute; the CPU by default.
        done: called after each epoch with the number of epochs done and of all.

    Returns:
        The store, complete.

    Raises:
        InputError: the protocol has no soft labels, the teacher knows other classes, or the folder holds other labels.
    """
    compression, device = compression or Compression(), device or torch.device("cpu")
    kept = epochs_to_store(distilled, protocol, compression, epochs_kept)
    if not isinstance(labels, ByTeacher):
        raise InputError("labels are made by a teacher, and these are stored already; bring a teacher.")
    labels.check(protocol, distilled.spec, distilled)
    teacher, spec = labels.on(device).teacher, distilled.spec
    images, count = images_of(distilled, device), len(distilled.targets())
    about = {
        **belonging(distilled, protocol),
        "teacher": teacher.as_plain(),
        "seed": seed,
        "compression": encode(compression),
        "images": count,
        "data": {"name": spec.name, "digest": spec.digest},
    }
    store = begin_store(Path(out), about, kept)
    training = protocol.training.bound(spec)
    batches = Shuffled(_streams(seed), training, spec.shape, count)
    temperature = protocol.soft.temperature if protocol.soft is not None else 1.0
    while not store.complete:
        epoch, taken = len(store.epochs), []
        for batch, rows in enumerate(batches.order(epoch)):
            draws = batches.draws(epoch, batch, rows)
            said = teacher.logits(training.seen(images(rows), draws), protocol.teacher_mode)
            taken.append(TaughtBatch(rows, draws, compress(said, compression, temperature)))
        store = add_epoch(store, pack(taken))
        if done is not None:
            done(len(store.epochs), kept)
    return store


def epochs_to_store(
    distilled: Distilled, protocol: Protocol, compression: Compression, epochs_kept: int | None = None
) -> int:
    """How many epochs `relabel` would store, and whether it can at all; needs no teacher.

    Args:
        distilled: the set.
        protocol: how networks will be trained.
        compression: what is kept of the logits.
        epochs_kept: epochs that are stored; all by default.

    Raises:
        InputError: the protocol has no soft labels or is not for such images, or a value is out of its range.
    """
    compression.check()
    if protocol.soft is None:
        raise InputError(
            f"protocol '{protocol.name}' teaches by the labels of the set; take one with soft labels, for example "
            "limbeck_soft."
        )
    protocol.training.check(f"protocol '{protocol.name}'")
    if protocol.training.augmentation is not None:
        protocol.training.augmentation.fits(distilled.spec)
    epochs = protocol.epochs(distilled.parametrization.parts(distilled.ipc) * distilled.spec.classes)
    kept = epochs if epochs_kept is None else epochs_kept
    if not 1 <= kept <= epochs:
        raise InputError(
            f"protocol '{protocol.name}' has {epochs} epochs for this set, of which 1 to {epochs} can be kept, not "
            f"{kept}."
        )
    return kept


def label_bytes(
    distilled: Distilled, protocol: Protocol, compression: Compression, epochs_kept: int | None = None
) -> int:
    """Bytes of the logits alone that `relabel` would store, before it does.

    Args:
        distilled: the set.
        protocol: how networks will be trained.
        compression: what is kept of the logits.
        epochs_kept: epochs that are stored; all by default.
    """
    images = distilled.parametrization.parts(distilled.ipc) * distilled.spec.classes
    epochs = epochs_to_store(distilled, protocol, compression, epochs_kept)
    return epochs * images * bytes_per_image(compression, distilled.spec.classes)


def replay(
    distilled: Distilled, labels: str | Path | LabelStore, protocol: Protocol
) -> tuple[ReplayDataset, ReplayBatches]:
    """The stored batches for a training of one's own: an ordinary data set and an ordinary batch sampler.

    ``DataLoader(dataset, batch_sampler=batches, num_workers=4)`` gives images ``[B, C, H, W]``, augmented, mixed and in
    normalized space, and the teacher's logits ``[B, K]``. Each pass over it is one epoch, the next of the store.

    Args:
        distilled: the set.
        labels: what `relabel` returned, or its folder.
        protocol: that for which they were made.

    Raises:
        InputError: the labels are not complete, or belong to another set or protocol.
    """
    stored = stored_labels(labels)
    stored.check(protocol, distilled.spec, distilled)
    return ReplayDataset(distilled, stored, protocol), ReplayBatches(stored.store)


class ReplayDataset(Dataset[tuple[Tensor, Tensor]]):
    """Images as a network is to see them, and what the teacher said of them, by epoch, batch and position.

    Args:
        distilled: the set.
        labels: a store that belongs to it.
        protocol: that for which it was made.
    """

    def __init__(self, distilled: Distilled, labels: Stored, protocol: Protocol) -> None:
        self._images, self._count = images_of(distilled, torch.device("cpu")), len(distilled.targets())
        self._training: Training = protocol.training.bound(distilled.spec)
        self._lessons = Replayed(labels.store, distilled.spec.classes)
        self._epochs = labels.store.planned

    def __len__(self) -> int:
        """Images of all stored epochs."""
        return self._epochs * self._count

    def __getitem__(self, place: Place) -> tuple[Tensor, Tensor]:
        """Image ``[C, H, W]`` and logits ``[K]`` of one place; its whole batch is made for it."""
        return self.__getitems__([place])[0]

    def __getitems__(self, places: Sequence[Place]) -> list[tuple[Tensor, Tensor]]:
        """The same for several places of one batch, which is made once."""
        made: dict[tuple[int, int], tuple[Tensor, Tensor]] = {}
        for epoch, batch, _ in places:
            if (epoch, batch) not in made:
                made[epoch, batch] = self._batch(epoch, batch)
        return [(made[epoch, batch][0][position], made[epoch, batch][1][position]) for epoch, batch, position in places]

    def _batch(self, epoch: int, batch: int) -> tuple[Tensor, Tensor]:
        taught = self._lessons.batches(epoch)[batch]
        return self._training.seen(self._images(taught.rows), taught.draws), self._lessons.said(epoch, batch)


class ReplayBatches(Sampler[list[Place]]):
    """The batches of a store, one epoch in each pass; after the last epoch it goes round.

    Args:
        store: complete.
    """

    def __init__(self, store: LabelStore) -> None:
        self._lessons = Replayed(store, int(store.about["set"]["classes"]))
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Which epoch the next pass gives, from 0, for a training that is resumed."""
        self._epoch = epoch

    def __len__(self) -> int:
        """Batches of an epoch."""
        return len(self._lessons.order(self._epoch))

    def __iter__(self) -> Iterator[list[Place]]:
        """The places of each batch of the next epoch."""
        epoch, self._epoch = self._epoch, self._epoch + 1
        for batch, rows in enumerate(self._lessons.order(epoch)):
            yield [(epoch, batch, position) for position in range(len(rows))]


def _streams(seed: int) -> Streams:
    """Those of the batches of a store."""
    return Streams(Streams(seed)("soft labels").seed)
