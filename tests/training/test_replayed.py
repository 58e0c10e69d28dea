from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch

from limbeck import networks
from limbeck.augmentations.dsa_augment import DSAAugment
from limbeck.augmentations.idc_augment import IDCAugment
from limbeck.augmentations.imagenet_augment import ImagenetAugment
from limbeck.core.contracts import Augmentation
from limbeck.core.errors import InputError
from limbeck.core.streams import Stream, Streams
from limbeck.data import Data
from limbeck.ops.soft_labels import Compression, compress
from limbeck.storage.labels import LabelStore, add_epoch, begin_store
from limbeck.training.lessons import Shuffled, SoftLoss
from limbeck.training.replayed import Replayed, TaughtBatch, pack, unpack
from limbeck.training.settings import BatchDraws, Training
from limbeck.training.supervised import fit
from limbeck.training.taught import Taught
from tests.training.test_taught import teacher

TRAININGS = [
    Training(batch_size=8),
    Training(batch_size=8, augmentation=IDCAugment(), cutmix=0.5),
    Training(batch_size=8, augmentation=DSAAugment(), mixup=0.8),
    Training(batch_size=8, augmentation=ImagenetAugment(), cutmix=1.0),
]


def batches_of(training: Training, channels: int = 3, total: int = 21, epoch: int = 0) -> list[TaughtBatch]:
    lessons = Shuffled(Streams(5), training, (channels, 8, 8), total)
    said = Stream(epoch).normal(total, 10).float()
    return [
        TaughtBatch(rows, lessons.draws(epoch, batch, rows), compress(said[rows], Compression(numbers="float32"), 1.0))
        for batch, rows in enumerate(lessons.order(epoch))
    ]


@pytest.mark.parametrize("training", TRAININGS, ids=["plain", "idc", "dsa", "imagenet"])
@pytest.mark.parametrize("epoch", range(4))
def test_a_packed_epoch_shows_the_same_images(training: Training, epoch: int) -> None:
    images = Stream(1).uniform(21, 3, 8, 8).float()
    given = batches_of(training, epoch=epoch)
    packed = pack(given)
    back = unpack(packed)
    assert [len(batch.rows) for batch in back] == [8, 8, 5]
    for one, other in zip(given, back, strict=True):
        assert torch.equal(one.rows, other.rows) and other.rows.dtype == torch.int64
        assert torch.equal(training.seen(images[one.rows], one.draws), training.seen(images[other.rows], other.draws))
        assert one.draws.augmentation.keys() == other.draws.augmentation.keys()
        assert (one.draws.mix is None) == (other.draws.mix is None)
        if one.draws.mix is not None and other.draws.mix is not None:
            assert (one.draws.mix.box, one.draws.mix.share) == (other.draws.mix.box, other.draws.mix.share)
        assert torch.equal(one.kept["values"], other.kept["values"])
    # Mirrors and shifts take a byte each; nothing random in [0, 1) is rounded.
    assert packed["rows"].dtype == torch.uint8
    assert all(packed[name].dtype == torch.bool for name in packed if name == "draw.flip")


class Shared(IDCAugment):
    """Draws once for the whole batch."""

    def draw(self, stream: Stream, shape: tuple[int, int, int], batch: int | None):  # type: ignore[no-untyped-def]
        return super().draw(stream, shape, None)


def test_numbers_of_a_whole_batch_are_refused() -> None:
    with pytest.raises(InputError, match="drawn once for a whole batch"):
        pack(batches_of(Training(batch_size=8, augmentation=Shared())))


def store_of(folder: Path, digits: Data, training: Training, compression: Compression, epochs: int) -> LabelStore:
    """What the teacher says of the first digits."""
    store, lessons = begin_store(folder, {}, epochs), taught(digits, training)
    images = digits.spec.normalization.apply(digits.train.images(range(24)))
    for epoch in range(epochs):
        batches = []
        for batch, rows in enumerate(lessons.order(epoch)):
            draws = lessons.draws(epoch, batch, rows)
            said = lessons.logits(epoch, batch, training.seen(images[rows], draws))
            assert said is not None
            batches.append(TaughtBatch(rows, draws, compress(said, compression, 20.0)))
        store = add_epoch(store, pack(batches))
    return store


def taught(digits: Data, training: Training) -> Taught:
    return Taught(Shuffled(Streams(7), training, digits.spec.shape, 24), teacher(digits))


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize("norm", ["instance", "batch"])
def test_training_from_an_exact_store_is_training_by_the_teacher(
    optimizer: str, norm: str, digits: Data, tmp_path: Path
) -> None:
    augmentation: Augmentation = IDCAugment()
    training = Training(batch_size=10, augmentation=augmentation, mixup=0.8, optimizer=optimizer)  # type: ignore[arg-type]
    store = store_of(tmp_path / "exact", digits, training, Compression(numbers="float32"), 3)
    rounded = store_of(tmp_path / "rounded", digits, training, Compression(numbers="int8", top=3), 3)
    images = digits.spec.normalization.apply(digits.train.images(range(24)))
    network = networks.build(f"convnet1:width=4,norm={norm}", digits.spec).to(torch.device("cpu"), torch.float32)
    ends = []
    for lessons in (taught(digits, training), Replayed(store, 10), Replayed(rounded, 10)):
        weights = network.initial(Stream(0))
        for _ in fit(
            network,
            weights,
            lambda rows: images[rows],
            digits.train.labels[:24],
            training,
            Streams(1),
            digits.spec.shape,
            lambda epoch: 0.01,
            8,
            lessons=lessons,
            soft=SoftLoss(temperature=4.0),
        ):
            pass
        ends.append(weights)
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])
    assert not all(torch.equal(ends[0][name], ends[2][name]) for name in ends[0])


def test_logits_are_the_teachers_to_rounding_and_epochs_go_round(digits: Data, tmp_path: Path) -> None:
    training = Training(batch_size=10, augmentation=IDCAugment(), cutmix=1.0)
    lessons = Replayed(store_of(tmp_path, digits, training, Compression(), 2), 10)
    live, images = taught(digits, training), digits.spec.normalization.apply(digits.train.images(range(24)))
    for epoch in range(2):
        for batch, rows in enumerate(lessons.order(epoch)):
            assert torch.equal(rows, live.order(epoch)[batch])
            said = live.logits(epoch, batch, training.seen(images[rows], live.draws(epoch, batch, rows)))
            kept = lessons.logits(epoch, batch, images[rows])
            assert said is not None and kept is not None
            assert torch.equal(kept, said.half().float())
            assert torch.equal(lessons.said(epoch + 2, batch), kept)
            assert lessons.draws(epoch + 4, batch, rows) is lessons.draws(epoch, batch, rows)
    assert not torch.equal(lessons.said(0, 0), lessons.said(1, 0))


def test_another_process_reads_for_itself(digits: Data, tmp_path: Path) -> None:
    lessons = Replayed(store_of(tmp_path, digits, Training(batch_size=10), Compression(), 1), 10)
    lessons.order(0)
    other = pickle.loads(pickle.dumps(lessons))
    assert len(pickle.dumps(lessons)) < 2000
    assert torch.equal(other.said(0, 1), lessons.said(0, 1))


def test_batches_that_are_not_mixed_stay_unmixed() -> None:
    batch = TaughtBatch(torch.tensor([300, 2]), BatchDraws({}, None), {"values": torch.zeros(2, 3)})
    assert set(pack([batch])) == {"rows", "sizes", "label.values"}
    assert unpack(pack([batch]))[0].draws.mix is None
