from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from limbeck.augmentations.dsa_augment import DSAAugment
from limbeck.core.context import Context
from limbeck.core.errors import InputError
from limbeck.core.execution import Execution
from limbeck.core.network import FunctionalNetwork, Weights
from limbeck.training.ensemble import side_by_side, stack
from limbeck.training.expert_training import ExpertBatch, ExpertTraining, expert_step
from limbeck.training.settings import Training
from limbeck.training.supervised import still, watched_step

NETWORK = "convnet2:width=4"
SHAPE = (1, 8, 8)
PLAIN = Training(lr=0.05, momentum=0.9, weight_decay=0.01, batch_size=9)


def batch_of(context: Context, training: Training, number: int, expert: int = 0) -> ExpertBatch:
    rows = context.streams("rows", number, expert).permutation(len(context.data))[:9]
    images = context.spec.normalization.apply(context.data.images(rows))
    return ExpertBatch(images, context.data.labels[rows], training.draw(context.streams, SHAPE, 9, number, expert))


def trained(
    context: Context, course: ExpertTraining, name: str = NETWORK, steps: int = 4, expert: int = 0
) -> tuple[Weights, list[Any]]:
    network = context.network(name)
    weights = network.initial(context.streams("network", expert))
    velocity, said = still(network, weights, course.training), []
    for number in range(steps):
        batch = batch_of(context, course.training, number, expert)
        said.append(expert_step(network, weights, velocity, [batch], course, number))
    return weights, said


def close(ours: Weights, theirs: Weights, tolerance: float = 1e-11) -> None:
    for name in theirs:
        torch.testing.assert_close(ours[name], theirs[name], rtol=0, atol=tolerance, msg=name)


@pytest.mark.parametrize("network", [NETWORK, "convnet2:width=4,norm=batch"])
@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
def test_without_anything_an_expert_is_a_network_in_training(
    context_of: Callable[..., Context], network: str, optimizer: Any
) -> None:
    training = replace(PLAIN, optimizer=optimizer, augmentation=DSAAugment(), cutmix=0.5)
    context = context_of()
    found, said = trained(context, ExpertTraining(training=training), network)
    functional = context.network(network)
    weights = functional.initial(context.streams("network", 0))
    velocity = still(functional, weights, training)
    for number, (loss, guesses) in enumerate(said):
        batch = batch_of(context, training, number)
        rest = (training, batch.draws, training.lr)
        expected = watched_step(functional, weights, velocity, batch.plain, batch.labels, *rest)
        torch.testing.assert_close(loss, expected[0])
        assert torch.equal(guesses, expected[1])
    close(found, weights, 1e-6 if optimizer != "sgd" else 1e-12)


def test_adam_is_that_of_torch(context_of: Callable[..., Context]) -> None:
    training = replace(PLAIN, optimizer="adam", betas=(0.8, 0.95), lr=0.01)
    context = context_of()
    network = context.network(NETWORK)
    module = network._make().double()
    module.load_state_dict(network.initial(context.streams("network", 0)))
    optimizer = torch.optim.Adam(module.parameters(), lr=0.01, betas=(0.8, 0.95), weight_decay=0.01)
    for number in range(4):
        batch = batch_of(context, training, number)
        optimizer.zero_grad()
        F.cross_entropy(module(batch.plain), batch.labels).backward()
        optimizer.step()
    found, _ = trained(context, ExpertTraining(training=training))
    # A bias before a norm has no gradient but rounding, which Adam blows up.
    theirs = {name: tensor for name, tensor in module.state_dict().items() if not name.endswith("conv.bias")}
    close(found, theirs, 1e-9)


def plainly(network: FunctionalNetwork, weights: Weights, batch: ExpertBatch, course: ExpertTraining) -> Weights:
    """The gradient by autograd in the words of the paper."""
    leaves = {name: tensor.detach().clone().requires_grad_() for name, tensor in weights.items()}
    loss = 0.5 * F.cross_entropy(network(leaves, batch.plain), batch.labels)
    images = batch.plain.clone().requires_grad_()
    logits = network(leaves, images)
    said = {
        "true_logit": logits[torch.arange(9), batch.labels].sum(),
        "loss": F.cross_entropy(logits, batch.labels, reduction="sum"),
    }.get(course.penalty, logits.sum())
    (slope,) = torch.autograd.grad(said, images, create_graph=True)
    gap = (slope.norm(dim=1) if course.penalty == "channel" else slope.flatten(1).norm(dim=1)) - course.penalty_target
    if course.one_sided:
        gap = gap.clamp_min(0)
    loss = loss + course.penalty_weight * gap.square().mean()
    return dict(zip(leaves, torch.autograd.grad(loss, list(leaves.values())), strict=True))


@pytest.mark.parametrize("one_sided", [False, True])
@pytest.mark.parametrize("penalty", ["sample", "channel", "true_logit", "loss"])
@pytest.mark.parametrize(
    "execution",
    [Execution(), Execution(blocks="vmap"), Execution(microbatch=4)],
    ids=["plain", "functional", "microbatch"],
)
def test_a_step_goes_down_the_clipped_loss_and_the_penalty(
    context_of: Callable[..., Context], penalty: Any, one_sided: bool, execution: Execution
) -> None:
    context = context_of(execution=execution)
    training = Training(lr=0.1, momentum=0.0, weight_decay=0.0)
    course = ExpertTraining(
        training=training,
        clip=(0.5,),
        penalty=penalty,
        penalty_weight=0.7,
        penalty_target=0.2,
        one_sided=one_sided,
    )
    network = context.network(NETWORK)
    weights = network.initial(context.streams("network", 0))
    batch = batch_of(context, training, 0)
    gradient = plainly(context_of().network(NETWORK), weights, batch, course)
    expected = {name: tensor - 0.1 * gradient[name] for name, tensor in weights.items()}
    expert_step(network, weights, still(network, weights, training), [batch], course, 0)
    close(weights, expected, 1e-12)


def test_a_penalty_looks_at_images_that_are_not_augmented(context_of: Callable[..., Context]) -> None:
    context = context_of()
    only = ExpertTraining(training=PLAIN, clip=(0.0,) * 9, penalty="sample", penalty_weight=1.0)
    augmented = replace(only, training=replace(PLAIN, augmentation=DSAAugment()))
    close(trained(context, augmented)[0], trained(context, only)[0], 0.0)
    seen = replace(augmented, clip=())
    assert not torch.equal(
        trained(context, seen)[0]["classifier.weight"], trained(context, only)[0]["classifier.weight"]
    )


@pytest.mark.parametrize("network", [NETWORK, "convnet2:width=4,norm=batch"])
@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"rho": 0.1, "surrogate": 0.3},
        {"clip": (0.5, 0.7), "penalty": "channel", "penalty_weight": 2.0},
        {"penalty": "sample", "rho": 0.05, "adaptive": False},
    ],
    ids=["plain", "gsam", "smooth", "both"],
)
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_experts_trained_together_are_those_trained_apart(
    context_of: Callable[..., Context], network: str, fields: dict[str, Any], optimizer: Any
) -> None:
    context = context_of()
    training = replace(PLAIN, optimizer=optimizer, decay="matrices", augmentation=DSAAugment(), mixup=0.4)
    course = ExpertTraining(training=training, **fields)
    functional = side_by_side(context.network(network), 3)
    stacked = stack([functional.initial(context.streams("network", expert)) for expert in range(3)])
    velocity, said = still(functional, stacked, training), []
    for number in range(3):
        batches = [batch_of(context, training, number, expert) for expert in range(3)]
        said.append(expert_step(functional, stacked, velocity, batches, course, number))
    for expert in range(3):
        alone, heard = trained(context, course, network, 3, expert)
        own = {name: tensor[expert] for name, tensor in stacked.items()}
        shown = [name for name in own if not (optimizer == "adam" and name.endswith(("conv.bias", "running_mean")))]
        close({name: own[name] for name in shown}, {name: alone[name] for name in shown}, 1e-9)
        for (losses, guesses), (loss, guess) in zip(said, heard, strict=True):
            torch.testing.assert_close(losses[expert], loss)
            assert torch.equal(guesses[expert], guess)


def test_running_statistics_are_those_of_the_weights_themselves(context_of: Callable[..., Context]) -> None:
    context, name = context_of(), "convnet1:width=4,norm=batch"
    plain = ExpertTraining(training=PLAIN)
    sharp, _ = trained(context, replace(plain, rho=0.5), name, 1)
    usual, _ = trained(context, plain, name, 1)
    statistics = [name for name in usual if "running" in name or "tracked" in name]
    assert statistics and all(torch.equal(sharp[name], usual[name]) for name in statistics)
    assert not torch.equal(sharp["classifier.weight"], usual["classifier.weight"])


def test_step_sizes_factors_and_memory_by_epoch() -> None:
    course = ExpertTraining(training=Training(lr=2.0), drops=(3, 5), drop_factor=0.5, clip=(0.5, 0.75))
    assert [course.lr(epoch) for epoch in range(7)] == [2, 2, 2, 1, 1, 0.5, 0.5]
    assert [course.factor(epoch) for epoch in range(4)] == [0.5, 0.75, 1, 1]
    assert [epoch for epoch in range(7) if course.forgets(epoch)] == [3, 5]
    assert not any(replace(course, forget=False).forgets(epoch) for epoch in range(7))


def test_what_an_image_costs() -> None:
    assert ExpertTraining().passes == 3
    assert ExpertTraining(rho=0.01).passes == 6
    assert ExpertTraining(penalty="sample").passes == 9


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"epochs": 0}, "need epochs >= 1 and together >= 1, not 0 and 1"),
        ({"together": 0}, "need epochs >= 1 and together >= 1"),
        ({"drops": (-1,)}, "need drops at epochs >= 0"),
        ({"drop_factor": 0.0}, "and drop_factor > 0"),
        ({"clip": (0.5, -1.0)}, "need numbers >= 0 in clip"),
        ({"penalty_weight": -1.0}, "need penalty_weight, penalty_target, rho and surrogate >= 0"),
        ({"rho": float("inf")}, "need penalty_weight, penalty_target, rho and surrogate >= 0"),
        ({"training": Training(lr=0.0)}, "training of pool 'experts' needs lr > 0"),
    ],
)
def test_settings_that_make_no_sense_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        ExpertTraining(**fields).check("pool 'experts'")
