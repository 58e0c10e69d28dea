from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch.utils.data import DataLoader

from limbeck.core.distilled import Distilled, by_segment
from limbeck.core.errors import InputError
from limbeck.core.recipe import Recipe
from limbeck.core.streams import Stream
from limbeck.data import Data
from limbeck.data.images import ImageSet
from limbeck.methods.random import random
from limbeck.methods.sre2l import sre2l
from limbeck.parametrizations.partition import Partition
from limbeck.parametrizations.plain import Plain


@pytest.fixture
def make(portion: Callable[..., ImageSet]) -> Callable[..., Distilled]:
    def build(recipe: Recipe | None = None, ipc: int = 2, scale: float = 1.0, channels: int = 1) -> Distilled:
        data = portion(3, 4, channels)
        stored = Stream(0).uniform(3, ipc, *data.spec.shape).float() * scale
        return Distilled(stored, data.spec, recipe or random(), seed=1)

    return build


def test_decoded_is_the_parametrization_class_by_class(make: Callable[..., Distilled]) -> None:
    partition = Partition(factor=2)
    distilled = make(random().with_(parametrization=partition))
    images, labels = distilled.decoded()
    assert labels.tolist() == [0] * 8 + [1] * 8 + [2] * 8
    for label in range(3):
        assert torch.equal(images[8 * label : 8 * label + 8], partition.decode(distilled.stored[label]))
    assert distilled.ipc == 2


def test_normalized_space_is_inverted(make: Callable[..., Distilled]) -> None:
    unit = make()
    stored = unit.spec.normalization.apply(unit.stored)
    normalized = replace(unit, stored=stored, recipe=random().with_(parametrization=Plain(space="normalized")))
    torch.testing.assert_close(normalized.decoded()[0], unit.decoded()[0])
    torch.testing.assert_close(unit.decoded()[0], unit.stored.flatten(0, 1), rtol=0, atol=0)


def test_uint8_storage_clamps_and_rounds(make: Callable[..., Distilled]) -> None:
    distilled = make(scale=2.0)
    small = distilled.stored_as("uint8")
    assert small.stored.dtype == torch.uint8 and small.stored.max() == 255
    inside = distilled.stored <= 1
    assert ((distilled.stored * 255 - small.stored.float()).abs()[inside] <= 0.5001).all()
    assert (small.stored[~inside] == 255).all()
    assert small.stored_as("uint8").stored is small.stored
    assert torch.equal(small.values(small.stored), small.stored.float() / 255)
    assert torch.equal(small.decoded()[0], small.stored.flatten(0, 1).float() / 255)
    assert torch.equal(small.stored_as("float32").stored, small.stored.float() / 255)


def test_levels_are_of_training_images(make: Callable[..., Distilled]) -> None:
    distilled = make()
    small = distilled.stored_as("uint8")
    levels = small.levels()
    assert levels is not None and torch.equal(levels, small.stored.flatten(0, 1))
    assert distilled.levels() is None  # not kept in 8 bits
    assert make(random().with_(parametrization=Partition(factor=2))).stored_as("uint8").levels() is None


def test_levels_of_normalized_space_stand_for_its_numbers(make: Callable[..., Distilled]) -> None:
    unit = make()
    normalization = unit.spec.normalization
    recipe = sre2l("digits").with_(parametrization=Plain(space="normalized"))
    small = replace(unit, stored=normalization.apply(unit.stored), recipe=recipe).stored_as("uint8")
    exact = (unit.stored * 255).round() / 255
    torch.testing.assert_close(small.values(small.stored), normalization.apply(exact), rtol=0, atol=1e-5)
    torch.testing.assert_close(small.decoded()[0], exact.flatten(0, 1), rtol=0, atol=1e-5)
    assert torch.equal(small.stored, (exact * 255).round().to(torch.uint8))


def test_bytes_count_pixels(make: Callable[..., Distilled]) -> None:
    distilled = make()
    assert distilled.bytes == 3 * 2 * 64 * 4
    assert distilled.stored_as("uint8").bytes == 3 * 2 * 64
    assert distilled.stored_as("float32").stored is distilled.stored


def test_uint8_needs_unit_space(make: Callable[..., Distilled]) -> None:
    with pytest.raises(ValueError, match="uint8 storage needs images in"):
        make(random().with_(parametrization=Plain(space="normalized"))).stored_as("uint8")


def test_dataset_feeds_a_data_loader(make: Callable[..., Distilled]) -> None:
    distilled = make()
    dataset = distilled.dataset()
    assert len(dataset) == 6
    images, labels = next(iter(DataLoader(dataset, batch_size=6)))
    assert torch.equal(images, distilled.decoded()[0])
    assert labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert isinstance(dataset[5][1], int)


def test_dataset_of_levels_gives_their_numbers(make: Callable[..., Distilled]) -> None:
    small = make().stored_as("uint8")
    dataset = small.dataset(normalize=True)
    assert dataset.images.dtype == torch.uint8
    images, labels = next(iter(DataLoader(dataset, batch_size=6)))
    assert torch.equal(images, small.spec.normalization.apply(small.decoded()[0]))
    assert labels.tolist() == [0, 0, 1, 1, 2, 2]


def test_dataset_transforms_in_unit_space_then_normalizes(make: Callable[..., Distilled]) -> None:
    distilled = make()
    dataset = distilled.dataset(transform=lambda image: image.flip(-1), normalize=True)
    expected = distilled.spec.normalization.apply(distilled.stored[1, 0].flip(-1))
    assert torch.equal(dataset[2][0], expected)


def test_whitened_images_are_not_rounded_to_grey_levels(whitened: Data) -> None:
    stored = whitened.spec.normalization.apply(Stream(0).uniform(10, 1, 1, 8, 8).float())
    recipe = sre2l("digits")
    made = Distilled(stored, whitened.spec, recipe, seed=0)
    with pytest.raises(ValueError, match="stored in normalized space"):
        made.stored_as("uint8")
    made.stored_as("float32")


def test_what_was_learnt_beside_the_pixels(make: Callable[..., Distilled]) -> None:
    plain = make()
    assert (plain.student_lr, plain.soft_labels, plain.label_bytes) == (None, None, 0)
    chances = Stream(2).uniform(3, 2, 3).softmax(-1)
    learnt = {"student_lr": torch.tensor(0.0123, dtype=torch.float64), "labels": chances}
    carrying = replace(plain, learnt=learnt)
    assert carrying.student_lr == 0.0123
    assert carrying.soft_labels is not None and carrying.soft_labels.dtype == torch.float32
    assert torch.equal(carrying.soft_labels, chances.view(6, 3).float())
    assert (carrying.label_bytes, carrying.bytes) == (6 * 3 * 4, plain.bytes)
    assert carrying.stored_as("uint8").learnt is learnt
    assert torch.equal(carrying.decoded()[1], plain.decoded()[1])
    images, labels = next(iter(DataLoader(carrying.dataset(), batch_size=6)))
    assert torch.equal(labels, carrying.soft_labels) and len(images) == 6
    loss = torch.nn.functional.cross_entropy(torch.zeros(6, 3), labels)
    assert float(loss) == pytest.approx(torch.log(torch.tensor(3.0)).item())


def test_a_prefix_ends_where_a_segment_does(make: Callable[..., Distilled]) -> None:
    whole = replace(make(ipc=4), segments=(2, 1, 1))
    part = whole.prefix(3)
    assert part.segments == (2, 1) and torch.equal(part.stored, whole.stored[:, :3])
    assert part.stored.untyped_storage().nbytes() == part.stored.nbytes
    assert torch.equal(part.prefix(2).stored, whole.stored[:, :2])
    with pytest.raises(InputError, match=r"after 1 images per class, but after \[2, 3, 4\]"):
        whole.prefix(1)
    with pytest.raises(InputError, match="learnt together"):
        make(ipc=4).prefix(2)


def test_a_prefix_has_the_numbers_that_its_last_segment_learnt(make: Callable[..., Distilled]) -> None:
    rates = [{"student_lr": torch.tensor(value, dtype=torch.float64)} for value in (0.3, 0.2, 0.1)]
    whole = replace(make(ipc=4), segments=(2, 1, 1), learnt=by_segment(rates))
    assert whole.student_lr == 0.1 and whole.learnt["segment_student_lr"].tolist() == [0.3, 0.2, 0.1]
    part = whole.prefix(3)
    assert part.student_lr == 0.2 and part.learnt["segment_student_lr"].tolist() == [0.3, 0.2]
    assert part.prefix(2).student_lr == 0.3
    assert by_segment([{}, {}]) == by_segment([]) == {}
