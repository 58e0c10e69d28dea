from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from limbeck.augmentations.idc_augment import IDCAugment
from limbeck.core.batch import Moment
from limbeck.core.context import Context
from limbeck.core.contracts import FACTS, Workload
from limbeck.core.errors import InputError
from limbeck.core.execution import Execution
from limbeck.data import Data
from limbeck.data.images import ImageSet
from limbeck.engine.distill import distill
from limbeck.engine.loop import Loop
from limbeck.engine.plan import disk_bytes
from limbeck.engine.settings import Settings
from limbeck.pools.fresh import Fresh
from limbeck.pools.semi_trained import SemiTrained
from limbeck.storage.tree import load_tree, save_tree
from limbeck.training.supervised import Training
from tests.engine.tiny import tiny_idc

NETWORK = "convnet1:width=4"
POOL = SemiTrained(
    network=NETWORK,
    training=Training(lr=0.05, batch_size=16),
    begin=2,
    interval=2,
    most=4,
    trained=2,
    steps=3,
    reset=4,
)


class Plain:
    """The queue as plain code keeps it: modules, optimizers and meters in lists, one for all."""

    def __init__(self, pool: SemiTrained, context: Context) -> None:
        self.pool, self.context, self.made = pool, context, 0
        self.modules: list[nn.Module] = []
        self.optimizers: list[torch.optim.SGD] = []
        self.meters: list[list[int]] = []
        for _ in range(pool.begin):
            self.push()

    def push(self) -> None:
        network, training = self.context.network(self.pool.network), self.pool.training
        module = network._make().to(self.context.dtype)
        module.load_state_dict(network.initial(self.context.streams("network", self.made)))
        self.made += 1
        self.modules.append(module.train())
        self.optimizers.append(
            torch.optim.SGD(
                module.parameters(), lr=training.lr, momentum=training.momentum, weight_decay=training.weight_decay
            )
        )
        self.meters.append([0, 0])

    def draw(self, iteration: int) -> int:
        if iteration > 0 and iteration % self.pool.reset == 0:
            self.meters = [[0, 0] for _ in self.meters]
        if iteration % self.pool.interval == 0:
            if len(self.modules) == self.pool.most:
                for each in (self.modules, self.optimizers, self.meters):
                    each.pop(0)
            self.push()
        return int(self.context.streams("pool", iteration).integers(0, len(self.modules) - 1))

    def train(self, ordinal: int) -> None:
        context, streams = self.context, self.context.streams
        picked = streams("networks to train", ordinal).permutation(len(self.modules))[: self.pool.trained].tolist()
        for turn, position in enumerate(picked):
            for step in range(self.pool.steps):
                order = streams("network training", ordinal, turn, step).permutation(len(context.data))
                rows = order[: self.pool.training.batch_size]
                labels = context.data.labels[rows]
                logits = self.modules[position](context.spec.normalization.apply(context.data.images(rows)))
                self.optimizers[position].zero_grad()
                F.cross_entropy(logits, labels).backward()
                self.optimizers[position].step()
                self.meters[position][0] += int((logits.argmax(dim=1) == labels).sum())
                self.meters[position][1] += len(rows)


@pytest.mark.parametrize("network", [NETWORK, "convnet1:width=4,norm=batch"])
def test_the_queue_is_that_of_plain_code(context_of: Callable[..., Context], network: str) -> None:
    context, pool = context_of(), replace(POOL, network=network)
    plain, state = Plain(pool, context), pool.init(context)
    sizes, percents = [], []
    for iteration in range(11):
        state = pool.draw(state, context, iteration)
        chosen = plain.draw(iteration)
        sizes.append(len(state["queue"]))
        assert len(plain.modules) == sizes[-1]
        view = pool.view(state, context)
        assert not view.train
        for name, tensor in plain.modules[chosen].state_dict().items():
            torch.testing.assert_close(view.weights[name], tensor, rtol=0, atol=1e-11, msg=name)
        right, seen = plain.meters[chosen]
        assert view.accuracy == pytest.approx(100 * right / seen if seen else 0.0)
        percents.append(view.accuracy)
        moment = Moment(iteration, 0, 1)
        state = pool.advance(state, context, moment, lambda: pytest.fail("not needed"))
        plain.train(moment.ordinal)
    assert sizes == [3, 3, 4, 4, 4, 4, 4, 4, 4, 4, 4]
    assert max(percents) > 20 and 0.0 in percents
    for one, meter in zip(state["queue"], plain.meters, strict=True):
        assert [float(one["right"]), one["seen"]] == meter


def test_the_oldest_leaves_and_counts_begin_anew(context_of: Callable[..., Context]) -> None:
    context, pool = context_of(), replace(POOL, begin=1, interval=1, most=3, trained=3, steps=1)
    state = pool.init(context)
    first = [context.network(NETWORK).initial(context.streams("network", number)) for number in range(8)]
    never = replace(pool, steps=0)
    for iteration in range(6):
        state = never.advance(never.draw(state, context, iteration), context, Moment(iteration, 0, 1), dict)
    assert state["made"] == 7
    for one, number in zip(state["queue"], (4, 5, 6), strict=True):
        assert all(torch.equal(one["weights"][name], first[number][name]) for name in first[number])
    state = pool.advance(pool.draw(pool.init(context), context, 0), context, Moment(0, 0, 1), dict)
    assert [one["seen"] for one in state["queue"]] == [16, 16]
    assert [one["seen"] for one in pool.draw(state, context, 3)["queue"]] == [16, 16, 0]
    assert [one["seen"] for one in pool.draw(state, context, 4)["queue"]] == [0, 0, 0]
    assert [one["seen"] for one in replace(pool, reset=0).draw(state, context, 4)["queue"]] == [16, 16, 0]


def test_a_queue_goes_on_from_its_file_to_the_bit(context_of: Callable[..., Context], tmp_path: Path) -> None:
    context = context_of(dtype=torch.float32)

    def go(state: Any, first: int, last: int) -> Any:
        for iteration in range(first, last):
            state = POOL.draw(state, context, iteration)
            state = POOL.advance(state, context, Moment(iteration, 0, 1), dict)
        return state

    whole = go(POOL.init(context), 0, 7)
    save_tree(tmp_path / "half", go(POOL.init(context), 0, 3))
    resumed = go(load_tree(tmp_path / "half"), 3, 7)
    assert whole["made"] == resumed["made"] and whole["current"] == resumed["current"]
    for one, other in zip(whole["queue"], resumed["queue"], strict=True):
        assert one["seen"] == other["seen"] and torch.equal(one["right"], other["right"])
        for part in ("weights", "velocity"):
            assert all(torch.equal(one[part][name], other[part][name]) for name in one[part])


def test_a_run_with_a_queue_resumes_to_the_bit(portion: Callable[..., ImageSet], tmp_path: Path) -> None:
    train = portion()
    data = Data(train=train, validation=None, test=None, spec=train.spec)
    recipe = tiny_idc(iterations=6, steps=1).with_(pool=POOL)
    settings = Settings(progress="quiet", device="cpu", checkpoint_minutes=0)
    whole = distill(recipe, data, ipc=1, settings=settings)
    with pytest.MonkeyPatch.context() as patch, pytest.raises(RuntimeError, match="power cut"):
        step = Loop.step
        patch.setattr(Loop, "step", lambda self, state: step(self, state) if state.ordinal < 4 else cut())
        distill(recipe, data, ipc=1, out=tmp_path / "run", settings=settings)
    assert torch.equal(distill(recipe, data, ipc=1, out=tmp_path / "run", settings=settings).stored, whole.stored)


def cut() -> Any:
    raise RuntimeError("power cut")


def test_microbatches_and_a_seed_of_its_own(context_of: Callable[..., Context]) -> None:
    ends = []
    for execution in (Execution(), Execution(microbatch=5)):
        context = context_of(execution=execution)
        state = POOL.advance(POOL.draw(POOL.init(context), context, 0), context, Moment(0, 0, 1), dict)
        ends.append(state["queue"])
    for one, other in zip(*ends, strict=True):
        assert float(one["right"]) == float(other["right"])
        for name in one["weights"]:
            torch.testing.assert_close(one["weights"][name], other["weights"][name], rtol=0, atol=1e-12)
    context = context_of(seed=1)
    state = POOL.advance(POOL.draw(POOL.init(context), context, 0), context, Moment(0, 0, 1), dict)
    assert not torch.equal(
        state["queue"][0]["weights"]["classifier.weight"], ends[0][0]["weights"]["classifier.weight"]
    )


def test_it_alone_knows_how_well_networks_do() -> None:
    assert FACTS["training accuracy"] == "pool"
    assert POOL.offers() == {"networks", "embeddings", "training accuracy"}
    assert Fresh().offers() == {"networks", "embeddings"}


def test_predictions(context_of: Callable[..., Context]) -> None:
    context = context_of()
    assert POOL.passes(context, Workload(5, 2, 1, 1)) == 3 * 5 * 2 * (2 * 3 * 16)
    recipe = tiny_idc().with_(pool=POOL)
    weights = sum(one.numel() for one in context.network(NETWORK).module().state_dict().values())
    more = disk_bytes(recipe.with_(pool__most=10), context) - disk_bytes(recipe, context)
    assert more == 2 * 8 * 6 * 2 * weights


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"begin": -1}, "needs begin >= 0"),
        ({"interval": 0}, "needs begin >= 0, interval >= 1"),
        ({"most": 1}, "most >= 1 and begin, not 2, 2 and 1"),
        ({"trained": -1}, "needs trained >= 0"),
        ({"steps": -1}, "needs trained >= 0"),
        ({"reset": -1}, "needs trained >= 0"),
        ({"training": Training(cutmix=0.5)}, "set pool.training.cutmix and mixup to 0"),
        ({"training": Training(batch_size=0)}, "training of pool 'semi_trained'"),
        ({"network": "convnett1"}, "unknown network"),
    ],
)
def test_settings_that_make_no_sense_are_refused(
    context_of: Callable[..., Context], fields: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        replace(POOL, **fields).check(context_of())
    POOL.check(context_of())
    replace(POOL, training=Training(augmentation=IDCAugment())).check(context_of())
