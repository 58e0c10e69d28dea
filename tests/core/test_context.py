from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch

from limbeck.core.context import Context, Pieces
from limbeck.core.focus import Company


def test_a_network_is_built_once_and_has_the_dtype_of_the_run(context_of: Callable[..., Context]) -> None:
    context = context_of()
    network = context.network("convnet1:width=2")
    assert context.network("convnet1:width=2") is network
    assert context.network("convnet1:width=3") is not network
    weights = network.initial(context.streams("network", 0))
    assert {tensor.dtype for tensor in weights.values()} == {torch.float64}


def test_a_changed_context_does_not_share_networks(context_of: Callable[..., Context]) -> None:
    context = context_of()
    wide = context.network("convnet1:width=2")
    narrow = replace(context, dtype=torch.float32).network("convnet1:width=2")
    assert (wide.dtype, narrow.dtype) == (torch.float64, torch.float32)


def test_spec_is_that_of_the_data(context_of: Callable[..., Context]) -> None:
    context = context_of()
    assert context.spec is context.data.spec
    assert context.spec.shape == (1, 8, 8) and context.spec.classes == 3


def test_without_a_bank_networks_begin_fresh(context_of: Callable[..., Context]) -> None:
    context = context_of()
    network = context.network("convnet1:width=2")
    fresh, begun = network.initial(context.streams("network", 3)), context.initial(network, "network", 3)
    assert all(torch.equal(begun[name], fresh[name]) for name in fresh) and begun.keys() == fresh.keys()
    assert context.recalled("network", 3) is None


def test_with_a_bank_some_networks_are_recalled(context_of: Callable[..., Context]) -> None:
    context = context_of()
    network = context.network("convnet1:width=2")
    bank = tuple(network.initial(context.streams("bank", number)) for number in range(3))
    half = replace(context, bank=bank, recall=0.5)
    fresh, chosen = 0, [0, 0, 0]
    for number in range(600):
        weights = half.initial(network, "network", number)
        alike = [all(torch.equal(weights[name], other[name]) for name in other) for other in bank]
        if any(alike):
            chosen[alike.index(True)] += 1
        else:
            fresh += 1
    assert abs(fresh - 300) < 50 and all(abs(count - 100) < 40 for count in chosen)
    # What is recalled is a copy, which pools may train.
    always = replace(context, bank=bank, recall=1.0)
    weights = always.initial(network, "network", 0)
    kept = [{name: tensor.clone() for name, tensor in other.items()} for other in bank]
    for tensor in weights.values():
        tensor.zero_()
    assert all(torch.equal(one[name], two[name]) for one, two in zip(bank, kept, strict=True) for name in one)
    # A fresh one is the one that it would have been without a bank.
    never = replace(context, bank=bank, recall=0.0)
    begun, wanted = never.initial(network, "network", 1), network.initial(context.streams("network", 1))
    assert all(torch.equal(begun[name], wanted[name]) for name in wanted)


def test_images_that_are_shown_together(context_of: Callable[..., Context]) -> None:
    context = context_of(ipc=3)
    assert context.shown == 3
    company = Company(torch.zeros(3, 8, 1, 8, 8), 4)
    assert replace(context, company=company).shown == 7


def test_windows_of_pieces_lie_from_the_first_epoch_to_the_last() -> None:
    assert Pieces().window(7) == range(7)
    assert [Pieces(place=place, width=0.5).window(10) for place in (0.0, 0.5, 1.0)] == [
        range(5),
        range(2, 7),
        range(5, 10),
    ]
    assert Pieces(place=1.0, width=0.01).window(10) == range(9, 10)  # one epoch at least
