from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from limbeck.core.context import Context
from limbeck.core.errors import Interrupted
from limbeck.core.executor import Executor
from limbeck.core.streams import Streams
from limbeck.training import scoring
from limbeck.training.scoring import CHECKPOINTS, difficulty, forgotten, guesses, scorers
from limbeck.training.supervised import Training, fit

NETWORK = "convnet1:width=4"
TRAINING = Training(lr=0.05, batch_size=8)


def taught(context: Context) -> tuple[torch.Tensor, torch.Tensor]:
    rows = torch.cat([context.data.class_rows(label)[:5] for label in range(3)])
    return context.spec.normalization.apply(context.data.images(rows)), context.data.labels[rows]


def test_scorers_are_kept_on_their_way(context_of: Callable[..., Context]) -> None:
    context = context_of()
    network, (images, targets) = context.network(NETWORK), taught(context)
    found = scorers(context, network, images, targets, TRAINING, 20, 2)
    assert [len(one) for one in found] == [len(CHECKPOINTS)] * 2
    # By hand: 15 images are two batches an epoch; the step size drops after 13 and 16 of 20 epochs.
    for number, kept in enumerate(found):
        weights = network.initial(context.streams("scorer", number))
        streams = Streams(context.streams("scorer training", number).seed)

        def lr(epoch: int) -> float:
            return 0.05 * (1.0 if epoch < 13 else 0.2 if epoch < 16 else 0.04)

        epochs = fit(network, weights, lambda rows: images[rows], targets, TRAINING, streams, (1, 8, 8), lr, 40)
        for epoch, _ in epochs:
            if epoch + 1 in (2, 5, 10, 20):
                at = kept[(2, 5, 10, 20).index(epoch + 1)]
                for name, tensor in weights.items():
                    torch.testing.assert_close(at[name], tensor, rtol=1e-12, atol=1e-12)
    assert not torch.equal(found[0][0]["classifier.weight"], found[1][0]["classifier.weight"])


@pytest.mark.parametrize("epochs", [1, 3])
def test_short_trainings_keep_some_states_twice(context_of: Callable[..., Context], epochs: int) -> None:
    context = context_of()
    found = scorers(context, context.network(NETWORK), *taught(context), TRAINING, epochs, 1)
    assert len(found[0]) == len(CHECKPOINTS)


def test_scorers_do_not_depend_on_one_another(context_of: Callable[..., Context]) -> None:
    class Backwards(Executor):
        def map(self, function: Callable[[Any], Any], tasks: Any) -> Any:
            return iter([function(task) for task in reversed(tasks)][::-1])

    here, there = context_of(), context_of(executor=Backwards())
    one = scorers(here, here.network(NETWORK), *taught(here), TRAINING, 2, 2)
    two = scorers(there, there.network(NETWORK), *taught(there), TRAINING, 2, 2)
    for mine, other in zip(one, two, strict=True):
        for a, b in zip(mine, other, strict=True):
            assert all(torch.equal(a[name], b[name]) for name in a)


def test_difficulty_is_the_mean_loss_of_the_networks(context_of: Callable[..., Context]) -> None:
    context = context_of()
    network = context.network(NETWORK)
    judges = [network.initial(context.streams("judge", number)) for number in range(2)]
    found = difficulty(context, network, judges).difficulty
    images = context.spec.normalization.apply(context.data.images(torch.arange(36)))
    wanted = [
        F.cross_entropy(network(weights, images, train=False), context.data.labels, reduction="none")
        for weights in judges
    ]
    torch.testing.assert_close(found, (wanted[0] + wanted[1]).double() / 2, rtol=1e-10, atol=1e-12)


def test_what_is_taught_is_easy(context_of: Callable[..., Context]) -> None:
    context = context_of()
    found = scorers(context, context.network(NETWORK), *taught(context), TRAINING, 60, 2)
    scores = difficulty(context, context.network(NETWORK), [one[-1] for one in found]).difficulty
    known = torch.cat([context.data.class_rows(label)[:5] for label in range(3)])
    others = torch.cat([context.data.class_rows(label)[5:] for label in range(3)])
    assert scores[known].mean() < scores[others].mean()


def test_who_is_right_is_counted(context_of: Callable[..., Context]) -> None:
    context = context_of()
    network = context.network(NETWORK)
    judges = [network.initial(context.streams("judge", number)) for number in range(2)]
    found = difficulty(context, network, judges, "el2n")
    images = context.spec.normalization.apply(context.data.images(torch.arange(36)))
    logits = torch.stack([network(weights, images, train=False) for weights in judges])
    right = (logits.argmax(dim=-1) == context.data.labels).double()
    assert found.right is not None and torch.equal(found.right, right.mean(dim=0))
    apart = (logits.softmax(dim=-1) - F.one_hot(context.data.labels, 3)).norm(dim=-1).mean(dim=0)
    torch.testing.assert_close(found.difficulty, apart.double())


def test_stopped_scorers_go_on_to_the_bit(context_of: Callable[..., Context], tmp_path: Path) -> None:
    """Stopped after every single epoch, no epoch is trained twice."""
    context, begun = context_of(), 0
    network, (images, targets) = context.network(NETWORK), taught(context)
    whole = scorers(context, network, images, targets, TRAINING, 6, 2)
    resumed, trained, calls = None, [], []

    def stop() -> None:
        raise Interrupted("stopped by a test.")

    def counted(*args: Any, **named: Any) -> Any:
        calls.append(named["first"])
        for each in fit(*args, **named):
            trained.append(each[0])
            yield each

    own = replace(context, scratch=tmp_path / "lesson", pause=stop)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scoring, "fit", counted)
        while resumed is None and begun < 50:
            begun += 1
            with contextlib.suppress(Interrupted):
                resumed = scorers(own, network, images, targets, TRAINING, 6, 2)
    assert trained == [0, 1, 2, 3, 4, 5] * 2 and calls == [*trained[:5], 5, *trained[:5], 5]
    assert resumed is not None
    for mine, other in zip(whole, resumed, strict=True):
        for a, b in zip(mine, other, strict=True):
            assert all(torch.equal(a[name], b[name]) for name in a)
    assert sorted(path.name for path in (tmp_path / "lesson").iterdir()) == [
        "scorer-0000.safetensors",
        "scorer-0001.safetensors",
    ]


def test_a_damaged_scorer_is_trained_again(context_of: Callable[..., Context], tmp_path: Path) -> None:
    context = context_of(scratch=tmp_path)
    first = scorers(context, context.network(NETWORK), *taught(context), TRAINING, 2, 1)
    path = tmp_path / "scorer-0000.safetensors"
    path.write_bytes(path.read_bytes()[:-40])
    again = scorers(context, context.network(NETWORK), *taught(context), TRAINING, 2, 1)
    assert torch.equal(first[0][-1]["classifier.weight"], again[0][-1]["classifier.weight"])


def test_what_is_forgotten(context_of: Callable[..., Context], tmp_path: Path) -> None:
    context = context_of(scratch=tmp_path)
    found = forgotten(context, context.network(NETWORK), TRAINING, 6, 2).difficulty
    each = []
    for number in range(2):
        streams = Streams(context.streams("forgetting of scorers", number).seed)
        weights = context.network(NETWORK).initial(context.streams("forgetting scorer", number))
        seen = guesses(context.network(NETWORK), weights, context.data, TRAINING, 6, streams)
        assert seen.shape == (6, 36)
        right = seen == context.data.labels
        events = (right[:-1] & ~right[1:]).sum(dim=0).double()
        each.append(torch.where(right.any(dim=0), events, 6.0))
    assert torch.equal(found, (each[0] + each[1]) / 2) and found.max() > 0
    assert torch.equal(forgotten(context, context.network(NETWORK), TRAINING, 6, 2).difficulty, found)  # kept
