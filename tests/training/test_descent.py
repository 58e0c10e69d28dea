from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from limbeck.core.context import Context
from limbeck.core.streams import Streams
from limbeck.training.descent import move, moved, still
from limbeck.training.settings import Training
from tests.training.modules import start

SETTINGS: dict[str, dict[str, Any]] = {
    "sgd": {"optimizer": "sgd", "momentum": 0.7},
    "nesterov": {"optimizer": "sgd", "momentum": 0.7, "nesterov": True},
    "adam": {"optimizer": "adam", "betas": (0.8, 0.95)},
    "adamw": {"optimizer": "adamw", "betas": (0.8, 0.95)},
}


def reference(parameters: list[torch.Tensor], training: Training) -> torch.optim.Optimizer:
    decay = {"lr": 0.02, "weight_decay": 0.1}
    if training.optimizer == "sgd":
        return torch.optim.SGD(parameters, momentum=training.momentum, nesterov=training.nesterov, **decay)
    kind = torch.optim.AdamW if training.optimizer == "adamw" else torch.optim.Adam
    return kind(parameters, betas=training.betas, **decay)


@pytest.mark.parametrize("name", SETTINGS)
def test_moves_are_torch_s(context_of: Callable[..., Context], name: str) -> None:
    network, weights = start(context_of())
    training = Training(lr=0.02, weight_decay=0.1, **SETTINGS[name])
    velocity, names = still(network, weights, training), network.parameter_names()
    assert list(moved(velocity, training)) == list(names)
    parameters = [weights[one].clone().requires_grad_() for one in names]
    optimizer = reference(parameters, training)
    for number in range(4):
        gradients = [
            Streams(number)("slope", place).normal(*one.shape).double() for place, one in enumerate(parameters)
        ]
        for one, gradient in zip(parameters, gradients, strict=True):
            one.grad = gradient.clone()
        optimizer.step()
        move([weights[one] for one in names], gradients, list(names), velocity, training, 0.02)
        for key, one in zip(names, parameters, strict=True):
            torch.testing.assert_close(weights[key], one.detach(), rtol=1e-11, atol=1e-12)


def test_biases_of_several_networks_are_told_by_their_own_axes() -> None:
    # Two networks' biases, of shape [2, 3] together, are no matrix.
    leaves = [torch.ones(2, 3), torch.ones(2, 3, 4)]
    training = Training(lr=1.0, momentum=0.0, weight_decay=0.5, decay="matrices")
    velocity = {"bias": torch.zeros(2, 3), "weight": torch.zeros(2, 3, 4)}
    move(leaves, [torch.zeros_like(one) for one in leaves], ["bias", "weight"], velocity, training, 1.0, axes=1)
    assert (leaves[0] == 1).all() and (leaves[1] == 0.5).all()
