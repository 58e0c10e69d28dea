from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from limbeck.augmentations.idc_augment import IDCAugment
from limbeck.core.context import Context
from limbeck.core.execution import Execution
from limbeck.core.streams import Streams
from limbeck.training.descent import still
from limbeck.training.steps import supervised_step, watched_step
from limbeck.training.supervised import Training
from tests.training.modules import SHAPE, module_of, same, start


@pytest.fixture
def context(context_of: Callable[..., Context]) -> Context:
    return context_of()


@pytest.mark.parametrize("network_name", ["convnet1:width=4", "convnet1:width=4,norm=batch"])
@pytest.mark.parametrize(("augmented", "nesterov"), [(False, False), (True, False), (False, True)])
def test_steps_equal_torch_sgd(context: Context, network_name: str, augmented: bool, nesterov: bool) -> None:
    network, weights = start(context, network_name)
    module = module_of(network, weights)
    augmentation = IDCAugment(operations=("color", "crop")) if augmented else None
    training = Training(
        lr=0.05, momentum=0.8, nesterov=nesterov, weight_decay=0.01, augmentation=augmentation, cutmix=0.6
    )
    optimizer = torch.optim.SGD(module.parameters(), lr=0.05, momentum=0.8, weight_decay=0.01, nesterov=nesterov)
    velocity, mixed = still(network, weights, training), 0
    images, labels = context.spec.normalization.apply(context.data.images(torch.arange(9))), context.data.labels[:9]
    for number in range(6):
        draws = training.draw(context.streams, SHAPE, 9, number)
        loss = supervised_step(network, weights, velocity, images, labels, training, draws, training.lr)

        seen = augmentation.apply(images, draws.augmentation) if augmentation else images
        if draws.mix is None:
            expected = F.cross_entropy(module(seen), labels)
        else:
            mixed += 1
            top, bottom, left, right = draws.mix.box
            seen, partner = seen.clone(), draws.mix.partner
            seen[:, :, top:bottom, left:right] = seen[partner][:, :, top:bottom, left:right]
            share = 1 - (bottom - top) * (right - left) / 64
            logits = module(seen)
            expected = share * F.cross_entropy(logits, labels) + (1 - share) * F.cross_entropy(logits, labels[partner])
        torch.testing.assert_close(loss, expected.detach(), rtol=1e-12, atol=1e-12)
        optimizer.zero_grad()
        expected.backward()
        optimizer.step()
        same(module, weights)
    assert 0 < mixed < 6


def test_the_schedule_overrides_the_step_size(context: Context) -> None:
    network, weights = start(context)
    before = {name: tensor.clone() for name, tensor in weights.items()}
    images, labels = context.data.images(torch.arange(6)), context.data.labels[:6]
    training = Training(lr=0.1)
    draws = training.draw(context.streams, SHAPE, 6, 0)
    supervised_step(network, weights, still(network, weights, training), images, labels, training, draws, 0.0)
    assert all(torch.equal(weights[name], tensor) for name, tensor in before.items())


@pytest.mark.parametrize("microbatch", [0, 4])
@pytest.mark.parametrize("network_name", ["convnet1:width=4", "convnet1:width=4,norm=batch"])
def test_a_watched_step_is_the_same_step_and_tells_what_it_saw(
    context: Context, network_name: str, microbatch: int
) -> None:
    network, weights = start(context, network_name)
    network = network.to(network.device, network.dtype, Execution(microbatch=microbatch))
    other = {name: tensor.clone() for name, tensor in weights.items()}
    training = Training(lr=0.05, augmentation=IDCAugment(operations=("color", "crop")))
    velocities = still(network, weights, training), still(network, other, training)
    images, labels = context.spec.normalization.apply(context.data.images(torch.arange(11))), context.data.labels[:11]
    differed = 0
    for number in range(5):
        draws = training.draw(context.streams, SHAPE, 11, number)
        before = module_of(network, weights)
        loss, guesses = watched_step(network, weights, velocities[0], images, labels, training, draws, 0.05)
        assert torch.equal(loss, supervised_step(network, other, velocities[1], images, labels, training, draws, 0.05))
        assert all(torch.equal(weights[name], tensor) for name, tensor in other.items())
        assert training.augmentation is not None
        seen = training.augmentation.apply(images, draws.augmentation)
        assert torch.equal(guesses, before(seen).argmax(dim=1))
        differed += int(not torch.equal(guesses, before.eval()(images).argmax(dim=1)))
    assert differed, "the images as they are would have done as well"


def two_groups(module: torch.nn.Module, decay: str, weight_decay: float) -> list[dict[str, Any]]:
    parameters = list(module.parameters())
    plain = [one for one in parameters if decay == "matrices" and one.ndim < 2]
    rest = [one for one in parameters if all(one is not other for other in plain)]
    return [{"params": rest, "weight_decay": weight_decay}, {"params": plain, "weight_decay": 0.0}]


@pytest.mark.parametrize("decay", ["all", "matrices"])
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize("network_name", ["convnet1:width=4", "convnet1:width=4,norm=batch"])
def test_steps_with_mixup_equal_torch_s_optimizers(
    context: Context, network_name: str, optimizer: str, decay: str
) -> None:
    network, weights = start(context, network_name)
    module = module_of(network, weights)
    settings: dict[str, Any] = {"optimizer": optimizer, "decay": decay, "mixup": 0.8, "betas": (0.8, 0.95)}
    training = Training(lr=0.02, momentum=0.7, weight_decay=0.1, **settings)
    groups = two_groups(module, decay, 0.1)
    reference = (
        torch.optim.AdamW(groups, lr=0.02, betas=(0.8, 0.95))
        if optimizer == "adamw"
        else torch.optim.SGD(groups, lr=0.02, momentum=0.7)
    )
    state = still(network, weights, training)
    images, labels = context.spec.normalization.apply(context.data.images(torch.arange(9))), context.data.labels[:9]
    for number in range(5):
        draws = training.draw(context.streams, SHAPE, 9, number)
        loss = supervised_step(network, weights, state, images, labels, training, draws, 0.02)
        assert draws.mix is not None
        share, partner = draws.mix.share, draws.mix.partner
        logits = module(share * images + (1 - share) * images[partner])
        expected = share * F.cross_entropy(logits, labels) + (1 - share) * F.cross_entropy(logits, labels[partner])
        torch.testing.assert_close(loss, expected.detach(), rtol=1e-12, atol=1e-12)
        reference.zero_grad()
        expected.backward()
        reference.step()
        same(module, weights, optimizer == "adamw")


@pytest.mark.parametrize("microbatch", [0, 4])
@pytest.mark.parametrize("mixing", [{}, {"cutmix": 0.6}, {"mixup": 0.8}])
@pytest.mark.parametrize("network_name", ["convnet1:width=4", "convnet1:width=4,norm=batch"])
def test_steps_by_probabilities_equal_torch_s(
    context: Context, network_name: str, mixing: dict[str, float], microbatch: int
) -> None:
    network, weights = start(context, network_name)
    network = network.to(network.device, network.dtype, Execution(microbatch=microbatch))
    module = module_of(network, weights)
    training = Training(lr=0.05, momentum=0.8, weight_decay=0.01, **mixing)  # type: ignore[arg-type]
    optimizer = torch.optim.SGD(module.parameters(), lr=0.05, momentum=0.8, weight_decay=0.01)
    velocity, mixed = still(network, weights, training), 0
    images = context.spec.normalization.apply(context.data.images(torch.arange(9)))
    chances = Streams(3)("labels").normal(9, 3).softmax(dim=1)
    for number in range(5):
        draws = training.draw(context.streams, SHAPE, 9, number)
        loss = supervised_step(network, weights, velocity, images, chances.float(), training, draws, 0.05)
        seen, expected_labels = training.seen(images, draws), chances.float().double()
        if draws.mix is not None:
            mixed += 1
            own = draws.mix.ratio(8, 8)
            expected_labels = own * expected_labels + (1 - own) * expected_labels[draws.mix.partner]
        expected = F.cross_entropy(module(seen), expected_labels)
        torch.testing.assert_close(loss, expected.detach(), rtol=1e-12, atol=1e-12)
        optimizer.zero_grad()
        expected.backward()
        optimizer.step()
    same(module, weights)
    assert bool(mixed) == bool(mixing)
