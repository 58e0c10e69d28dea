"""Pools that begin with fresh networks begin with those of a bank where the run has one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from limbeck.core.context import Context
from limbeck.core.contracts import Pool
from limbeck.core.network import Weights
from limbeck.pools.fresh import Fresh
from limbeck.pools.pretrained import Pretrained
from limbeck.pools.semi_trained import SemiTrained
from limbeck.pools.to_plateau import ToPlateau
from limbeck.pools.trained_on_real import TrainedOnReal
from limbeck.pools.trained_on_synthetic import TrainedOnSynthetic
from limbeck.storage.weights import write_weights

NETWORK = "convnet1:width=4"
POOLS: list[Pool] = [
    Fresh(network=NETWORK),
    TrainedOnReal(network=NETWORK),
    TrainedOnSynthetic(network=NETWORK),
    ToPlateau(network=NETWORK),
    Pretrained(network=NETWORK, epochs=1, count=2),
    SemiTrained(network=NETWORK, begin=0, interval=1, most=1),
]


def alike(one: Weights, other: Weights) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def drawn(pool: Pool, context: Context, iteration: int) -> Weights:
    return pool.view(pool.draw(pool.init(context), context, iteration), context).weights


@pytest.mark.parametrize("pool", POOLS, ids=lambda pool: type(pool).__name__)
def test_networks_of_the_bank(pool: Pool, context_of: Callable[..., Context]) -> None:
    context = context_of()
    network = context.network(NETWORK)
    bank = tuple(network.initial(context.streams("bank", number)) for number in range(3))
    recalled = drawn(pool, replace(context, bank=bank, recall=1.0), 1)
    assert any(alike(recalled, one) for one in bank)
    # Neither a bank that is never asked nor none changes what comes else.
    assert alike(drawn(pool, replace(context, bank=bank, recall=0.0), 1), drawn(pool, context, 1))
    assert not any(alike(drawn(pool, context, 1), one) for one in bank)


def test_a_pretrained_network_comes_back_after_one_of_the_bank(context_of: Callable[..., Context]) -> None:
    context = context_of()
    pool = Pretrained(network=NETWORK, epochs=1, count=2)
    bank = (context.network(NETWORK).initial(context.streams("bank")),)
    state = pool.draw(pool.init(context), replace(context, bank=bank, recall=1.0), 0)
    assert alike(pool.view(state, context).weights, bank[0])
    after = pool.draw(state, context, 1)
    assert any(alike(pool.view(after, context).weights, one) for one in state["networks"])


def test_files_to_start_from_give_way_to_the_bank(context_of: Callable[..., Context], tmp_path: Path) -> None:
    context = context_of(dtype=torch.float32)
    network = context.network(NETWORK)
    saved, other = (network.initial(context.streams(name)) for name in ("saved", "bank"))
    write_weights(tmp_path / "one.safetensors", saved, network.name, normalization=context.spec.normalization)
    pool = TrainedOnReal(network=NETWORK, start=str(tmp_path))
    assert alike(drawn(pool, context, 0), saved)
    assert alike(drawn(pool, replace(context, bank=(other,), recall=1.0), 0), other)
