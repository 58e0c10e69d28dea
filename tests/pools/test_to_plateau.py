from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from limbeck.core.batch import Moment
from limbeck.core.context import Context
from limbeck.core.contracts import State, Workload
from limbeck.core.errors import InputError
from limbeck.data.images import ImageSet
from limbeck.pools.to_plateau import ToPlateau
from limbeck.storage.tree import load_tree, save_tree
from limbeck.training.supervised import Training

NETWORK = "convnet1:width=4"
POOL = ToPlateau(
    network=NETWORK, training=Training(lr=0.1, momentum=0.0, weight_decay=0.0, batch_size=4), window=3, images=5
)


class Told:
    """Accuracies as a test tells them, by inner step and number of the measurement."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, inner: Any, outer: list[float]) -> None:
        self.inner, self.outer, self.asked = inner, outer, []  # type: list[float] | Callable[[int], float], Any, Any
        monkeypatch.setattr(ToPlateau, "_accuracy", lambda pool, state, context, *key: self.tell(*key))

    def tell(self, ordinal: int, number: int) -> float:
        self.asked.append((ordinal, number))
        return self.outer[ordinal] if number == 0 else float(self.inner(number))

    def epochs(self, ordinal: int) -> int:
        return max((number for at, number in self.asked if at == ordinal), default=-1)


def synthetic() -> tuple[Tensor, Tensor]:
    return torch.linspace(-1, 1, 6 * 64, dtype=torch.float64).reshape(6, 1, 8, 8), torch.arange(6) % 3


def live(pool: ToPlateau, context: Context, steps: int) -> tuple[State, int]:
    """One life: its end and the steps it had."""
    state = pool.draw(pool.init(context), context, 0)
    for step in range(steps):
        state = pool.advance(state, context, Moment(0, step, steps + 1), synthetic)
        if pool.finished(state, context):
            return state, step + 1
    return state, steps


@pytest.mark.parametrize(
    ("outer", "steps"),
    [
        ([0.0, 0.5, 1.0, 0.75, 0.875, 0.875, 0.0], 6),
        ([0.5, 0.625, 0.5, 0.0], 3),  # no life is shorter than the window
        ([0.0, 0.25, 0.125, 0.375, 0.125, 0.375], None),  # 0.25 itself is not below it
        ([0.5, 0.5], None),
    ],
)
def test_a_life_ends_when_accuracy_stands_still(
    context_of: Callable[..., Context], monkeypatch: pytest.MonkeyPatch, outer: list[float], steps: int | None
) -> None:
    told = Told(monkeypatch, lambda number: number % 2, outer)
    state, taken = live(replace(POOL, outer=0.25), context_of(), len(outer))
    assert POOL.finished(state, context_of()) == (steps is not None)
    assert taken == (steps or len(outer))
    if steps is not None:
        assert told.epochs(steps - 2) > 0
        assert told.epochs(steps - 1) == 0  # a network at its end is not trained any more


@pytest.mark.parametrize(
    ("inner", "epochs"),
    [
        (lambda number: 0.1 * number, 3),
        (lambda number: 0.5 + 0.02 * (number >= 5), 9),  # 0.02 is not enough
        (lambda number: 0.5 + 0.031 * (number >= 5), 5),
        (lambda number: 0.5 + 0.015 * number, 9),  # within three: 0.03 at most, up to rounding
        (lambda number: 0.9 if number == 1 else 0.5, 3),
    ],
)
def test_training_goes_on_until_accuracy_moves(
    context_of: Callable[..., Context], monkeypatch: pytest.MonkeyPatch, inner: Callable[[int], float], epochs: int
) -> None:
    context, pool = context_of(), replace(POOL, most_epochs=9, inner=0.03 + 1e-9)
    told = Told(monkeypatch, inner, [0.0, 1.0, 0.0])
    state = pool.draw(pool.init(context), context, 0)
    module = context.network(NETWORK)._make().double()
    module.load_state_dict(state["weights"])
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    images, labels = synthetic()
    for step in range(2):
        state = pool.advance(state, context, Moment(0, step, 3), synthetic)
        assert told.epochs(step) == epochs
        for epoch in range(epochs):
            for rows in context.streams("network training", step, epoch).permutation(6).split(4):
                optimizer.zero_grad()
                F.cross_entropy(module(images[rows]), labels[rows]).backward()
                optimizer.step()
    for name, tensor in module.state_dict().items():
        torch.testing.assert_close(state["weights"][name], tensor, rtol=0, atol=1e-12, msg=name)
    # After the last step nobody looks.
    asked = len(told.asked)
    assert pool.advance(state, context, Moment(0, 2, 3), lambda: pytest.fail("not needed")) is state
    assert len(told.asked) == asked


def test_a_new_life_knows_no_accuracies(context_of: Callable[..., Context], monkeypatch: pytest.MonkeyPatch) -> None:
    Told(monkeypatch, lambda number: number % 2, [0.5] * 9)
    context = context_of()
    state, steps = live(POOL, context, 9)
    assert steps == 3 and POOL.finished(state, context)
    again = POOL.draw(state, context, 1)
    assert not POOL.finished(again, context) and again["accuracies"] == []
    fresh = context.network(NETWORK).initial(context.streams("network", 1))
    assert all(torch.equal(again["weights"][name], fresh[name]) for name in fresh)
    assert POOL.view(again, context).weights is again["weights"]


def test_accuracy_is_the_mean_over_classes_on_new_real_images(
    context_of: Callable[..., Context], portion: Callable[..., ImageSet]
) -> None:
    context = context_of(portion(3, [12, 3, 7]))
    state, _ = live(replace(POOL, window=2, most_epochs=2), context, 3)
    seen = set()
    for number in range(4):
        expected = []
        for label in range(3):
            members = context.data.class_rows(label)
            rows = members[context.streams("plateau", 7, number, label).permutation(len(members))[:5]]
            seen.add(tuple(rows.tolist()))
            images = context.spec.normalization.apply(context.data.images(rows))
            logits = context.network(NETWORK)(state["weights"], images)
            expected.append((logits.argmax(dim=1) == label).double().mean())
        assert POOL._accuracy(state, context, 7, number) == pytest.approx(float(torch.stack(expected).mean()))
    assert len(seen) > 6


def test_a_life_goes_on_from_its_file_to_the_bit(context_of: Callable[..., Context], tmp_path: Path) -> None:
    context = context_of(dtype=torch.float32)
    pool = replace(POOL, inner=0.0, outer=0.0, most_epochs=4)

    def go(state: State, first: int, last: int) -> State:
        for step in range(first, last):
            state = pool.advance(state, context, Moment(0, step, 9), lambda: (synthetic()[0].float(), synthetic()[1]))
        return state

    whole = go(pool.draw(pool.init(context), context, 0), 0, 5)
    save_tree(tmp_path / "half", go(pool.draw(pool.init(context), context, 0), 0, 2))
    resumed = go(load_tree(tmp_path / "half"), 2, 5)
    assert whole["accuracies"] == resumed["accuracies"] and len(whole["accuracies"]) == 3
    assert all(torch.equal(whole["weights"][name], resumed["weights"][name]) for name in whole["weights"])


def test_predictions_count_the_least_training(context_of: Callable[..., Context]) -> None:
    # 3 classes of 4 decoded images, 3 epochs after 4 of 5 steps, 5 real images of a class after each and once more.
    assert POOL.passes(context_of(), Workload(2, 5, 1, 4)) == 2 * 4 * (3 * 3 * 12 + 4 * 15)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"window": 1}, "needs window >= 2"),
        ({"images": 0}, "needs window >= 2, images >= 1"),
        ({"most_epochs": -1}, "and most_epochs >= 0"),
        ({"inner": -0.1}, "needs inner and outer in"),
        ({"outer": 4.0}, "differences of accuracies, not 0.03 and 4.0"),
        ({"training": Training(batch_size=0)}, "training of pool 'to_plateau'"),
        ({"network": "convnett1"}, "unknown network"),
    ],
)
def test_settings_that_make_no_sense_are_refused(
    context_of: Callable[..., Context], fields: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        replace(POOL, **fields).check(context_of())
    POOL.check(context_of())
