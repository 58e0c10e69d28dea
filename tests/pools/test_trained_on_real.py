from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from limbeck.core.batch import Moment
from limbeck.core.context import Context
from limbeck.core.contracts import State
from limbeck.core.errors import InputError
from limbeck.pools.trained_on_real import TrainedOnReal
from limbeck.training.supervised import Training

NETWORK = "convnet1:width=4"
TRAINING = Training(lr=0.02, momentum=0.9, weight_decay=5e-4, batch_size=8)
STEPS = 3


def no_synthetic() -> Any:
    raise AssertionError("this pool looks at real images only")


def live(pool: TrainedOnReal, context: Context, iterations: int = 1) -> State:
    """The state at the end of the last of some outer iterations."""
    state = pool.init(context)
    for iteration in range(iterations):
        state = pool.draw(state, context, iteration)
        for step in range(STEPS):
            state = pool.advance(state, context, Moment(iteration, step, STEPS), no_synthetic)
    return state


class PlainTraining:
    """The same with an ordinary module and PyTorch's optimizer."""

    def __init__(self, context: Context, iteration: int) -> None:
        self.context = context
        self.module = context.network(NETWORK)._make().double()
        self.module.load_state_dict(context.network(NETWORK).initial(context.streams("network", iteration)))
        self.optimizer = torch.optim.SGD(self.module.parameters(), lr=0.02, momentum=0.9, weight_decay=5e-4)

    def train(self, rows: torch.Tensor) -> None:
        images = self.context.spec.normalization.apply(self.context.data.images(rows))
        self.optimizer.zero_grad()
        F.cross_entropy(self.module(images), self.context.data.labels[rows]).backward()
        self.optimizer.step()

    def check(self, state: State) -> None:
        for name, tensor in self.module.state_dict().items():
            torch.testing.assert_close(state["weights"][name].detach(), tensor, rtol=0, atol=1e-12, msg=name)


def walk(context: Context, name: str, *keys: int) -> list[torch.Tensor]:
    """Some epochs of batches of 8 among 36 images: four per epoch, the incomplete one dropped."""
    return [batch for epoch in range(5) for batch in context.streams(name, *keys, epoch).permutation(36)[:32].split(8)]


def test_a_life_equals_a_plain_loop(context_of: Callable[..., Context]) -> None:
    context = context_of()
    # 17 images are three batches of 8.
    state = live(TrainedOnReal(network=NETWORK, training=TRAINING, samples=17), context)
    plain, batches = PlainTraining(context, 0), walk(context, "network training")
    for rows in batches[: 2 * 3]:  # not after the last of three steps
        plain.train(rows)
    plain.check(state)


def test_the_next_life_is_a_new_network_on_the_batches_of_its_position(context_of: Callable[..., Context]) -> None:
    context = context_of()
    pool = TrainedOnReal(network=NETWORK, training=TRAINING, samples=16)
    state = live(pool, context, iterations=2)
    plain, batches = PlainTraining(context, 1), walk(context, "network training")
    for rows in batches[3 * 2 : 3 * 2 + 2 * 2]:
        plain.train(rows)
    plain.check(state)


def test_the_network_after_the_last_step_is_not_trained(context_of: Callable[..., Context]) -> None:
    context = context_of()
    pool = TrainedOnReal(network=NETWORK, training=TRAINING, samples=8)
    state = pool.draw(pool.init(context), context, 0)
    before = {name: tensor.clone() for name, tensor in state["weights"].items()}
    state = pool.advance(state, context, Moment(0, 2, 3), no_synthetic)
    assert all(torch.equal(state["weights"][name], tensor) for name, tensor in before.items())
    state = pool.advance(state, context, Moment(0, 1, 3), no_synthetic)
    assert not all(torch.equal(state["weights"][name], tensor) for name, tensor in before.items())


def test_early_epochs_come_first_and_keep_their_velocity(context_of: Callable[..., Context]) -> None:
    context = context_of()
    state = live(TrainedOnReal(network=NETWORK, training=TRAINING, samples=8, early_epochs=2), context)
    plain = PlainTraining(context, 0)
    for rows in walk(context, "early training", 0)[: 2 * 4] + walk(context, "network training")[:2]:
        plain.train(rows)
    plain.check(state)


def test_a_batch_larger_than_the_data_is_all_of_it(context_of: Callable[..., Context]) -> None:
    context = context_of()
    training = Training(lr=0.02, batch_size=100)
    pool = TrainedOnReal(network=NETWORK, training=training, samples=37)
    state = live(pool, context)
    plain = PlainTraining(context, 0)
    for epoch in range(4):
        plain.train(context.streams("network training", epoch).permutation(36))
    plain.check(state)


def test_without_samples_the_network_stays_as_it_is(context_of: Callable[..., Context]) -> None:
    context = context_of()
    state = live(TrainedOnReal(network=NETWORK, training=TRAINING, samples=0), context)
    PlainTraining(context, 0).check(state)


def test_the_view_is_the_network_as_it_is_now(context_of: Callable[..., Context]) -> None:
    context = context_of()
    pool = TrainedOnReal(network=NETWORK, training=TRAINING, samples=8)
    state = pool.draw(pool.init(context), context, 0)
    view = pool.view(state, context)
    assert view.network is context.network(NETWORK) and view.weights is state["weights"]


@pytest.mark.parametrize("fields", [{"samples": -1}, {"early_epochs": -1}, {"training": Training(batch_size=0)}])
def test_settings_that_make_no_sense_are_refused(context_of: Callable[..., Context], fields: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="pool 'trained_on_real'"):
        TrainedOnReal(network=NETWORK, **fields).check(context_of())


def test_a_network_that_does_not_fit_is_refused(context_of: Callable[..., Context]) -> None:
    with pytest.raises(InputError, match="too small for a ConvNet of depth 5"):
        TrainedOnReal(network="convnet5").check(context_of())
