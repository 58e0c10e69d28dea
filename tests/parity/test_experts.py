"""Training of experts against recorded steps of the authors' codes of FTD and AST, in float64."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from limbeck import networks
from limbeck.core.network import FunctionalNetwork, Weights
from limbeck.core.real import DataSpec, Normalization
from limbeck.ops import sharpness
from limbeck.training.expert_groups import mean_change, squared_change
from limbeck.training.expert_training import ExpertBatch, ExpertTraining, _gradient, _slopes, expert_step
from limbeck.training.settings import BatchDraws, Training
from limbeck.training.supervised import still
from tests.parity.vectors_dir import find

GSAM, SMOOTH, SCHEDULES = find("ftd_gsam_"), find("ast_expert_"), find("ast_schedules")
TOLERANCE = 1e-9

every_gsam = pytest.mark.parametrize("path", GSAM, ids=lambda path: path.stem)
every_smooth = pytest.mark.parametrize("path", SMOOTH, ids=lambda path: path.stem)


def near(ours: Tensor | float, theirs: Any) -> None:
    """Equal up to the tolerance, relative to the largest number."""
    expected = torch.as_tensor(theirs)
    found = torch.as_tensor(ours, dtype=torch.float64).detach().reshape(expected.shape)
    assert float((found - expected).abs().max()) <= TOLERANCE * float(expected.abs().max())


def network_of(arrays: Any) -> FunctionalNetwork:
    depth, width, channels, height, side, classes = arrays["arch"].tolist()
    names = tuple(map(str, range(classes)))
    spec = DataSpec("recorded", channels, height, side, names, Normalization((0.0,) * channels, (1.0,) * channels), "")
    network = networks.build(f"convnet{depth}:width={width}", spec).to(torch.device("cpu"), torch.float64)
    shapes = [tuple(size for size in row if size) for row in arrays["param_shapes"].tolist()]
    weights = network.module().state_dict()
    assert [tuple(weights[name].shape) for name in network.parameter_names()] == shapes
    return network


def unflat(network: FunctionalNetwork, vector: Any) -> Weights:
    """A recorded vector by our names, whose order is the recorded one."""
    shapes = {name: network.module().state_dict()[name].shape for name in network.parameter_names()}
    pieces = torch.tensor(vector).split([shape.numel() for shape in shapes.values()])
    return {name: piece.reshape(shape).clone() for (name, shape), piece in zip(shapes.items(), pieces, strict=True)}


def flat(weights: Weights) -> Tensor:
    return torch.cat([tensor.detach().flatten() for tensor in weights.values()])


def batch_of(arrays: Any, step: int) -> ExpertBatch:
    return ExpertBatch(torch.tensor(arrays["images"][step]), torch.tensor(arrays["labels"][step]), BatchDraws({}, None))


def gradient_of(
    network: FunctionalNetwork, weights: Weights, batch: ExpertBatch, clip: float, penalty: Any, weight: float
) -> tuple[Weights, Tensor]:
    count = len(batch.labels)
    found, loss, _ = _gradient(
        network,
        weights,
        {},
        batch.plain,
        batch.plain,
        batch.labels,
        batch.labels,
        torch.ones(count, dtype=torch.float64),
        torch.full((count,), 1 / count, dtype=torch.float64),
        torch.tensor(clip, dtype=torch.float64),
        penalty=penalty,
        weight=weight,
        target=1.0,
        one_sided=False,
    )
    return found, loss


@every_gsam
def test_the_two_gradients_of_gsam_and_its_direction(path: Path) -> None:
    arrays = np.load(path)
    network, rho, alpha = network_of(arrays), float(arrays["rho"]), float(arrays["alpha"])
    for step in range(len(arrays["images"])):
        weights, batch = unflat(network, arrays["params"][step]), batch_of(arrays, step)
        clean, loss = gradient_of(network, weights, batch, 1.0, "none", 0.0)
        near(loss, arrays["loss"][step])
        near(flat(clean), arrays["grad_clean"][step])
        moved = sharpness.ascend(weights, clean, rho, adaptive=True)
        near(flat(moved) - flat(weights), arrays["eps_w"][step])
        sharp, _ = gradient_of(network, moved, batch, 1.0, "none", 0.0)
        near(flat(sharp), arrays["grad_perturbed"][step])
        near(flat(sharpness.descend(clean, sharp, alpha)), arrays["direction"][step])


@every_gsam
def test_experts_of_ftd_take_its_steps(path: Path) -> None:
    arrays = np.load(path)
    network = network_of(arrays)
    training = Training(
        lr=float(arrays["lr"]), momentum=float(arrays["momentum"]), weight_decay=float(arrays["weight_decay"])
    )
    course = ExpertTraining(training=training, rho=float(arrays["rho"]), surrogate=float(arrays["alpha"]))
    weights = unflat(network, arrays["params"][0])
    velocity = still(network, weights, training)
    for step in range(len(arrays["images"])):
        loss, _ = expert_step(network, weights, velocity, [batch_of(arrays, step)], course, 0)
        near(loss, arrays["loss"][step])
        near(flat(weights), arrays["params"][step + 1])


@every_smooth
def test_losses_penalties_and_their_gradients(path: Path) -> None:
    arrays = np.load(path)
    network, lam = network_of(arrays), float(arrays["lam"])
    weights, batch = unflat(network, arrays["theta"]), batch_of(arrays, 0)
    plain, entropy = gradient_of(network, weights, batch, 1.0, "none", 0.0)
    near(entropy, arrays["ce"])
    near(flat(plain), arrays["grad_ce"])
    near(gradient_of(network, weights, batch, lam, "none", 0.0)[1], arrays["clipped_ce"])
    slopes = _slopes(network, weights, batch.plain, batch.labels, "sample", functional=False)
    near(slopes, arrays["input_grad_sum_logits"])
    recorded = {
        "sample": ("gp_sample", "grad_gp_sample"),
        "channel": ("gp_channel", "grad_gp_channel"),
        "true_logit": ("gp_true_logit_sample", None),
        "loss": ("gp_loss_sample", None),
    }
    for penalty, (value, gradient) in recorded.items():
        found, loss = gradient_of(network, weights, batch, 0.0, penalty, 1.0)
        near(loss, arrays[value])
        if gradient is not None:
            near(flat(found), arrays[gradient])
    found, loss = gradient_of(network, weights, batch, lam, "sample", 1.0)
    near(loss, arrays["paper_loss"])
    near(flat(found), arrays["paper_grad"])


@every_smooth
@pytest.mark.parametrize("whose", ["code", "paper"])
def test_experts_of_ast_take_its_steps(path: Path, whose: str) -> None:
    arrays = np.load(path)
    network = network_of(arrays)
    training = Training(
        lr=float(arrays["code_lr"]),
        momentum=float(arrays["code_momentum"]),
        weight_decay=float(arrays["code_weight_decay"]),
    )
    course = ExpertTraining(
        training=training,
        clip=(float(arrays["lam"]),),
        penalty="channel" if whose == "code" else "sample",
        penalty_weight=float(arrays["code_lambda_gp"]) if whose == "code" else 1.0,
    )
    weights, changes = unflat(network, arrays["theta"]), []
    velocity = still(network, weights, training)
    near(flat(weights), arrays[f"{whose}_params"][0])
    for step in range(len(arrays["images"])):
        before = {name: tensor.clone() for name, tensor in weights.items()}
        loss, _ = expert_step(network, weights, velocity, [batch_of(arrays, step)], course, 0)
        near(flat(weights), arrays[f"{whose}_params"][step + 1])
        changes.append(squared_change(before, weights))
        if whose == "code":
            near(loss, arrays["code_losses"][step])
            near(changes[-1], arrays["code_step_sq"][step])
    if whose == "code":
        near(mean_change(changes), arrays["code_avg_var"])


@pytest.mark.parametrize("path", SCHEDULES, ids=lambda path: path.stem)
@pytest.mark.parametrize(
    ("whose", "clip", "drops", "factor"),
    [
        ("paper", (0.5, 0.6, 0.7, 0.8, 0.9), (25,), 0.5),
        ("code", tuple(0.5 + 0.05 * epoch for epoch in range(10)), (27,), 0.6),
    ],
)
def test_schedules_of_ast(
    path: Path, whose: str, clip: tuple[float, ...], drops: tuple[int, ...], factor: float
) -> None:
    arrays = np.load(path)
    course = ExpertTraining(training=Training(lr=1.0), clip=clip, drops=drops, drop_factor=factor)
    epochs = range(len(arrays[f"lambda_{whose}"]))
    near(torch.tensor([course.factor(epoch) for epoch in epochs], dtype=torch.float64), arrays[f"lambda_{whose}"])
    near(torch.tensor([course.lr(epoch) for epoch in epochs], dtype=torch.float64), arrays[f"lr_{whose}"])
    assert [epoch for epoch in epochs if course.forgets(epoch)] == list(drops)
