from __future__ import annotations

import itertools
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader

from limbeck import networks
from limbeck.core.errors import InputError
from limbeck.core.streams import Streams
from limbeck.data import Data
from limbeck.evaluation.labels import Stored
from limbeck.evaluation.protocols import Protocol, dwa_cifar
from limbeck.evaluation.relabel import label_bytes, relabel, replay
from limbeck.ops.soft_labels import Compression
from limbeck.storage.labels import MANIFEST, LabelStore, open_store
from limbeck.training.lessons import Shuffled
from limbeck.training.replayed import Replayed
from limbeck.training.supervised import fit
from limbeck.training.taught import Taught
from tests.evaluation.taught import STUDENT, by_teacher, protocol, random_set

EXACT = Compression(numbers="float32")


def make(out: Path, ours: Protocol | None = None, **changes: Any) -> LabelStore:
    return relabel(random_set(), by_teacher(), ours or protocol(), out, **changes)


def test_a_store_holds_every_batch_of_every_epoch(tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    store = make(tmp_path / "a", done=lambda done, total: calls.append((done, total)))
    # 20 images in batches of 8: six steps are two epochs.
    assert calls == [(1, 2), (2, 2)] and store.planned == 2
    lessons = Replayed(store, 10)
    for epoch in range(2):
        assert [len(rows) for rows in lessons.order(epoch)] == [8, 8, 4]
        assert sorted(torch.cat(lessons.order(epoch)).tolist()) == list(range(20))
    manifest = json.loads((tmp_path / "a" / MANIFEST).read_text())
    assert manifest["about"]["teacher"]["network"] == by_teacher().teacher.network.name
    assert manifest["about"]["compression"] == {"numbers": "float16", "top": 0}
    assert [entry["bytes"] for entry in manifest["epochs"]] == [
        (tmp_path / "a" / f"epoch-000{number}.safetensors").stat().st_size for number in range(2)
    ]


@pytest.mark.parametrize("mode", ["eval", "train"])
def test_stored_logits_are_the_teachers_on_the_same_images(mode: Any, tmp_path: Path) -> None:
    ours = replace(protocol(), teacher_mode=mode)
    dataset, batches = replay(random_set(), make(tmp_path / "a", ours), ours)
    for _ in range(2):
        for places in batches:
            images, logits = (torch.stack(parts) for parts in zip(*dataset.__getitems__(places), strict=True))
            assert torch.equal(logits, by_teacher().teacher.logits(images, mode).half().float())


@pytest.mark.parametrize("ours", [protocol(), dwa_cifar(networks=(STUDENT,), epochs=3)], ids=["ours", "dwa_cifar"])
def test_training_from_an_exact_store_is_training_by_the_teacher_to_the_bit(
    ours: Protocol, digits: Data, tmp_path: Path
) -> None:
    store = make(tmp_path / "a", ours, compression=EXACT, seed=5)
    spec, one = digits.spec, random_set()
    decoded, labels = one.decoded()
    images = spec.normalization.apply(decoded)
    training = ours.training.bound(spec)
    streams = Streams(Streams(5)("soft labels").seed)
    live = Taught(Shuffled(streams, training, spec.shape, 20), by_teacher().teacher)
    network = networks.build(STUDENT, spec).to(torch.device("cpu"), torch.float32)
    ends = []
    for lessons in (live, Replayed(store, 10)):
        weights = network.initial(Streams(1)("network"))
        for _ in fit(
            network,
            weights,
            lambda rows: images[rows],
            labels,
            training,
            Streams(9),
            spec.shape,
            lambda epoch: ours.lr(epoch, 20),
            ours.steps(20),
            lessons=lessons,
            soft=ours.soft,
        ):
            pass
        ends.append(weights)
    assert all(torch.equal(tensor, ends[1][name]) for name, tensor in ends[0].items())


def test_an_interrupted_store_ends_in_the_same_bytes(tmp_path: Path) -> None:
    whole = make(tmp_path / "a")

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make(tmp_path / "b", done=stop)
    with pytest.raises(InputError, match="1 of 2 epochs"):
        open_store(tmp_path / "b")
    first = (tmp_path / "b" / "epoch-0000.safetensors").stat().st_mtime_ns
    assert make(tmp_path / "b").digest == whole.digest
    assert (tmp_path / "b" / "epoch-0000.safetensors").stat().st_mtime_ns == first
    assert make(tmp_path / "b") == open_store(tmp_path / "b")


def test_bytes_follow_the_compression_and_the_epochs(tmp_path: Path) -> None:
    kinds = [EXACT, Compression(), Compression(numbers="int8"), Compression(top=2), Compression(numbers="int8", top=1)]
    stores = [make(tmp_path / str(index), compression=each) for index, each in enumerate(kinds)]
    expected = [label_bytes(random_set(), protocol(), each, None) for each in kinds]
    assert expected == [40 * size for size in (40, 20, 14, 8, 7)]
    for store, size in zip(stores, expected, strict=True):
        held = [tensor for epoch in range(2) for name, tensor in store.read(epoch).items() if name.startswith("label.")]
        assert sum(tensor.numel() * tensor.element_size() for tensor in held) == size
    for one, other in itertools.pairwise(zip(stores, expected, strict=True)):
        # What names a further tensor takes some bytes, too.
        assert one[0].bytes - other[0].bytes > one[1] - other[1] - 1000
    fewer = make(tmp_path / "fewer", epochs_kept=1)
    assert fewer.planned == 1 and fewer.bytes < 0.7 * stores[1].bytes
    assert fewer.read(0).keys() == fewer.read(1).keys()


def test_any_training_can_replay_with_workers(tmp_path: Path) -> None:
    store = make(tmp_path / "a", compression=EXACT)
    dataset, batches = replay(random_set(), store.folder, protocol())
    assert len(dataset) == 40 and len(batches) == 3
    for workers in (0, 2):
        batches.set_epoch(0)
        loader = DataLoader(dataset, batch_sampler=batches, num_workers=workers)
        epochs = [list(loader) for _ in range(3)]
        for epoch, seen in enumerate(epochs):
            assert [tuple(images.shape) for images, _ in seen] == [(8, 1, 8, 8), (8, 1, 8, 8), (4, 1, 8, 8)]
            for images, logits in seen:
                assert torch.equal(logits, by_teacher().teacher.logits(images)), epoch
        # Two epochs are stored, so that the third is the first.
        for (one, _), (other, _) in zip(epochs[0], epochs[2], strict=True):
            assert torch.equal(one, other)
        assert not torch.equal(epochs[0][0][0], epochs[1][0][0])
    image, logits = dataset[1, 2, 3]
    assert image.shape == (1, 8, 8) and logits.shape == (10,)


def test_what_is_shown_is_what_our_own_trainer_shows(tmp_path: Path) -> None:
    dataset, batches = replay(random_set(), make(tmp_path / "a"), protocol())
    lessons, training = Replayed(open_store(tmp_path / "a"), 10), protocol().training.bound(random_set().spec)
    images = random_set().spec.normalization.apply(random_set().decoded()[0])
    for batch, places in enumerate(batches):
        shown = torch.stack([image for image, _ in dataset.__getitems__(places)])
        rows = lessons.order(0)[batch]
        assert torch.equal(shown, training.seen(images[rows], lessons.draws(0, batch, rows)))


def test_what_cannot_be_labelled_is_refused_before_any_work(tmp_path: Path) -> None:
    for changes, message in (
        ({"ours": protocol().hard()}, "take one with soft labels"),
        ({"epochs_kept": 3}, "has 2 epochs for this set, of which 1 to 2 can be kept, not 3"),
        ({"epochs_kept": 0}, "can be kept, not 0"),
        ({"compression": Compression(top=-1)}, "top >= 0"),
    ):
        with pytest.raises(InputError, match=message):
            make(tmp_path / "a", **changes)
    store = make(tmp_path / "b")
    with pytest.raises(InputError, match="bring a teacher"):
        relabel(random_set(), Stored(store), protocol(), tmp_path / "a")
    assert not (tmp_path / "a").exists()
    with pytest.raises(InputError, match=r"holds other labels \(its about\.seed is 0, now 1"):
        make(tmp_path / "b", seed=1)
    with pytest.raises(InputError, match=r"the labels in .* are others \(its set\.digest"):
        replay(random_set(seed=1), store, protocol())
