from __future__ import annotations

from dataclasses import replace

import torch

from limbeck import networks
from limbeck.core.execution import Execution
from limbeck.core.streams import Stream, Streams
from limbeck.data import Data
from limbeck.training.lessons import Shuffled
from limbeck.training.settings import Training
from limbeck.training.taught import KnownTeacher, Taught

NETWORK = "convnet2:width=4,norm=batch"


def teacher(digits: Data, seed: int = 0) -> KnownTeacher:
    network = networks.build(NETWORK, digits.spec).to(torch.device("cpu"), torch.float32)
    return KnownTeacher(network, network.initial(Stream(seed)), digits.spec.class_names)


def test_a_teacher_says_what_its_network_says_and_stays_what_it_is(digits: Data) -> None:
    one, images = teacher(digits), Stream(1).normal(6, 1, 8, 8).float()
    before = {name: tensor.clone() for name, tensor in one.weights.items()}
    module = one.network.module(train=False)
    module.load_state_dict(one.weights)
    torch.testing.assert_close(one.logits(images), module(images))
    by_batch = one.logits(images, "train")
    assert not torch.allclose(by_batch, one.logits(images))
    assert not torch.allclose(by_batch[:3], one.logits(images[:3], "train"))
    assert all(torch.equal(tensor, before[name]) for name, tensor in one.weights.items())
    assert not one.logits(images).requires_grad


def test_identity_and_bytes(digits: Data) -> None:
    one, again, other = teacher(digits), teacher(digits), teacher(digits, 1)
    assert one.digest == again.digest != other.digest
    changed = replace(one, weights={**one.weights, "classifier.bias": one.weights["classifier.bias"] + 1e-6})
    assert changed.digest != one.digest
    assert one.bytes == sum(4 * t.numel() if t.dtype == torch.float32 else 8 for t in one.weights.values())
    assert one.as_plain() == {"network": NETWORK, "weights": one.digest, "bytes": one.bytes}


def test_labels_are_given_in_float32_whatever_a_teacher_was_trained_in(digits: Data) -> None:
    one, images = teacher(digits), Stream(1).normal(6, 1, 8, 8).float()
    low = one.network.to(torch.device("cpu"), torch.float64, Execution(precision="bfloat16", microbatch=4))
    weights = {name: t.double() if t.is_floating_point() else t for name, t in one.weights.items()}
    there = replace(one, network=low, weights=weights).on(torch.device("cpu"))
    assert there.network.execution == Execution(microbatch=4)
    assert there.digest == one.digest
    torch.testing.assert_close(there.logits(images), one.logits(images))


def test_lessons_are_those_of_others_with_logits(digits: Data) -> None:
    one, images = teacher(digits), Stream(1).normal(4, 1, 8, 8).float()
    batches = Shuffled(Streams(3), Training(batch_size=4, cutmix=1.0), digits.spec.shape, 10)
    lessons = Taught(batches, one)
    for own, other in zip(lessons.order(1), batches.order(1), strict=True):
        assert torch.equal(own, other)
    mix, wanted = lessons.draws(1, 0, torch.arange(4)).mix, batches.draws(1, 0, torch.arange(4)).mix
    assert mix is not None and wanted is not None and mix.box == wanted.box
    said = lessons.logits(1, 0, images)
    assert said is not None and torch.equal(said, one.logits(images))
    assert batches.logits(1, 0, images) is None
    by_batch = Taught(batches, one, "train").logits(1, 0, images)
    assert by_batch is not None and torch.equal(by_batch, one.logits(images, "train"))
