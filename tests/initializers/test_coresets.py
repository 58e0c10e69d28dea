from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F

from limbeck.core.batch import View
from limbeck.core.context import Context
from limbeck.core.contracts import Workload
from limbeck.core.errors import InputError
from limbeck.core.streams import Streams
from limbeck.initializers.coresets import Forgetting, Herding, KCenter
from limbeck.ops import selection
from limbeck.parametrizations.partition import Partition
from limbeck.parametrizations.plain import Plain
from limbeck.training.supervised import Training


def features(context: Context, view: View, label: int) -> torch.Tensor:
    images = context.spec.normalization.apply(context.data.images(context.data.class_rows(label)))
    return view.network(view.weights, images, output="embedding", train=False)


def test_herding_follows_the_class_mean(context_of: Callable[..., Context], view_of: Callable[..., View]) -> None:
    context = context_of(ipc=4)
    view = view_of(context)
    images = Herding().images(context, Plain(), view)
    for label in range(3):
        members, seen = context.data.class_rows(label), features(context, view, label)
        chosen: list[int] = []
        for _ in range(4):
            free = [row for row in range(len(seen)) if row not in chosen]
            gaps = [((len(chosen) + 1) * seen.mean(0) - seen[[*chosen, row]].sum(0)).norm().item() for row in free]
            chosen.append(free[min(range(len(free)), key=gaps.__getitem__)])
        assert torch.equal(images[label], context.data.images(members[chosen]))


@pytest.mark.parametrize("start", ["random", "mean"])
def test_k_center_covers_the_class(
    context_of: Callable[..., Context], view_of: Callable[..., View], start: str
) -> None:
    context = context_of(ipc=4)
    view = view_of(context)
    images = KCenter(start=start).images(context, Plain(), view)  # type: ignore[arg-type]
    for label in range(3):
        members, seen = context.data.class_rows(label), features(context, view, label)
        if start == "mean":
            first = int((seen - seen.mean(0)).norm(dim=1).argmin())
        else:
            first = int(context.streams("k-center start", label).integers(0, 11))
        chosen = [first]
        for _ in range(3):
            apart = torch.cdist(seen, seen[chosen]).min(dim=1).values
            chosen.append(int(apart.argmax()))
        assert torch.equal(images[label], context.data.images(members[chosen]))


@pytest.mark.parametrize("initializer", [Herding(), KCenter()])
def test_more_images_than_the_class_has(
    context_of: Callable[..., Context],
    view_of: Callable[..., View],
    portion: Callable[..., object],
    initializer: Herding | KCenter,
) -> None:
    context, parametrization = context_of(portion(2, [12, 3]), ipc=2), Partition(factor=2)
    images = initializer.images(context, parametrization, view_of(context))
    decoded = parametrization.decode(images[1])
    assert torch.equal(decoded[:3], decoded[3:6])
    assert len(decoded.flatten(1).unique(dim=0)) == 3


def test_images_come_in_the_order_of_choice_and_are_packed(
    context_of: Callable[..., Context], view_of: Callable[..., View]
) -> None:
    context, parametrization = context_of(ipc=1), Partition(factor=2)
    view = view_of(context)
    images = Herding().images(context, parametrization, view)
    members = context.data.class_rows(2)
    rows = members[selection.herding(features(context, view, 2), 4)]
    assert torch.equal(images[2], parametrization.encode(context.data.images(rows), context.ipc))


@pytest.mark.parametrize(("initializer", "name"), [(Herding(), "herding"), (KCenter(), "k_center")])
def test_they_need_a_network(context_of: Callable[..., Context], initializer: Herding | KCenter, name: str) -> None:
    with pytest.raises(InputError, match=f"initializer '{name}' needs a network; fill the slot 'pool'"):
        initializer.images(context_of(), Plain(), None)


TRAINED = Forgetting(
    network="convnet1:width=4",
    training=Training(lr=1.0, momentum=0.9, nesterov=True, weight_decay=5e-4, batch_size=10),
    epochs=9,
)


def plain_counts(context: Context, initializer: Forgetting) -> tuple[list[int], list[bool]]:
    """Forgetting events of every image, and whether it was ever right, by a plain loop with PyTorch's own SGD."""
    network, data = context.network(initializer.network), context.data
    module = network._make().double()
    module.load_state_dict(network.initial(context.streams("forgetting network")))
    optimizer = torch.optim.SGD(module.parameters(), lr=1.0, momentum=0.9, nesterov=True, weight_decay=5e-4)
    events, ever, before = [0] * len(data), [False] * len(data), [False] * len(data)
    for epoch in range(initializer.epochs):
        streams = Streams(context.streams("forgetting").seed)
        for rows in streams("epoch", epoch).permutation(len(data)).split(initializer.training.batch_size):
            logits = module.train()(context.spec.normalization.apply(data.images(rows)))
            for row, guess in zip(rows.tolist(), logits.argmax(dim=1).tolist(), strict=True):
                right = guess == int(data.labels[row])
                events[row] += before[row] and not right
                ever[row] |= right
                before[row] = right
            optimizer.zero_grad()
            F.cross_entropy(logits, data.labels[rows]).backward()
            optimizer.step()
    return events, ever


@pytest.mark.parametrize("never_learned", ["zero", "infinity"])
def test_forgetting_takes_what_a_plain_loop_forgets_most(
    context_of: Callable[..., Context], never_learned: selection.NeverLearned
) -> None:
    context = context_of(ipc=5)
    initializer = dataclasses.replace(TRAINED, never_learned=never_learned)
    images = initializer.images(context, Plain(), None)
    events, ever = plain_counts(context, initializer)
    assert sum(events) > 5
    scores = [
        float("inf") if never_learned == "infinity" and not learnt else count
        for count, learnt in zip(events, ever, strict=True)
    ]
    for label in range(3):
        members = context.data.class_rows(label).tolist()
        order = sorted(members, key=lambda row: (scores[row], row), reverse=True)[:5]
        assert torch.equal(images[label], context.data.images(order))


def test_forgetting_repeats_with_the_seed(context_of: Callable[..., Context]) -> None:
    one, again, other = (TRAINED.images(context_of(ipc=4, seed=seed), Plain(), None) for seed in (0, 0, 1))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)


@pytest.mark.parametrize(
    ("initializer", "message"),
    [
        (Forgetting(epochs=0), "needs epochs >= 1, not 0"),
        (Forgetting(training=Training(cutmix=0.5)), "set training.cutmix 0"),
        (Forgetting(training=Training(lr=0.0)), "training of initializer 'forgetting' needs lr > 0"),
        (Forgetting(network="convnetto"), "unknown network"),
    ],
)
def test_what_forgetting_cannot_do(context_of: Callable[..., Context], initializer: Forgetting, message: str) -> None:
    with pytest.raises(InputError, match=message):
        initializer.check(context_of())


def test_forgetting_says_what_it_costs(context_of: Callable[..., Context]) -> None:
    context = context_of()
    assert TRAINED.passes(context, Workload(0, 1, 0, 2)) == 3 * 9 * 36
    assert TRAINED.architecture(context) is context.network("convnet1:width=4")
