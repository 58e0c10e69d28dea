from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from limbeck.augmentations.imagenet_augment import ImagenetAugment
from limbeck.core.batch import Moment
from limbeck.core.context import Context
from limbeck.core.contracts import State
from limbeck.core.errors import InputError, RunError
from limbeck.core.focus import Taught
from limbeck.core.network import Weights
from limbeck.data import Data
from limbeck.engine.distill import distill
from limbeck.engine.loop import Loop, LoopState
from limbeck.engine.settings import Settings
from limbeck.pools.pretrained import Pretrained
from limbeck.pools.trained_on_real import TrainedOnReal
from limbeck.pools.trained_on_synthetic import TrainedOnSynthetic
from limbeck.storage.weights import write_weights
from limbeck.training.supervised import Training
from tests.engine.tiny import tiny_idc

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


POOL = TrainedOnReal(network=NETWORK, training=TRAINING, samples=8)


@pytest.fixture
def saved(context_of: Callable[..., Context], tmp_path: Path) -> dict[str, Weights]:
    """Three networks in the folder ``saved``, by the name of their files."""
    context = context_of()
    found = {}
    for number in range(3):
        found[f"{number}.safetensors"] = context.network(NETWORK).initial(context.streams("saved", number))
        write_weights(tmp_path / f"{number}.safetensors", found[f"{number}.safetensors"], NETWORK)
    return found


def test_an_outer_iteration_starts_from_one_of_the_files(
    context_of: Callable[..., Context], saved: dict[str, Weights], tmp_path: Path
) -> None:
    context, pool = context_of(), replace(POOL, start=str(tmp_path))
    pool.check(context)
    state = pool.init(context)
    drawn = []
    for iteration in range(20):
        state = pool.draw(state, context, iteration)
        assert all(not tensor.any() for tensor in state["velocity"].values())
        equal = [
            name
            for name, weights in saved.items()
            if all(torch.equal(state["weights"][key], tensor) for key, tensor in weights.items())
        ]
        drawn += equal
        state = pool.advance(state, context, Moment(iteration, 0, STEPS), no_synthetic)  # files stay as they are
    assert len(drawn) == 20 and set(drawn) == set(saved)
    # By position, not by what was drawn before, and another seed draws others.
    alone = pool.draw(pool.init(context), context, 7)
    assert torch.equal(alone["weights"]["classifier.weight"], saved[drawn[7]]["classifier.weight"])
    other = context_of(seed=1)
    again = [pool.draw(pool.init(other), other, iteration)["weights"]["classifier.weight"] for iteration in range(20)]
    assert not all(torch.equal(one, saved[name]["classifier.weight"]) for one, name in zip(again, drawn, strict=True))


def test_a_life_from_a_file_equals_a_plain_loop(
    context_of: Callable[..., Context], saved: dict[str, Weights], tmp_path: Path
) -> None:
    context = context_of()
    for name in ("1.safetensors", "2.safetensors"):
        (tmp_path / name).unlink()
    state = live(replace(POOL, start=str(tmp_path), early_epochs=1), context)
    plain = PlainTraining(context, 0)
    plain.module.load_state_dict(saved["0.safetensors"])
    for rows in walk(context, "early training", 0)[:4] + walk(context, "network training")[:2]:
        plain.train(rows)
    plain.check(state)


def test_files_that_changed_since_the_beginning_are_refused(
    context_of: Callable[..., Context], saved: dict[str, Weights], tmp_path: Path
) -> None:
    context, pool = context_of(), replace(POOL, start=str(tmp_path))
    state = pool.init(context)
    write_weights(tmp_path / "more.safetensors", saved["0.safetensors"], NETWORK)  # a new file takes no part
    before = [pool.draw(state, context, iteration)["weights"] for iteration in range(9)]
    for name in saved:
        write_weights(tmp_path / name, saved["2.safetensors"], NETWORK)
    refused = 0
    for iteration, weights in enumerate(before):
        if torch.equal(weights["classifier.weight"], saved["2.safetensors"]["classifier.weight"]):
            pool.draw(state, context, iteration)
            continue
        refused += 1
        with pytest.raises(RunError, match="not the file that this run began with"):
            pool.draw(state, context, iteration)
    assert refused > 0


def test_files_that_do_not_fit_are_refused_before_anything_runs(
    context_of: Callable[..., Context], saved: dict[str, Weights], tmp_path: Path
) -> None:
    context = context_of()
    with pytest.raises(InputError, match="is no folder with networks"):
        replace(POOL, start=str(tmp_path / "nowhere")).check(context)
    with pytest.raises(InputError, match="does not hold network 'convnet1:width=8'"):
        replace(POOL, start=str(tmp_path), network="convnet1:width=8").check(context)


def test_training_under_an_augmentation_for_other_images_is_refused(context_of: Callable[..., Context]) -> None:
    training = replace(TRAINING, augmentation=ImagenetAugment())
    for pool in (TrainedOnReal, TrainedOnSynthetic, Pretrained):
        with pytest.raises(InputError, match="made for three channels"):
            pool(network=NETWORK, training=training).check(context_of())


def test_what_adamw_remembers_is_part_of_a_checkpoint(digits: Data, tmp_path: Path) -> None:
    training = {"optimizer": "adamw", "lr": 0.003, "mixup": 0.5, "cutmix": 0.0}
    recipe = tiny_idc().with_(**{f"pool__training__{name}": value for name, value in training.items()})
    settings = Settings(progress="quiet", device="cpu", checkpoint_minutes=0)
    whole = distill(recipe, digits, ipc=1, settings=settings)
    assert not torch.equal(whole.stored, distill(tiny_idc(), digits, ipc=1, settings=settings).stored)
    with pytest.MonkeyPatch.context() as patch, pytest.raises(RuntimeError, match="power cut"):
        step = Loop.step

        def once(self: Loop, state: LoopState) -> Any:
            if state.ordinal == 2:
                raise RuntimeError("power cut")
            return step(self, state)

        patch.setattr(Loop, "step", once)
        distill(recipe, digits, ipc=1, out=tmp_path / "run", settings=settings)
    assert torch.equal(distill(recipe, digits, ipc=1, out=tmp_path / "run", settings=settings).stored, whole.stored)


def test_networks_learn_what_the_curriculum_chooses(context_of: Callable[..., Context]) -> None:
    """Every image of an epoch is among those that were chosen; a single epoch by hand."""
    context = context_of()
    rows, further = context.data.class_rows(1)[:6], torch.full((2, 1, 8, 8), 0.3, dtype=context.dtype)
    chosen = Taught(rows, further, torch.tensor([2, 0]))
    own, seen = replace(context, taught=chosen), []
    batch = Taught.batch

    def noted(self: Taught, data: Any, places: torch.Tensor) -> Any:
        seen.append(places)
        return batch(self, data, places)

    pool = TrainedOnReal(network=NETWORK, training=replace(TRAINING, batch_size=4), samples=8, early_epochs=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Taught, "batch", noted)
        trained = live(pool, own)["weights"]
    # One early epoch, and two steps of 8 samples: two batches of 4 each time, which are an epoch of the 8.
    assert len(seen) == 6
    assert all(sorted(torch.cat(seen[at : at + 2]).tolist()) == list(range(8)) for at in (0, 2, 4))
    assert not torch.equal(trained["classifier.weight"], live(pool, context)["weights"]["classifier.weight"])
    assert "networks trained on chosen images" in pool.offers()
    assert "networks trained on chosen images" not in TrainedOnReal(samples=0).offers()


def test_all_real_images_chosen_are_all_real_images(context_of: Callable[..., Context]) -> None:
    context = context_of()
    nothing = torch.empty(0, *context.spec.shape, dtype=context.dtype)
    every = Taught(torch.arange(len(context.data)), nothing, torch.empty(0, dtype=torch.int64))
    pool = TrainedOnReal(network=NETWORK, training=TRAINING, samples=16)
    one, other = live(pool, context)["weights"], live(pool, replace(context, taught=every))["weights"]
    assert all(torch.equal(one[name], other[name]) for name in one)
