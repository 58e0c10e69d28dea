"""The official loop of DC and its evaluation, end to end, with every recorded random choice, through our engine."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from limbeck.core.context import Context
from limbeck.core.real import Normalization
from limbeck.core.streams import Streams
from limbeck.engine.loop import Loop
from limbeck.evaluation.protocols import dc as dc_protocol
from limbeck.methods.dc import dc
from limbeck.networks import build
from limbeck.training.supervised import accuracy, fit
from tests.parity.recorded import Given, RecordedNetwork, RecordedSet, ReplayStreams
from tests.parity.test_training import network_of, same
from tests.parity.vectors_dir import find
from tests.parity.weights import load_convnet_weights

TOLERANCE = 1e-8
SCALE = Normalization((0.5,) * 3, (0.25,) * 3)


@pytest.mark.parametrize("path", find("dc_trace"), ids=lambda path: path.stem)
@pytest.mark.parametrize("class_block", [1, 2, 10])
def test_dc(path: Path, class_block: int) -> None:
    arrays = np.load(path)
    hyper = arrays["hyper"].tolist()
    iterations, steps, epochs, batch, ipc = map(int, hyper[:5])
    lr, momentum, network_lr = hyper[5:]
    data = RecordedSet(torch.tensor(arrays["images_u8"]), torch.tensor(arrays["labels"]), SCALE)
    classes = data.spec.classes
    kernels = [
        shape for shape in (arrays[f"net0_p{i:02d}"].shape for i in range(len(arrays["names"]))) if len(shape) == 4
    ]
    recorded = {("network", life): [] for life in range(iterations)}
    for life, step, label in np.ndindex(arrays["real_idx"].shape[:3]):
        members = data.class_rows(label).tolist()
        chosen = arrays["real_idx"][life, step, label].tolist()
        recorded["real", label, life * steps + step] = [torch.tensor([members.index(row) for row in chosen])]
    stored = torch.tensor(arrays["syn0"]).unflatten(0, (classes, ipc))
    recipe = dc("cifar10", ipc).with_(
        initializer=Given(stored=SCALE.invert(stored)),
        sampler__batch_size=batch,
        curriculum__iterations=iterations,
        curriculum__steps=steps,
        optimizer__lr=lr,
        optimizer__momentum=momentum,
        pool__network=f"convnet{len(kernels)}:width={kernels[0][0]}",
        pool__epochs=epochs,
        pool__training__lr=network_lr,
    )
    lives = [load_convnet_weights(arrays, f"net{life}_") for life in range(iterations)]
    context = Context(
        data=data,
        ipc=ipc,
        streams=ReplayStreams(recorded),
        build=lambda name, spec: RecordedNetwork(build(name, spec), lives),
        dtype=torch.float64,
    )
    recipe.check(context)
    loop = Loop(recipe, context, class_block=class_block)
    state = loop.start()
    losses, images = [], []
    for _ in range(loop.length()):
        state, loss = loop.step(state)
        losses.append(loss)
        images.append(state.stored)
    expected = torch.tensor(arrays["match_loss"]).flatten(0, 1)
    torch.testing.assert_close(torch.stack(losses), expected, rtol=TOLERANCE, atol=TOLERANCE)
    first = torch.tensor(arrays["syn_round0"])[0].unflatten(0, (classes, ipc))
    torch.testing.assert_close(images[0], first, rtol=0, atol=1e-9)
    ends = torch.tensor(arrays["syn"]).unflatten(1, (classes, ipc))
    torch.testing.assert_close(torch.stack(images[steps - 1 :: steps]), ends, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("path", find("dc_eval_trace"), ids=lambda path: path.stem)
def test_evaluation(path: Path) -> None:
    arrays = np.load(path)
    network, weights = network_of(arrays, "init_")
    images, labels = torch.tensor(arrays["x"]), torch.tensor(arrays["y"])
    rates = arrays["lr_per_step"].tolist()
    protocol = dc_protocol(epochs=int(arrays["epoch_eval_train"]))
    protocol = replace(protocol, training=replace(protocol.training, lr=rates[0]))
    total = len(labels)
    assert protocol.steps(total) == len(rates)
    assert [protocol.lr(epoch, total) for epoch in range(len(rates))] == pytest.approx(rates, abs=1e-15)
    for _ in fit(
        network,
        weights,
        lambda rows: images[rows],
        labels,
        protocol.training,
        Streams(0),
        tuple(images.shape[1:]),
        lambda epoch: protocol.lr(epoch, total),
        protocol.steps(total),
        protocol.forgets,
    ):
        pass
    same(weights, load_convnet_weights(arrays, "final_", arrays["init_names"]))
    assert accuracy(network, weights, lambda rows: images[rows], labels[:4]) == float(arrays["test_acc"])
