from __future__ import annotations

import copy
from collections.abc import Callable
from itertools import chain
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from limbeck.augmentations.idc_augment import IDCAugment
from limbeck.core.context import Context
from limbeck.core.errors import InputError, RunError
from limbeck.core.execution import Execution
from limbeck.core.network import FunctionalNetwork, Weights
from limbeck.core.streams import Streams
from limbeck.ops import cutmix
from limbeck.training.lessons import Lessons, Shuffled, SoftLoss
from limbeck.training.supervised import (
    BatchDraws,
    Training,
    accuracy,
    fit,
    still,
    supervised_step,
    taught_step,
    watched_step,
)

SHAPE = (1, 8, 8)


@pytest.fixture
def context(context_of: Callable[..., Context]) -> Context:
    return context_of()


def start(context: Context, name: str = "convnet1:width=4") -> tuple[FunctionalNetwork, Weights]:
    network = context.network(name)
    return network, network.initial(context.streams("network", 0))


def module_of(network: FunctionalNetwork, weights: Weights) -> torch.nn.Module:
    module = network._make().double()
    module.load_state_dict(weights)
    return module.train()


def same(module: torch.nn.Module, weights: Weights, adaptive: bool = False) -> None:
    """Equal weights; AdamW shows the rounding of a gradient that is zero, as is that of a bias before a norm."""
    for name, tensor in module.state_dict().items():
        shown = adaptive and name.endswith(("conv.bias", "running_mean"))
        tolerance = 1e-6 if shown else 1e-11 if adaptive else 1e-12
        torch.testing.assert_close(weights[name].detach(), tensor, rtol=0, atol=tolerance, msg=name)


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


def test_looking_ahead_needs_momentum() -> None:
    with pytest.raises(InputError, match="no momentum to look ahead with"):
        Training(momentum=0.0, nesterov=True).check("pool 'pretrained'")
    Training(momentum=0.5, nesterov=True).check("pool 'pretrained'")


def test_draws_are_keyed_and_cutmix_has_its_probability(context: Context) -> None:
    training = Training(augmentation=IDCAugment(operations=("color",)), cutmix=0.3)
    streams = context.streams
    one, again, other = (training.draw(streams, SHAPE, 5, *key) for key in ((1, 2), (1, 2), (2, 1)))
    assert torch.equal(one.augmentation["brightness"], again.augmentation["brightness"])
    assert not torch.equal(one.augmentation["brightness"], other.augmentation["brightness"])
    assert one.augmentation["brightness"].shape == (5,)
    mixes = [training.draw(streams, SHAPE, 5, number).mix for number in range(1000)]
    found = [mix for mix in mixes if mix is not None]
    assert len(found) / 1000 == pytest.approx(0.3, abs=0.05)
    assert all(sorted(mix.partner.tolist()) == list(range(5)) for mix in found)
    # The kept share is uniform before the box is clipped at the border, which makes it larger.
    assert 0.5 < sum(cutmix.ratio(mix.box, 8, 8) for mix in found) / len(found) < 0.8
    assert all(Training(cutmix=0.0).draw(streams, SHAPE, 5, number).mix is None for number in range(20))
    assert all(Training(cutmix=1.0).draw(streams, SHAPE, 5, number).mix is not None for number in range(20))


def run_fit(context: Context, steps: int, batch: int, **changes: Any) -> tuple[list[list[int]], list[int], Weights]:
    network, weights = start(context)
    seen: list[list[int]] = []

    def images(rows: Tensor) -> Tensor:
        seen.append(rows.tolist())
        return context.spec.normalization.apply(context.data.images(rows))

    training = Training(batch_size=batch, **changes)
    rate = changes.get("lr", 0.01)
    epochs = fit(network, weights, images, context.data.labels, training, Streams(5), SHAPE, lambda epoch: rate, steps)
    return seen, [epoch for epoch, _ in epochs], weights


def test_an_epoch_visits_each_image_once_and_uses_the_incomplete_batch(context: Context) -> None:
    seen, epochs, _ = run_fit(context, steps=6, batch=16)
    assert epochs == [0, 1]
    assert [len(rows) for rows in seen] == [16, 16, 4, 16, 16, 4]
    orders = [list(chain(*seen[:3])), list(chain(*seen[3:]))]
    assert [sorted(order) for order in orders] == [list(range(36))] * 2
    assert orders[0] != orders[1]


def test_steps_may_end_within_an_epoch(context: Context) -> None:
    seen, epochs, _ = run_fit(context, steps=4, batch=16)
    assert epochs == [0, 1] and len(seen) == 4
    seen, epochs, _ = run_fit(context, steps=0, batch=16)
    assert epochs == [] and seen == []


def test_fit_equals_a_plain_loop(context: Context) -> None:
    _, _, weights = run_fit(context, steps=6, batch=16)
    network, begin = start(context)
    module = module_of(network, begin)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4)
    for epoch in range(2):
        for rows in Streams(5)("epoch", epoch).permutation(36).split(16):
            optimizer.zero_grad()
            logits = module(context.spec.normalization.apply(context.data.images(rows)))
            F.cross_entropy(logits, context.data.labels[rows]).backward()
            optimizer.step()
    same(module, weights)


def test_watching_changes_nothing_and_sees_every_image_once_an_epoch(context: Context) -> None:
    _, _, expected = run_fit(context, steps=6, batch=16)
    network, weights = start(context)
    seen: list[tuple[int, list[int], int]] = []
    for _ in fit(
        network,
        weights,
        lambda rows: context.spec.normalization.apply(context.data.images(rows)),
        context.data.labels,
        Training(batch_size=16),
        Streams(5),
        SHAPE,
        lambda epoch: 0.01,
        6,
        watch=lambda epoch, rows, guesses: seen.append((epoch, rows.tolist(), len(guesses))),
    ):
        pass
    assert all(torch.equal(weights[name], tensor) for name, tensor in expected.items())
    assert [(epoch, count) for epoch, _, count in seen] == [(0, 16), (0, 16), (0, 4), (1, 16), (1, 16), (1, 4)]
    assert sorted(chain(*(rows for _, rows, _ in seen[:3]))) == list(range(36))


def test_the_mean_loss_of_an_epoch_is_reported(context: Context) -> None:
    network, weights = start(context)
    training, rows = Training(batch_size=36, lr=0.01), torch.arange(36)
    images = context.spec.normalization.apply(context.data.images(rows))
    expected = F.cross_entropy(network(weights, images), context.data.labels).item()
    found = fit(network, weights, lambda rows: images[rows], context.data.labels, training, Streams(0), SHAPE,
                lambda epoch: 0.01, 1)  # fmt: skip
    assert next(found)[1].item() == pytest.approx(expected, rel=1e-12)


def test_training_that_diverges_is_stopped(context: Context) -> None:
    with pytest.raises(RunError) as caught:
        run_fit(context, steps=300, batch=16, lr=1e200)
    message = str(caught.value)
    assert message.startswith("training of convnet1:width=4 diverged in epoch")
    assert message.endswith("lower its learning rate.")


def test_training_learns(context: Context) -> None:
    network, _ = start(context)
    _, _, weights = run_fit(context, steps=60, batch=12, lr=0.05)
    images = context.spec.normalization.apply(context.data.images(torch.arange(36)))
    assert accuracy(network, weights, lambda rows: images[rows], context.data.labels) > 0.9


@pytest.mark.parametrize("chunk", [1, 5, 512])
def test_accuracy_counts_the_largest_logit(context: Context, chunk: int) -> None:
    network, weights = start(context, "convnet1:width=4,norm=batch")
    images, labels = context.data.images(torch.arange(36)), context.data.labels
    guesses = module_of(network, weights).eval()(images).argmax(dim=1)
    expected = sum(int(guess == label) for guess, label in zip(guesses, labels, strict=True)) / 36
    assert accuracy(network, weights, lambda rows: images[rows], labels, chunk) == expected
    assert accuracy(network, weights, lambda rows: images[rows], guesses, chunk) == 1.0
    assert accuracy(network, weights, lambda rows: images[rows], (guesses + 1) % 3, chunk) == 0.0


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


class FromTeacher(Lessons):
    """Fixed batches in which a linear teacher labels what the network sees."""

    def __init__(self, training: Training, streams: Streams, total: int) -> None:
        self.shuffled = Shuffled(streams, training, SHAPE, total)
        self.seen: list[Tensor] = []
        self.table = Streams(9)("teacher").normal(64, 3)

    def order(self, epoch: int) -> list[Tensor]:
        return self.shuffled.order(epoch)

    def draws(self, epoch: int, batch: int, rows: Tensor) -> BatchDraws:
        return self.shuffled.draws(epoch, batch, rows)

    def logits(self, epoch: int, batch: int, images: Tensor) -> Tensor:
        self.seen.append(images)
        return images.flatten(1) @ self.table


@pytest.mark.parametrize("microbatch", [0, 4])
@pytest.mark.parametrize("network_name", ["convnet1:width=4", "convnet1:width=4,norm=batch"])
def test_a_teacher_s_lessons_equal_a_plain_loop(context: Context, network_name: str, microbatch: int) -> None:
    network, weights = start(context, network_name)
    network = network.to(network.device, network.dtype, Execution(microbatch=microbatch))
    module = module_of(network, weights)
    augmentation = IDCAugment(operations=("color", "crop"))
    training = Training(lr=0.02, batch_size=10, optimizer="adamw", mixup=0.5, augmentation=augmentation)
    reference = torch.optim.AdamW(module.parameters(), lr=0.02, weight_decay=5e-4)
    lessons, images = (
        FromTeacher(training, Streams(5), 36),
        context.spec.normalization.apply(context.data.images(torch.arange(36))),
    )
    losses = [
        loss
        for _, loss in fit(
            network, weights, lambda rows: images[rows], context.data.labels, training, Streams(5), SHAPE,
            lambda epoch: 0.02, 8, lessons=lessons, soft=SoftLoss(temperature=4.0, square=True),
        )
    ]  # fmt: skip
    assert len(lessons.seen) == 8 and len(losses) == 2
    expected, places = [], iter(lessons.seen)
    for epoch in range(2):
        for batch, rows in enumerate(Streams(5)("epoch", epoch).permutation(36).split(10)):
            draws = training.draw(Streams(5), SHAPE, len(rows), epoch, batch)
            seen = training.seen(images[rows], draws)
            torch.testing.assert_close(next(places), seen)
            said = F.log_softmax((seen.flatten(1) @ lessons.table) / 4, 1)
            loss = 16 * F.kl_div(F.log_softmax(module(seen) / 4, 1), said, log_target=True, reduction="batchmean")
            reference.zero_grad()
            loss.backward()
            reference.step()
            expected.append(loss.detach())
    torch.testing.assert_close(torch.stack(losses), torch.stack(expected).view(2, 4).mean(dim=1))
    same(module, weights, adaptive=True)


def test_a_taught_step_is_one_of_fit(context: Context) -> None:
    network, weights = start(context)
    training, soft = Training(lr=0.1, batch_size=36), SoftLoss(temperature=2.0)
    other = {name: tensor.clone() for name, tensor in weights.items()}
    images = context.spec.normalization.apply(context.data.images(torch.arange(36)))
    lessons = FromTeacher(training, Streams(0), 36)
    (one,) = fit(network, weights, lambda rows: images[rows], context.data.labels, training, Streams(0), SHAPE,
                 lambda epoch: 0.1, 1, lessons=lessons, soft=soft)  # fmt: skip
    (seen,) = lessons.seen
    logits = lessons.logits(0, 0, seen).requires_grad_()
    loss = taught_step(network, other, still(network, other, training), seen, logits, soft, training, 0.1)
    assert torch.equal(loss, one[1]) and all(torch.equal(weights[name], other[name]) for name in weights)


def test_what_the_network_said_of_a_taught_batch_can_be_watched(context: Context) -> None:
    network, weights = start(context)
    training, said = Training(lr=0.01, batch_size=16), []
    images = context.spec.normalization.apply(context.data.images(torch.arange(36)))
    before = module_of(network, weights)
    lessons = FromTeacher(training, Streams(0), 36)
    for _ in fit(
        network,
        weights,
        lambda rows: images[rows],
        context.data.labels,
        training,
        Streams(0),
        SHAPE,
        lambda epoch: 0.01,
        1,
        lessons=lessons,
        watch=lambda epoch, rows, guesses: said.append(guesses),
    ):
        pass  # fmt: skip
    assert torch.equal(said[0], before(lessons.seen[0]).argmax(dim=1))


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_training_goes_on_in_the_same_bits(context: Context, optimizer: Any) -> None:
    training = Training(batch_size=16, optimizer=optimizer, cutmix=0.5)
    images = context.spec.normalization.apply(context.data.images(torch.arange(36)))

    def train(weights: Weights, velocity: dict[str, Any], first: int, epochs: int) -> list[int]:
        found = fit(network, weights, lambda rows: images[rows], context.data.labels, training, Streams(5), SHAPE,
                    lambda epoch: 0.01 / (1 + epoch), 3 * epochs, velocity=velocity, first=first)  # fmt: skip
        return [epoch for epoch, _ in found]

    network, whole = start(context)
    assert train(whole, still(network, whole, training), 0, 4) == [0, 1, 2, 3]
    _, weights = start(context)
    velocity = still(network, weights, training)
    train(weights, velocity, 0, 2)
    weights, velocity = {name: tensor.clone() for name, tensor in weights.items()}, copy.deepcopy(velocity)
    assert train(weights, velocity, 2, 2) == [2, 3]
    assert all(torch.equal(weights[name], tensor) for name, tensor in whole.items())


def test_forgetting_clears_what_was_handed_in(context: Context) -> None:
    network, weights = start(context)
    training = Training(batch_size=36, optimizer="adamw")
    velocity = still(network, weights, training)
    for _ in fit(
        network,
        weights,
        lambda rows: context.data.images(rows),
        context.data.labels,
        training,
        Streams(5),
        SHAPE,
        lambda epoch: 0.01,
        3,
        forgets=lambda epoch: epoch == 2,
        velocity=velocity,
    ):
        pass  # fmt: skip
    assert velocity["steps"] == 1


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


@pytest.mark.parametrize("cutmix_probability", [0.0, 0.7])
def test_certain_probabilities_are_labels(context: Context, cutmix_probability: float) -> None:
    images, labels = context.spec.normalization.apply(context.data.images(torch.arange(30))), context.data.labels[:30]
    training = Training(lr=0.02, batch_size=8, cutmix=cutmix_probability)
    reached = []
    for taught in (labels, F.one_hot(labels, 3).double()):
        network, weights = start(context)
        losses = [
            loss
            for _, loss in fit(
                network, weights, lambda rows: images[rows], taught, training, Streams(1), SHAPE, lambda epoch: 0.02, 9
            )
        ]
        reached.append((torch.stack(losses), weights))
    torch.testing.assert_close(reached[0][0], reached[1][0], rtol=1e-12, atol=1e-12)
    for name, tensor in reached[0][1].items():
        torch.testing.assert_close(reached[1][1][name], tensor, rtol=0, atol=1e-12)


def test_momentum_may_change_between_epochs(context: Context) -> None:
    images, labels = context.spec.normalization.apply(context.data.images(torch.arange(8))), context.data.labels[:8]
    network, weights = start(context)
    module = module_of(network, weights)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4)
    training = Training(lr=0.05, batch_size=8)
    for _ in fit(
        network, weights, lambda rows: images[rows], labels, training, Streams(1), SHAPE, lambda epoch: 0.05, 6,
        momentum=lambda epoch: 0.9 if epoch < 3 else 0.5,
    ):  # fmt: skip
        pass
    for epoch in range(6):
        optimizer.param_groups[0]["momentum"] = 0.9 if epoch < 3 else 0.5
        optimizer.zero_grad()
        F.cross_entropy(module(images), labels).backward()
        optimizer.step()
    same(module, weights)
