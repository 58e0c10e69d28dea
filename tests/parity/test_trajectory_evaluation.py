"""How MTT and AST judge a set, and FTD's average of the images, against recorded runs of the authors' code."""

from __future__ import annotations

import functools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from limbeck.core.batch import Moment
from limbeck.core.context import Context
from limbeck.core.network import FunctionalNetwork, Weights
from limbeck.core.real import DataSpec
from limbeck.core.streams import Streams
from limbeck.evaluation.protocols import Protocol, ast_official, mtt
from limbeck.evaluation.students import train
from limbeck.networks import build
from limbeck.optimizers.sgd import SGD
from limbeck.training.passes import forward
from limbeck.training.supervised import accuracy
from tests.parity.recorded import NO_NORMALIZATION, RecordedSet
from tests.parity.vectors_dir import find

TOLERANCE = 1e-9
FILES = [
    *((path, "mtt", mtt()) for path in find("eval_mtt")),
    *((path, "ast", ast_official()) for path in find("ast_eval")),
]


def network_of(arrays: np.lib.npyio.NpzFile) -> tuple[FunctionalNetwork, DataSpec]:
    depth, width, channels, height, columns, classes = arrays["arch"].tolist()
    names = tuple(map(str, range(classes)))
    spec = DataSpec("recorded", channels, height, columns, names, NO_NORMALIZATION, "recorded")
    network = build(f"convnet{depth}:width={width}", spec).to(torch.device("cpu"), torch.float64)
    return network, spec


def weights_of(network: FunctionalNetwork, flat: Tensor) -> Weights:
    """A flat vector, in the order of our parameters, which is the recorded one: block by block, then the classifier."""
    weights, first = {}, 0
    for name, tensor in network.initial(Streams(0)("network")).items():
        weights[name] = flat[first : first + tensor.numel()].reshape(tensor.shape).clone()
        first += tensor.numel()
    assert first == flat.numel()
    return weights


def shortened(protocol: Protocol, epochs: int, name: str) -> Protocol:
    """The protocol for so many epochs, in batches without augmentation, as it was recorded."""
    made = {"mtt": mtt, "ast": ast_official}[name](epochs=epochs)
    assert replace(made, length=protocol.length, drops=protocol.drops) == protocol
    return replace(made, training=replace(made.training, augmentation=None))


@pytest.mark.parametrize(("path", "name", "protocol"), FILES, ids=[path.stem for path, *_ in FILES])
def test_training_and_judging(path: Path, name: str, protocol: Protocol) -> None:
    arrays = np.load(path)
    network, spec = network_of(arrays)
    weights = weights_of(network, torch.tensor(arrays["theta"]))
    images, labels = torch.tensor(arrays["images"]), torch.tensor(arrays["labels"])
    tests, answers = torch.tensor(arrays["test_images"]), torch.tensor(arrays["test_labels"])
    look = functools.partial(accuracy, network, weights, lambda rows: tests[rows], answers)
    best = train(
        network,
        weights,
        lambda rows: images[rows],
        labels,
        spec,
        shortened(protocol, int(arrays["epochs"]), name),
        float(arrays["lr"]),
        Streams(0),
        look=look,
    )
    expected = weights_of(network, torch.tensor(arrays[f"{name}_params"]))
    for key, tensor in expected.items():
        torch.testing.assert_close(weights[key].detach(), tensor, rtol=0, atol=TOLERANCE, msg=key)
    logits = forward(network, weights, tests)
    torch.testing.assert_close(logits, torch.tensor(arrays[f"{name}_test_logits"]), rtol=0, atol=TOLERANCE)
    last = float((logits.argmax(dim=1) == answers).double().mean())
    assert look() == last
    # The recorded figure of AST is the best of its looks, that of MTT the last.
    assert (best if name == "ast" else last) == float(arrays[f"{name}_acc"])
    assert best is not None or name == "mtt"


@pytest.mark.parametrize("path", find("ftd_ema"), ids=lambda path: path.stem)
def test_average_of_the_images(path: Path) -> None:
    arrays = np.load(path)
    recorded, expected = torch.tensor(arrays["images_seq"]), torch.tensor(arrays["ema_seq"])
    images = recorded[0].unsqueeze(1)
    data = RecordedSet((images[:, 0] * 0).byte(), torch.arange(len(images)), NO_NORMALIZATION)
    context = Context(data=data, ipc=1, streams=Streams(0), build=build, dtype=torch.float64)
    # One plain step of size 1 towards the next recorded images.
    optimizer = SGD(
        lr=1.0, momentum=0.0, turns="joint", scale_with_ipc=False, clamp=False, average=float(arrays["decay"])
    )
    state, stored = optimizer.init(context), images
    torch.testing.assert_close(optimizer.result(state, stored)[:, 0], expected[0], rtol=0, atol=0)
    for step, target in enumerate(recorded[1:], start=1):
        gradients = stored - target.unsqueeze(1)
        state, stored = optimizer.update(state, stored, gradients, context, Moment(step, 0, 1))
        torch.testing.assert_close(optimizer.result(state, stored)[:, 0], expected[step], rtol=0, atol=1e-12)
        torch.testing.assert_close(stored[:, 0], target, rtol=0, atol=1e-12)
