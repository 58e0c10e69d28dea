from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from limbeck.core.batch import Moment
from limbeck.core.context import Context
from limbeck.core.errors import InputError
from limbeck.core.network import FunctionalNetwork
from limbeck.pools.fresh import Fresh
from limbeck.storage.tree import load_tree, save_tree

NETWORK = "convnet1:width=4"


@pytest.mark.parametrize("every", [1, 3])
def test_a_network_serves_some_iterations_and_is_never_trained(
    context_of: Callable[..., Context], every: int, tmp_path: Path
) -> None:
    context, pool = context_of(), Fresh(network=NETWORK, every=every)
    state = pool.init(context)
    for iteration in range(7):
        state = pool.draw(state, context, iteration)
        view = pool.view(state, context)
        assert view.train and view.accuracy is None
        expected = context.network(NETWORK).initial(context.streams("network", iteration // every))
        assert all(torch.equal(view.weights[name], expected[name]) for name in expected)
        advanced = pool.advance(state, context, Moment(iteration, 0, 1), lambda: pytest.fail("not needed"))
        assert advanced is state and not pool.finished(state, context)
        save_tree(tmp_path / "state", state)
        state = load_tree(tmp_path / "state")


def test_nothing_is_computed_while_a_network_serves(
    context_of: Callable[..., Context], monkeypatch: pytest.MonkeyPatch
) -> None:
    context, pool = context_of(), Fresh(network=NETWORK, every=5)
    state = pool.draw(pool.init(context), context, 0)
    monkeypatch.setattr(FunctionalNetwork, "initial", lambda *arguments: pytest.fail("made anew"))
    for iteration in range(1, 5):
        assert pool.draw(state, context, iteration) is state
    with pytest.raises(pytest.fail.Exception):
        pool.draw(state, context, 5)


def test_settings_that_make_no_sense_are_refused(context_of: Callable[..., Context]) -> None:
    with pytest.raises(InputError, match="pool 'fresh' needs every >= 1, not 0"):
        Fresh(network=NETWORK, every=0).check(context_of())
    with pytest.raises(InputError, match="unknown network"):
        Fresh(network="convnett1").check(context_of())
