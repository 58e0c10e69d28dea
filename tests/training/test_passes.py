"""Passes over a few images at a time add up to the whole."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
import torch

from limbeck.core.batch import View
from limbeck.core.context import Context
from limbeck.core.execution import Execution, can_compile
from limbeck.training.lessons import SoftLoss
from limbeck.training.passes import as_convolved, forward, padded, portions
from limbeck.training.supervised import Training, still, supervised_step, taught_step

ContextOf = Callable[..., Context]
ViewOf = Callable[..., View]

needs_compiler = pytest.mark.skipif(not can_compile(torch.device("cpu")), reason="there is no C++ compiler")


@pytest.fixture(autouse=True)
def _forget_programs() -> Iterator[None]:
    yield
    torch.compiler.reset()


@pytest.mark.parametrize("size", [0, 1, 3, 7, 20])
@pytest.mark.parametrize("compiled", [False, True])
def test_portions_hold_every_image_once(size: int, compiled: bool) -> None:
    images, labels = torch.arange(1.0, 8.0).view(7, 1, 1, 1), torch.arange(7)
    parts = list(portions(Execution(microbatch=size, compile=compiled), images, labels))
    shares = torch.cat([share for _, _, share in parts])
    taken = shares > 0
    assert torch.equal(torch.cat([some for some, _, _ in parts])[taken], images)
    assert torch.equal(torch.cat([which for _, which, _ in parts])[taken], labels)
    torch.testing.assert_close(shares.sum(), torch.tensor(1.0))
    if compiled and size:
        assert {len(some) for some, _, _ in parts} == {size}


def test_a_batch_that_must_stay_whole_does() -> None:
    ((some, _, _),) = portions(Execution(microbatch=2), torch.zeros(5, 1, 2, 2), torch.zeros(5), whole=True)
    assert len(some) == 5


def test_padding_and_layout_keep_the_numbers() -> None:
    x = torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(0))
    assert torch.equal(as_convolved(x), x) and as_convolved(x).is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(padded(x, 4)[:2], x) and not padded(x, 4)[2:].any() and padded(x, 1) is x


@pytest.mark.parametrize("output", ["logits", "embedding"])
@pytest.mark.parametrize(
    "execution", [Execution(microbatch=5), pytest.param(Execution(microbatch=5, compile=True), marks=needs_compiler)]
)
def test_forward(context_of: ContextOf, view_of: ViewOf, output: str, execution: Execution) -> None:
    context = context_of()
    plain = view_of(context, "convnet1:norm=batch,width=4")
    images = context.data.images(torch.arange(12))
    expected = plain.network(plain.weights, images, output, train=False)
    network = replace(context, execution=execution).network("convnet1:norm=batch,width=4")
    torch.testing.assert_close(forward(network, plain.weights, images, output), expected, rtol=1e-12, atol=1e-12)


@needs_compiler
@pytest.mark.parametrize("name", ["convnet1:width=4", "convnet1:norm=batch,width=4"])
def test_a_compiled_training_step_is_the_plain_one(context_of: ContextOf, view_of: ViewOf, name: str) -> None:
    """With an incomplete batch, CutMix, momentum, and batch norm that records its statistics."""
    context, training = context_of(), Training(batch_size=8, lr=0.1, cutmix=1.0)
    reached = []
    for execution in (Execution(), Execution(compile=True, microbatch=4)):
        network = replace(context, execution=execution).network(name)
        weights = network.initial(context.streams("network"))
        velocity, losses = still(network, weights, training), []
        for number, count in enumerate((8, 5, 8)):
            rows = torch.arange(count) + number
            draws = training.draw(context.streams, context.spec.shape, count, number)
            images, labels = context.data.images(rows), context.data.labels[rows]
            losses.append(supervised_step(network, weights, velocity, images, labels, training, draws, 0.1))
        reached.append((torch.stack(losses), weights))
    torch.testing.assert_close(reached[1][0], reached[0][0], rtol=1e-11, atol=0)
    for key, tensor in reached[0][1].items():
        torch.testing.assert_close(reached[1][1][key], tensor, rtol=1e-10, atol=1e-12)


@needs_compiler
def test_a_compiled_taught_step_is_the_plain_one(context_of: ContextOf, view_of: ViewOf) -> None:
    """With an incomplete batch, whose part of the program is filled up."""
    context, training = context_of(), Training(batch_size=8, lr=0.1, decay="matrices")
    reached = []
    for execution in (Execution(), Execution(compile=True, microbatch=4)):
        network = replace(context, execution=execution).network("convnet1:width=4")
        weights = network.initial(context.streams("network"))
        velocity, losses = still(network, weights, training), []
        for number, count in enumerate((8, 5, 8)):
            images = context.data.images(torch.arange(count) + number)
            logits = context.streams("teacher", number).normal(count, 3)
            soft = SoftLoss(temperature=3.0, square=True)
            losses.append(taught_step(network, weights, velocity, images, logits, soft, training, 0.1))
        reached.append((torch.stack(losses), weights))
    torch.testing.assert_close(reached[1][0], reached[0][0], rtol=1e-11, atol=0)
    for key, tensor in reached[0][1].items():
        torch.testing.assert_close(reached[1][1][key], tensor, rtol=1e-10, atol=1e-12)
