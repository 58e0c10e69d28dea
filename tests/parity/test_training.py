"""IDC's network training and evaluation schedule against recorded steps."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from limbeck.core.network import FunctionalNetwork, Weights
from limbeck.core.real import DataSpec, Normalization
from limbeck.core.streams import Streams
from limbeck.evaluation.protocols import idc
from limbeck.networks import build
from limbeck.ops import cutmix
from limbeck.training.supervised import BatchDraws, Mix, Training, fit, still, supervised_step
from tests.parity.vectors_dir import find
from tests.parity.weights import load_convnet_weights

FILES = find("idc_train")
TOLERANCE = 1e-9
NO_SCALE = Normalization((0.0,) * 3, (1.0,) * 3)


def network_of(arrays: np.lib.npyio.NpzFile, prefix: str) -> tuple[FunctionalNetwork, Weights]:
    weights = load_convnet_weights(arrays, prefix, arrays["init_names"])
    kernels = [tensor for tensor in weights.values() if tensor.ndim == 4]
    classes = next(tensor for tensor in weights.values() if tensor.ndim == 2).shape[0]
    names = tuple(map(str, range(classes)))
    spec = DataSpec("recorded", *arrays["x"].shape[1:], names, NO_SCALE, "recorded")
    network = build(f"convnet{len(kernels)}:width={kernels[0].shape[0]}", spec)
    return network.to(torch.device("cpu"), torch.float64), weights


def same(weights: Weights, expected: Weights) -> None:
    assert weights.keys() == expected.keys()
    for name, tensor in expected.items():
        torch.testing.assert_close(weights[name].detach(), tensor, rtol=0, atol=TOLERANCE, msg=name)


def data_of(arrays: np.lib.npyio.NpzFile) -> tuple[Tensor, Tensor]:
    return torch.tensor(arrays["x"]), torch.tensor(arrays["y"])


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_step_with_cutmix(path: Path) -> None:
    arrays = np.load(path)
    network, weights = network_of(arrays, "init_")
    images, labels = data_of(arrays)
    lam, row, column = arrays["cutmix_par"].tolist()
    box = cutmix.box(lam, int(row), int(column), *images.shape[-2:])
    draws = BatchDraws({}, Mix(torch.tensor(arrays["perm"]), box))
    training = Training(lr=0.05, momentum=0.9, weight_decay=5e-4)
    loss = supervised_step(
        network, weights, still(network, weights, training), images, labels, training, draws, training.lr
    )
    torch.testing.assert_close(loss, torch.tensor(arrays["cutmix_loss"]), rtol=0, atol=TOLERANCE)
    same(weights, load_convnet_weights(arrays, "cutmix_", arrays["init_names"]))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_evaluation_schedule(path: Path) -> None:
    arrays = np.load(path)
    network, weights = network_of(arrays, "eval_init_")
    images, labels = data_of(arrays)
    rates = arrays["eval_lr"].tolist()
    protocol = idc()
    protocol = replace(protocol, length=len(rates))
    total = len(labels)
    ours = [protocol.lr(epoch, total, rates[0]) for epoch in range(len(rates))]
    assert ours == pytest.approx(rates, abs=1e-15)
    training = replace(protocol.training, augmentation=None, cutmix=0.0)
    assert protocol.steps(total) == len(rates)
    for _ in fit(
        network,
        weights,
        # A full batch has the same gradient in any order, but float64 sums differ in the last digit.
        lambda rows: images[rows],
        labels,
        training,
        Streams(0),
        tuple(images.shape[1:]),
        lambda epoch: ours[epoch],
        protocol.steps(total),
    ):
        pass
    same(weights, load_convnet_weights(arrays, "eval_final_", arrays["init_names"]))
