from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from limbeck.core.batch import View
from limbeck.core.context import Context
from limbeck.core.errors import InputError
from limbeck.initializers.coresets import Herding, KCenter
from limbeck.ops import selection
from limbeck.parametrizations.partition import Partition
from limbeck.parametrizations.plain import Plain


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
